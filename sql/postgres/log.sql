-- SPDX-License-Identifier: Apache-2.0
-- The relay's side of the log (src/source/postgres_log*.c).

-- One relay a slot, from before the slot is there until the session ends.
-- name: lock
SELECT pg_try_advisory_lock(1869050984, hashtext($1::text));

-- name: unlock
SELECT pg_advisory_unlock(1869050984, hashtext($1::text));

-- name: find_slot
SELECT plugin, coalesce(database, ''), active_pid, confirmed_flush_lsn, to_jsonb(s) ->> 'wal_status', current_database(),
       to_jsonb(s) ->> 'invalidation_reason'
FROM pg_replication_slots s WHERE slot_name = $1::text;

-- name: wal_level
SELECT current_setting('wal_level');

-- name: insert_lsn
SELECT pg_current_wal_insert_lsn();

-- The columns of an ordinary or partitioned table.
-- name: columns
SELECT a.attname, c.relkind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = $1::text AND c.relname = $2::text AND c.relkind IN ('r', 'p');

-- name: find_publication
SELECT p.pubinsert, to_jsonb(p) ->> 'pubviaroot',
       EXISTS (SELECT FROM pg_publication_tables t
               WHERE t.pubname = p.pubname AND t.schemaname = $2::text AND t.tablename = $3::text)
FROM pg_publication p WHERE p.pubname = $1::text;

-- The statement that makes it, with every name quoted. $4: the table is partitioned.
-- name: publication_of_table
SELECT format('CREATE PUBLICATION %I FOR TABLE %I.%I WITH (publish = ''insert''%s)', $1::text, $2::text, $3::text,
              CASE WHEN $4::boolean THEN ', publish_via_partition_root = true' ELSE '' END);

-- Logical messages belong to no table, but the plugin wants a publication that is there.
-- name: publication_of_nothing
SELECT format('CREATE PUBLICATION %I WITH (publish = ''insert'')', $1::text);

-- name: snapshot_cursor
SELECT format('DECLARE onewrite_rows NO SCROLL CURSOR FOR SELECT * FROM %I.%I %s', $1::text, $2::text,
              CASE WHEN $3::boolean THEN 'ORDER BY seq' ELSE '' END);

-- name: read_position
SELECT position, system_identifier FROM onewrite.position WHERE source = $1::text;

-- name: write_position
INSERT INTO onewrite.position AS p (source, position, system_identifier) VALUES ($1::text, $2::text, $3::text)
ON CONFLICT (source) DO UPDATE
SET position = excluded.position, system_identifier = excluded.system_identifier, time = clock_timestamp()
RETURNING pg_current_wal_insert_lsn();

-- name: dead_letter
INSERT INTO onewrite.dead_letter
    (source, position, id, aggregatetype, aggregateid, type, payload, payload_bytes, headers, time, reason, attempts)
VALUES ($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::bytea, $9::text,
        to_timestamp($10::double precision / 1000), $11::text, $12::int)
ON CONFLICT DO NOTHING;

-- name: prune
DELETE FROM onewrite.outbox WHERE seq = ANY ($1::bigint[]);

-- name: left_over
SELECT seq FROM onewrite.outbox ORDER BY seq LIMIT $1::int;

-- name: drop_slot
SELECT pg_drop_replication_slot($1::text);
