-- SPDX-License-Identifier: Apache-2.0
-- The relay's side of the outbox, by polling (src/source/outbox_postgres*.c).

-- What libonewrite-postgres runs: into the table, or as a WAL message, as `onewrite init` has set it.
-- name: publish
SELECT onewrite.publish($1::text, $2::text, $3::text, $4::text, id => $5::text, headers => $6::json,
                        "time" => to_timestamp($7::bigint / 1000.0));

-- name: publish_bytes
SELECT onewrite.publish_bytes($1::text, $2::text, $3::text, $4::bytea, id => $5::text, headers => $6::json,
                              "time" => to_timestamp($7::bigint / 1000.0));

-- All rows from $1 on but those that were yielded already ($2), of the shards in $3 out of $4, at most $5 rows. One
-- snapshot, in the order of seq; nothing stays open. Large cells are not sent: the last column says that there is one,
-- and from that row on the next statement reads.
-- name: read_batch
SELECT seq, id, aggregatetype, aggregateid, type,
       CASE WHEN octet_length(payload) <= 4096 THEN payload END,
       CASE WHEN octet_length(payload_bytes) <= 4096 THEN payload_bytes END,
       CASE WHEN pg_column_size(headers) <= 4096 THEN headers END, time,
       CASE $4::int WHEN 1 THEN 0 ELSE (hashtext(aggregateid) & 2147483647) % $4::int END,
       coalesce(octet_length(payload) > 4096 OR octet_length(payload_bytes) > 4096 OR pg_column_size(headers) > 4096, false)
FROM onewrite.outbox
WHERE seq >= $1::bigint
  AND accepted_at IS NULL
  AND seq NOT IN (SELECT u FROM unnest($2::bigint[]) AS u)
  AND ($4::int = 1 OR (hashtext(aggregateid) & 2147483647) % $4::int = ANY ($3::int[]))
ORDER BY seq
LIMIT $5::int;

-- The same with all cells; after the first row at most $6 bytes, which costs as much again as the reading.
-- name: read_large
SELECT seq, id, aggregatetype, aggregateid, type, payload, payload_bytes, headers, time, shard, is_large
FROM (
    SELECT o.*,
           sum(coalesce(octet_length(payload), 0) + coalesce(octet_length(payload_bytes), 0) + coalesce(pg_column_size(headers), 0))
               OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
    FROM (
        SELECT seq, id, aggregatetype, aggregateid, type, payload, payload_bytes, headers, time,
               CASE $4::int WHEN 1 THEN 0 ELSE (hashtext(aggregateid) & 2147483647) % $4::int END AS shard,
               coalesce(octet_length(payload) > 4096 OR octet_length(payload_bytes) > 4096 OR pg_column_size(headers) > 4096,
                        false) AS is_large
        FROM onewrite.outbox
        WHERE seq >= $1::bigint
          AND accepted_at IS NULL
          AND seq NOT IN (SELECT u FROM unnest($2::bigint[]) AS u)
          AND ($4::int = 1 OR (hashtext(aggregateid) & 2147483647) % $4::int = ANY ($3::int[]))
        ORDER BY seq
        LIMIT $5::int) AS o) AS sized
WHERE coalesce(bytes_before, 0) < $6::bigint
ORDER BY seq;

-- Exactly the rows $1, if the leases $2 still have the epochs $3. Gives how many leases are ours.
-- name: delete_rows
WITH ours AS (
    SELECT l.name FROM onewrite.lease l JOIN unnest($2::text[], $3::bigint[]) AS m (name, epoch)
        ON m.name = l.name AND m.epoch = l.epoch),
gone AS (
    DELETE FROM onewrite.outbox o
    WHERE o.seq = ANY ($1::bigint[]) AND (SELECT count(*) FROM ours) = cardinality($2::text[]))
SELECT count(*) FROM ours;

-- name: mark_rows
WITH ours AS (
    SELECT l.name FROM onewrite.lease l JOIN unnest($2::text[], $3::bigint[]) AS m (name, epoch)
        ON m.name = l.name AND m.epoch = l.epoch),
marked AS (
    UPDATE onewrite.outbox o SET accepted_at = clock_timestamp()
    WHERE o.seq = ANY ($1::bigint[]) AND o.accepted_at IS NULL AND (SELECT count(*) FROM ours) = cardinality($2::text[]))
SELECT count(*) FROM ours;

-- The same where the outbox is partitioned: $1 first numbers, $4 the bits that follow from each.
-- name: accept_rows
WITH ours AS (
    SELECT l.name FROM onewrite.lease l JOIN unnest($2::text[], $3::bigint[]) AS m (name, epoch)
        ON m.name = l.name AND m.epoch = l.epoch),
noted AS (
    INSERT INTO onewrite.accepted (first, bits) SELECT u.first, u.bits FROM unnest($1::bigint[], $4::bytea[]) AS u (first, bits)
    WHERE (SELECT count(*) FROM ours) = cardinality($2::text[]))
SELECT count(*) FROM ours;

-- name: accepted
SELECT first, bits FROM onewrite.accepted WHERE first + octet_length(bits) * 8 > $1::bigint;

-- name: rotate
SELECT onewrite.rotate();

-- And how many numbers a session takes at a time: more than one would come behind those that are known to be accepted.
-- name: is_partitioned
SELECT (relkind = 'p')::int, (SELECT seqcache FROM pg_sequence WHERE seqrelid = 'onewrite.outbox_seq_seq'::regclass)
FROM pg_class WHERE oid = 'onewrite.outbox'::regclass;

-- name: listens
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'onewrite.outbox'::regclass AND tgname = 'outbox_notify';

-- name: listen
LISTEN onewrite_outbox;

-- Marked rows that are old enough, a few at a time.
-- name: purge_marked
DELETE FROM onewrite.outbox
WHERE seq IN (SELECT seq FROM onewrite.outbox WHERE accepted_at < now() - $1::bigint * interval '1 millisecond'
              ORDER BY seq LIMIT $2::int FOR UPDATE SKIP LOCKED);

-- The row moves: both, or neither. $1 its seq, $2 reason, $3 attempts, $4 and $5 the lease, $6 topic, $7 key, $8 state.
-- One that was put back is the same letter as before. Gives how many leases are ours.
-- name: set_aside
WITH ours AS (
    SELECT name FROM onewrite.lease WHERE name = $4::text AND epoch = $5::bigint),
again AS (
    UPDATE onewrite.dead_letter
    SET position = $1::bigint::text, reason = $2::text, attempts = $3::int, topic = $6::text, key = $7::bytea, state = $8::text,
        set_aside_at = clock_timestamp(), replay_position = NULL,
        history = coalesce(left(history, -1) || ',', '[') ||
                  json_build_object('time', (extract(epoch FROM set_aside_at) * 1000)::bigint, 'class', class, 'reason', reason,
                                    'attempts', attempts) || ']'
    WHERE source = 'polling' AND state = 'queued' AND replay_position = $1::bigint AND EXISTS (SELECT FROM ours)
    RETURNING number),
letter AS (
    INSERT INTO onewrite.dead_letter
        (source, position, id, aggregatetype, aggregateid, type, topic, key, payload, payload_bytes, headers, time, reason,
         attempts, state)
    SELECT 'polling', seq::text, id, aggregatetype, aggregateid, type, $6::text, $7::bytea, payload, payload_bytes,
           headers::text, time, $2::text, $3::int, $8::text
    FROM onewrite.outbox
    WHERE seq = $1::bigint AND accepted_at IS NULL AND EXISTS (SELECT FROM ours) AND NOT EXISTS (SELECT FROM again)
    ON CONFLICT DO NOTHING),
gone AS (
    DELETE FROM onewrite.outbox WHERE seq = $1::bigint AND accepted_at IS NULL AND EXISTS (SELECT FROM ours))
SELECT count(*) FROM ours;

-- The newest number that was given out: read before the lockers below.
-- name: last_seq
SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM onewrite.outbox_seq_seq;

-- Every transaction that has written to the outbox, or is about to, holds this lock until its end. A
-- transaction that ended is visible before it gives up its locks.
-- name: writers
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND relation = 'onewrite.outbox'::regclass AND mode = 'RowExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid();

-- name: lease_make
INSERT INTO onewrite.lease (name, epoch, holder, expires_at, accepted_below)
SELECT 'outbox/' || n, 0, '', 'epoch',
       coalesce((SELECT min(accepted_below) FROM onewrite.lease WHERE name LIKE 'outbox/%'), 0) FROM generate_series(0, $1::int - 1) AS n
ON CONFLICT (name) DO NOTHING;

-- name: lease_look
SELECT name, epoch, holder, expires_at < clock_timestamp() FROM onewrite.lease WHERE name LIKE 'outbox/%';

-- Into how many shards the keys are cut: the epoch of this row, which is locked until the end of the transaction.
-- name: shards_read
INSERT INTO onewrite.lease AS l (name, epoch, holder, expires_at) VALUES ('outbox', $1::bigint, '', 'epoch')
ON CONFLICT (name) DO UPDATE SET epoch = l.epoch
RETURNING epoch;

-- Shards that are no more have no holder; a row may be of another one now.
-- name: shards_write
WITH gone AS (DELETE FROM onewrite.lease WHERE name LIKE 'outbox/%' AND substr(name, 8)::bigint >= $1::bigint),
kept AS (
    UPDATE onewrite.lease SET accepted_below = (SELECT min(accepted_below) FROM onewrite.lease WHERE name LIKE 'outbox/%')
    WHERE name LIKE 'outbox/%' AND substr(name, 8)::bigint < $1::bigint)
UPDATE onewrite.lease SET epoch = $1::bigint WHERE name = 'outbox' RETURNING epoch;

-- $1 name, $2 the epoch that was seen, $3 holder, $4 milliseconds. The lock of the new epoch is taken with it.
-- name: lease_take
UPDATE onewrite.lease SET epoch = epoch + 1, holder = $3::text,
       expires_at = clock_timestamp() + $4::bigint * interval '1 millisecond'
WHERE name = $1::text AND epoch = $2::bigint
  AND pg_try_advisory_lock(1869050983, hashtext(name || '/' || (epoch + 1)))
RETURNING epoch, accepted_below;

-- name: lease_renew
UPDATE onewrite.lease l SET expires_at = clock_timestamp() + $3::bigint * interval '1 millisecond',
       accepted_below = greatest(accepted_below, $4::bigint)
FROM unnest($1::text[], $2::bigint[]) AS m (name, epoch)
WHERE l.name = m.name AND l.epoch = m.epoch
RETURNING l.name;

-- name: lease_free
UPDATE onewrite.lease SET holder = '', expires_at = 'epoch' WHERE name = $1::text AND epoch = $2::bigint;

-- Whether the lock of an epoch can be had, which says that its holder's connection has ended. It is given back at once.
-- name: lease_probe
SELECT pg_try_advisory_lock(1869050983, hashtext($1::text || '/' || $2::bigint)) AND
       pg_advisory_unlock(1869050983, hashtext($1::text || '/' || $2::bigint));

-- name: lease_unlock
SELECT pg_advisory_unlock(1869050983, hashtext($1::text || '/' || $2::bigint));

-- One kind of relay on the table: $1 its own number, $2 that of the other kind. Whoever asks is alone while he does
-- (a CASE is evaluated in its order), so that of two who begin together one is first.
-- name: guard
SELECT CASE WHEN EXISTS (SELECT FROM pg_locks
                         WHERE locktype = 'advisory' AND classid = 1869050985 AND objid = $1::int AND objsubid = 2
                           AND pid = pg_backend_pid()
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) THEN true
            WHEN pg_advisory_xact_lock(1869050985, 0) IS NULL THEN false
            WHEN EXISTS (SELECT FROM pg_locks
                         WHERE locktype = 'advisory' AND classid = 1869050985 AND objid = $2::int AND objsubid = 2 AND granted
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) THEN false
            ELSE pg_advisory_lock_shared(1869050985, $1::int) IS NOT NULL END;

-- Where onewrite.publish() leaves a message: 't' in the log without a table, 'f' in the table; no row: it is not there.
-- Asked of the catalog, since the role may have no right to the schema.
-- name: publish_is_tableless
SELECT position('pg_logical_emit_message' IN p.prosrc) > 0 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'onewrite' AND p.proname = 'publish';

-- Relays that are connected, this one included: each holds this lock together with the others.
-- name: relay_join
SELECT pg_advisory_lock_shared(1869050983, 0);

-- name: relays_connected
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND classid = 1869050983 AND objid = 0 AND objsubid = 2 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- A relay that was stopped stays connected, but does not say any more that it lives. $1 holder, $2 milliseconds.
-- name: relay_lives
WITH gone AS (
    DELETE FROM onewrite.lease WHERE name LIKE 'relay/%' AND expires_at < clock_timestamp() - interval '1 minute'
        AND name <> 'relay/' || $1::text)
INSERT INTO onewrite.lease (name, epoch, holder, expires_at)
VALUES ('relay/' || $1::text, 0, $1::text, clock_timestamp() + $2::bigint * interval '1 millisecond')
ON CONFLICT (name) DO UPDATE SET expires_at = excluded.expires_at;

-- name: relay_leaves
DELETE FROM onewrite.lease WHERE name = 'relay/' || $1::text;

-- How many share the work: connected, and alive.
-- name: relay_count
SELECT least((SELECT count(*) FROM onewrite.lease WHERE name LIKE 'relay/%' AND expires_at > clock_timestamp()),
             (SELECT count(*) FROM pg_locks
              WHERE locktype = 'advisory' AND classid = 1869050983 AND objid = 0 AND objsubid = 2 AND granted
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())));

-- name: status
SELECT count(*), (extract(epoch FROM clock_timestamp() - min(time)) * 1000)::bigint, coalesce(sum(bytes), 0)::bigint
FROM onewrite.waiting();

-- name: count_dead_letters
SELECT count(*) FROM onewrite.dead_letter WHERE state <> 'queued';

-- name: status_leases
SELECT name, holder, epoch, greatest(0, (extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint)
FROM onewrite.lease WHERE name LIKE 'outbox/%' AND holder <> '' ORDER BY name;

-- What a DBA has to run so that this role can work on the tables that are there: one line, or NULL.
-- name: missing_rights
SELECT CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'onewrite_relay')
            THEN format('GRANT onewrite_relay TO %I', current_user)
            ELSE format('GRANT USAGE ON SCHEMA onewrite TO %1$I; '
                        'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA onewrite TO %1$I; '
                        'GRANT SELECT ON SEQUENCE onewrite.outbox_seq_seq TO %1$I', current_user) ||
                 CASE WHEN EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = n.oid AND p.proname = 'rotate')
                      THEN format('; GRANT EXECUTE ON FUNCTION onewrite.rotate() TO %I', current_user) ELSE '' END END
FROM pg_namespace n
WHERE n.nspname = 'onewrite' AND NOT (
    has_schema_privilege(n.oid, 'USAGE') AND
    (SELECT coalesce(bool_and(CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT')
                                             ELSE has_table_privilege(c.oid, 'DELETE') END), true)
     FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname IN ('outbox', 'lease', 'dead_letter', 'accepted', 'outbox_seq_seq')));
