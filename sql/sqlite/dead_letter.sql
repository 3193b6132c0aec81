-- SPDX-License-Identifier: Apache-2.0
-- Dead letters: asked about by a relay (src/source/dead_letters.c), and what `onewrite dlq` does with them.

-- name: keys
SELECT DISTINCT CAST(key AS BLOB) FROM onewrite_dead_letter WHERE source = ?1 AND key IS NOT NULL;

-- What stands before the message ?3 of key ?2 at position ?4 of source ?1; and whether the key has letters that may
-- stand before others.
-- name: stand_before
WITH letters AS (
    SELECT number, state, CASE WHEN source = 'polling' THEN replay_position = ?4 ELSE id = ?3 END AS is_it,
           coalesce(replay_position, 9223372036854775807) > ?4 AS is_behind
    FROM onewrite_dead_letter WHERE source = ?1 AND key = ?2),
own AS (SELECT min(number) AS number FROM letters WHERE state = 'queued' AND is_it)
SELECT coalesce(sum((state <> 'queued' AND letters.number < coalesce(own.number, 9223372036854775807)) OR
                    (state = 'queued' AND is_behind AND own.number IS NULL)), 0),
       coalesce(sum(state <> 'queued' OR is_behind), 0)
FROM letters, own;

-- name: tidy_polled
DELETE FROM onewrite_dead_letter WHERE state = 'queued' AND source = 'polling'
    AND NOT EXISTS (SELECT 1 FROM onewrite_outbox o WHERE o.seq = replay_position AND o.accepted_at IS NULL);

-- All but those that were put back and have come by. With their contents if ?1 is 1; behind number ?2, in state ?3 (NULL:
-- any), at most ?4; those whose number is ?5 or id ?6 (NULL: any) and, if ?7 is 1, those of the same key.
-- name: list
SELECT number, state, source, position, origin, id, aggregatetype, aggregateid, type, topic, key,
       CASE WHEN ?1 = 1 THEN payload END, NULL, headers, time, NULL, reason, attempts, replays, history, first_aside_at, set_aside_at, replayed_at
FROM onewrite_dead_letter
WHERE (state <> 'queued' OR source <> 'polling'
       OR EXISTS (SELECT 1 FROM onewrite_outbox o WHERE o.seq = replay_position AND o.accepted_at IS NULL))
  AND number > ?2 AND (?3 IS NULL OR state = ?3)
  AND (?6 IS NULL OR number = ?5 OR id = ?6
       OR (?7 = 1 AND (source, key) IN (SELECT source, key FROM onewrite_dead_letter WHERE number = ?5 OR id = ?6)))
ORDER BY number LIMIT ?4;

-- name: lock
SELECT state FROM onewrite_dead_letter WHERE number = ?1;

-- name: replay_outbox
INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload, headers, time)
SELECT id, aggregatetype, aggregateid, type, payload, headers, time FROM onewrite_dead_letter WHERE number = ?1
RETURNING seq;

-- ?2: where it stands now. ?3: the time.
-- name: queue
UPDATE onewrite_dead_letter
SET state = 'queued', replays = replays + 1, replayed_at = ?3, replay_position = ?2
WHERE number = ?1;

-- name: discard
DELETE FROM onewrite_dead_letter WHERE number = ?1;
