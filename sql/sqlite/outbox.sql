-- SPDX-License-Identifier: Apache-2.0
-- The relay's side of the outbox table. A relay holds the lock beside the file: it is alone.

-- name: insert
INSERT INTO onewrite_outbox (id, aggregatetype, aggregateid, type, payload, headers, time)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, coalesce(?7, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)));

-- name: read_batch
SELECT seq, id, aggregatetype, aggregateid, type, payload, headers, time
FROM onewrite_outbox
WHERE seq > ?1 AND accepted_at IS NULL
ORDER BY seq
LIMIT ?2;

-- A run of numbers without a gap, every one of which was yielded: exactly these rows.
-- name: delete_run
DELETE FROM onewrite_outbox WHERE seq BETWEEN ?1 AND ?2;

-- name: mark_run
UPDATE onewrite_outbox SET accepted_at = ?3 WHERE seq BETWEEN ?1 AND ?2 AND accepted_at IS NULL;

-- Marked rows that are old enough, a few at a time.
-- name: purge_marked
DELETE FROM onewrite_outbox
WHERE seq IN (SELECT seq FROM onewrite_outbox WHERE accepted_at < ?1 ORDER BY seq LIMIT ?2);

-- ?1 its seq, ?2 reason, ?3 attempts, ?4 the time, ?5 topic, ?6 key, ?7 state. One that was
-- put back is the same letter as before.
-- name: dead_letter_again
UPDATE onewrite_dead_letter
SET position = ?1, reason = ?2, attempts = ?3, set_aside_at = ?4, topic = ?5, key = ?6, state = ?7,
    history = coalesce(substr(history, 1, length(history) - 1) || ',', '[') ||
              json_object('time', set_aside_at, 'class', class, 'reason', reason, 'attempts', attempts) || ']',
    replay_position = NULL
WHERE source = 'polling' AND state = 'queued' AND replay_position = ?1;

-- name: dead_letter
INSERT INTO onewrite_dead_letter
    (position, id, aggregatetype, aggregateid, type, topic, key, payload, headers, time, reason, attempts, state, first_aside_at,
     set_aside_at)
SELECT seq, id, aggregatetype, aggregateid, type, ?5, ?6, payload, headers, time, ?2, ?3, ?7, ?4, ?4
FROM onewrite_outbox WHERE seq = ?1 AND accepted_at IS NULL;

-- name: status
SELECT count(*), min(time), coalesce(sum(length(payload)), 0) FROM onewrite_outbox WHERE accepted_at IS NULL;

-- name: count_dead_letters
SELECT count(*) FROM onewrite_dead_letter WHERE state <> 'queued';

-- name: losses
SELECT (SELECT count(*) FROM onewrite_outbox WHERE accepted_at IS NULL), (SELECT count(*) FROM onewrite_dead_letter);

-- name: drop
BEGIN IMMEDIATE;
DROP TABLE onewrite_outbox;
DROP TABLE onewrite_dead_letter;
DROP TABLE IF EXISTS onewrite_inbox;
DROP TABLE IF EXISTS onewrite_consumer;
DROP TABLE onewrite_meta;
COMMIT
