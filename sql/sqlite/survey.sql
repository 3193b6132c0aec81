-- SPDX-License-Identifier: Apache-2.0
-- What the daemon asks of a file now and then, beside its pipelines (src/cmd/survey*.c). All of it ends early.

-- What waits in the outbox: how many rows, counted to ?1 and from there on by their numbers, and since when. Only the
-- newest ?2 numbers are looked at: behind them there may be any number of rows that are marked and kept.
-- name: backlog
SELECT CASE WHEN count(*) < ?1 THEN count(*)
            ELSE max(count(*), (SELECT max(seq) FROM onewrite_outbox) - min(seq) + 1) END,
       min(time)
FROM (SELECT seq, time FROM onewrite_outbox
      WHERE accepted_at IS NULL AND seq > (SELECT coalesce(max(seq), 0) FROM onewrite_outbox) - ?2
      ORDER BY seq LIMIT ?1);

-- The first ?1 dead letters, but those that were put back and have come by.
-- name: letters
SELECT source, state, count(*)
FROM (SELECT source, state FROM onewrite_dead_letter
      WHERE state <> 'queued' OR source <> 'polling'
         OR EXISTS (SELECT 1 FROM onewrite_outbox o WHERE o.seq = replay_position AND o.accepted_at IS NULL)
      LIMIT ?1)
GROUP BY source, state ORDER BY source, state LIMIT 1000;
