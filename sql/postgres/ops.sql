-- SPDX-License-Identifier: Apache-2.0
-- What `onewrite status` and `onewrite drop` ask of a PostgreSQL database.

-- The slots of onewrite, one that is gone although a position of it is on record among them: by name, by what is on
-- record, or because they are named in $1, separated by commas.
-- name: slots
WITH here AS (
    SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn
), known AS (
    SELECT DISTINCT split_part(source, '/', 1) AS name FROM onewrite.position
), slot AS (
    SELECT slot_name::text AS name, true AS is_there, active_pid, restart_lsn, confirmed_flush_lsn,
           CASE WHEN plugin <> 'pgoutput' THEN 'of plugin ' || plugin ELSE to_jsonb(s) ->> 'wal_status' END AS state,
           (to_jsonb(s) ->> 'inactive_since')::timestamptz AS since, to_jsonb(s) ->> 'invalidation_reason' AS why
    FROM pg_replication_slots s
    WHERE slot_type = 'logical' AND database = current_database()
      AND (slot_name LIKE 'onewrite\_%' OR slot_name = ANY (string_to_array($1::text, ','))
           OR slot_name IN (SELECT name FROM known))
    UNION ALL
    SELECT name, false, NULL, NULL, NULL, 'gone', NULL, NULL FROM known
    WHERE name NOT IN (SELECT slot_name FROM pg_replication_slots)
)
SELECT s.name, CASE WHEN s.name LIKE '%\_message' THEN 'message' WHEN s.name LIKE '%\_log' THEN 'log' END,
       s.is_there::int, coalesce(s.active_pid, 0), s.state,
       coalesce(pg_wal_lsn_diff(h.lsn, s.restart_lsn), -1)::bigint,
       coalesce(pg_wal_lsn_diff(h.lsn, s.confirmed_flush_lsn), -1)::bigint,
       coalesce(extract(epoch FROM clock_timestamp() - s.since) * 1000, -1)::bigint,
       p.position, coalesce(extract(epoch FROM clock_timestamp() - p.time) * 1000, -1)::bigint, s.why
FROM slot s CROSS JOIN here h LEFT JOIN onewrite.position p ON p.source = s.name
ORDER BY s.name;

-- Relays by polling that are connected; each holds this lock together with the others.
-- name: pollers
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND classid = 1869050983 AND objid = 0 AND objsubid = 2 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- Nobody begins to read from a slot that is being dropped: the lock of the relay itself, until the session ends.
-- name: lock_slot
SELECT pg_try_advisory_lock(1869050984, hashtext($1::text))::int;

-- name: has_schema
SELECT (to_regclass('onewrite.position') IS NOT NULL AND to_regclass('onewrite.lease') IS NOT NULL
        AND to_regclass('onewrite.outbox') IS NOT NULL)::int;

-- name: has_any_schema
SELECT count(*) FROM pg_namespace WHERE nspname = 'onewrite';

-- What there is to drop, in order, each with its statement: slots and their publications. $1 a name, or '': the usual
-- ones, $2 and $3.
-- name: plan_slots
WITH slot AS (
    SELECT slot_name::text AS name, coalesce(active_pid, 0) AS pid,
           CASE WHEN $1::text <> '' THEN slot_name = $1::text ELSE slot_name IN ($2::text, $3::text) END AS is_meant
    FROM pg_replication_slots
    WHERE slot_type = 'logical' AND database = current_database()
)
SELECT 'slot', name, format('SELECT pg_drop_replication_slot(%L)', name), pid FROM slot WHERE is_meant
UNION ALL
SELECT 'publication', pubname, format('DROP PUBLICATION IF EXISTS %I', pubname), 0 FROM pg_publication
WHERE pubname = $1::text
   -- The publication of the outbox serves every slot of ours.
   OR (pubname = 'onewrite_outbox' AND NOT EXISTS (SELECT FROM slot WHERE NOT is_meant AND name LIKE 'onewrite\_%'));

-- The rest of it, where the tables are there.
-- name: plan_rows
SELECT 'position', source, format('DELETE FROM onewrite.position WHERE source = %L', source), 0 FROM onewrite.position
WHERE CASE WHEN $1::text <> '' THEN split_part(source, '/', 1) = $1::text
           ELSE split_part(source, '/', 1) IN ($2::text, $3::text) END
UNION ALL
SELECT 'leases', count(*)::text, 'DELETE FROM onewrite.lease', 0 FROM onewrite.lease WHERE $1::text = '' HAVING count(*) > 0;

-- name: plan_schema
SELECT 'schema', 'onewrite', 'DROP SCHEMA onewrite CASCADE', 0;

-- name: losses
SELECT (SELECT count(*) FROM onewrite.outbox WHERE accepted_at IS NULL), (SELECT count(*) FROM onewrite.dead_letter);

-- name: database
SELECT current_database()::text;
