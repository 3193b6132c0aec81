-- SPDX-License-Identifier: Apache-2.0
-- What the daemon asks of a database now and then, beside its pipelines (src/cmd/survey*.c). All of it ends early.

-- For the session: rows are read in the order of the index and only as many as are counted; left alone, the planner, which
-- knows little of a queue, sorts all of them.
-- name: session
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('enable_sort', 'jit');

-- What waits in the outbox: how many rows, counted to $1 and from there on by their numbers, and since when. Only the
-- newest $2 numbers are looked at: behind them there may be any number of rows that are marked and kept.
-- name: backlog
SELECT CASE WHEN count(*) < $1::bigint THEN count(*)
            ELSE greatest(count(*), (SELECT max(seq) FROM onewrite.outbox) - min(seq) + 1) END,
       (extract(epoch FROM min(time)) * 1000)::bigint
FROM (SELECT seq, time FROM onewrite.waiting()
      WHERE seq > (SELECT coalesce(max(seq), 0) FROM onewrite.outbox) - $2::bigint
      ORDER BY seq LIMIT $1::bigint) AS waiting;

-- Bytes of the log behind what the reader of slot $1 has confirmed, and bytes that are kept for it.
-- name: slot
SELECT coalesce(pg_wal_lsn_diff(here.lsn, confirmed_flush_lsn), -1)::bigint,
       coalesce(pg_wal_lsn_diff(here.lsn, restart_lsn), -1)::bigint
FROM pg_replication_slots,
     (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn) AS here
WHERE slot_name = $1::text AND database = current_database();

-- The first $1 dead letters, but those that were put back and have come by. Who may not look into the outbox (a consumer)
-- cannot tell that.
-- name: letters
SELECT source, state, count(*)
FROM (SELECT source, state FROM onewrite.dead_letter d
      WHERE state <> 'queued' OR
            CASE WHEN source = 'polling' AND has_table_privilege('onewrite.outbox', 'SELECT')
                 THEN onewrite.waits(d.replay_position)
                 WHEN source = 'polling' THEN true
                 ELSE NOT EXISTS (SELECT FROM pg_replication_slots s
                                  WHERE s.slot_name = d.source AND s.database = current_database() AND
                                        d.replay_position < s.confirmed_flush_lsn - '0/0'::pg_lsn) END
      LIMIT $1::bigint) AS letters
GROUP BY source, state ORDER BY source, state LIMIT 1000;
