-- SPDX-License-Identifier: Apache-2.0
-- A consumer's inbox (src/inbox/inbox_store.c). ?1 is the consumer; letters have the source 'consumer/' and its
-- name.

-- name: look
SELECT (SELECT state FROM onewrite_inbox WHERE consumer = ?1 AND message_id = ?2),
       ?4 AND EXISTS (SELECT 1 FROM onewrite_dead_letter d WHERE d.source = 'consumer/' || ?1 AND d.key = ?3);

-- name: claim
INSERT INTO onewrite_inbox (consumer, message_id, handled_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING;

-- name: mark
UPDATE onewrite_inbox SET state = ?3, handled_at = ?4 WHERE consumer = ?1 AND message_id = ?2;

-- name: mark_handled
INSERT INTO onewrite_inbox (consumer, message_id, handled_at) VALUES (?1, ?2, ?3)
ON CONFLICT (consumer, message_id) DO UPDATE SET state = 'handled', handled_at = excluded.handled_at;

-- Where nothing is kept of what was set aside: when it is sent back it is new.
-- name: forget
DELETE FROM onewrite_inbox WHERE consumer = ?1 AND message_id = ?2;

-- name: put_letter
INSERT INTO onewrite_dead_letter
    (source, position, origin, state, id, aggregatetype, aggregateid, type, topic, partition, record_offset, key, payload,
     headers, time, class, reason, attempts, set_aside_at, first_aside_at)
SELECT 'consumer/' || ?1, ?2, 'record', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?18
WHERE NOT EXISTS (SELECT 1 FROM onewrite_dead_letter WHERE source = 'consumer/' || ?1 AND position = ?2 AND id IS ?4);

-- name: put_back_letter
UPDATE onewrite_dead_letter
SET state = 'dead', replays = replays + 1, class = ?3, reason = ?4, attempts = ?5, set_aside_at = ?6,
    history = json_insert(coalesce(history, '[]'), '$[#]',
                          json_object('time', set_aside_at, 'class', class, 'reason', reason, 'attempts', attempts))
WHERE number = ?2 AND source = 'consumer/' || ?1;

-- Whether a letter is still there and may go: none of its key stands before it, in whatever state.
-- name: look_letter
SELECT EXISTS (SELECT 1 FROM onewrite_dead_letter o
               WHERE o.source = d.source AND o.key = d.key AND o.number < d.number)
FROM onewrite_dead_letter d WHERE d.number = ?2 AND d.source = 'consumer/' || ?1 AND d.state <> 'dead';

-- name: drop_letter
DELETE FROM onewrite_dead_letter WHERE number = ?2 AND source = 'consumer/' || ?1;

-- name: next_queued
SELECT d.number, d.id, d.aggregatetype, d.aggregateid, d.type, d.topic, d.partition, d.record_offset, d.key, d.payload,
       NULL, d.headers, d.time, d.replays
FROM onewrite_dead_letter d
WHERE d.source = 'consumer/' || ?1 AND d.state <> 'dead' AND d.number > ?2
  AND NOT EXISTS (SELECT 1 FROM onewrite_dead_letter o
                  WHERE o.source = d.source AND o.key = d.key AND o.number < d.number)
ORDER BY d.number
LIMIT 1;

-- One member of a group replays at a time: ?2 who, ?3 until when, ?4 now. Gives whether it is this one.
-- name: hold_replays
INSERT INTO onewrite_consumer (consumer, name, value) VALUES (?1, 'replayer', json_array(?2, ?3))
ON CONFLICT (consumer, name) DO UPDATE SET value = excluded.value
WHERE json_extract(value, '$[0]') = ?2 OR json_extract(value, '$[1]') < ?4;

-- name: keep
INSERT INTO onewrite_consumer (consumer, name, value) VALUES (?1, ?2, ?3)
ON CONFLICT (consumer, name) DO UPDATE SET value = excluded.value;

-- An offset goes forwards only: a member that has lost its partition may not know yet.
-- name: keep_offset
INSERT INTO onewrite_consumer AS c (consumer, name, value) VALUES (?1, ?2, ?3)
ON CONFLICT (consumer, name) DO UPDATE SET value = excluded.value
WHERE CAST(c.value AS INTEGER) < CAST(excluded.value AS INTEGER);

-- name: kept
SELECT value FROM onewrite_consumer WHERE consumer = ?1 AND name = ?2;

-- name: prune_old
DELETE FROM onewrite_inbox
WHERE consumer = ?1 AND message_id IN (
    SELECT o.message_id FROM onewrite_inbox o
    WHERE o.consumer = ?1 AND o.handled_at < ?2
      AND (o.state = 'handled' OR NOT EXISTS (SELECT 1 FROM onewrite_dead_letter d
                                              WHERE d.id = o.message_id AND d.source = 'consumer/' || ?1))
    ORDER BY o.handled_at LIMIT 1000);

-- name: prune_many
DELETE FROM onewrite_inbox
WHERE consumer = ?1 AND message_id IN (
    SELECT o.message_id FROM onewrite_inbox o WHERE o.consumer = ?1 AND o.state = 'handled'
    ORDER BY o.handled_at DESC LIMIT 1000 OFFSET ?2);

-- name: publish
INSERT INTO onewrite_outbox (aggregatetype, aggregateid, type, payload, id, headers) VALUES (?1, ?2, ?3, ?4, ?5, ?6);

-- What onewrite dlq does with letters of consumers (src/cmd/dlq_consumer.c). What is parked behind follows by itself.
-- name: queue_letter
UPDATE onewrite_dead_letter SET state = 'queued', replayed_at = ?2 WHERE number = ?1 AND state = 'dead';

-- How many of source ?1, up to number ?2, the consumer is to replay now.
-- name: count_queued
SELECT count(*) FROM onewrite_dead_letter d
WHERE d.source = ?1 AND d.state <> 'dead' AND d.number <= ?2
  AND NOT EXISTS (SELECT 1 FROM onewrite_dead_letter o
                  WHERE o.source = d.source AND o.key = d.key AND o.number < d.number AND o.state = 'dead');

-- ?4: what it was before, an entry of the history.
-- name: edit_letter
UPDATE onewrite_dead_letter
SET payload = ?2, headers = ?3, history = json_insert(coalesce(history, '[]'), '$[#]', json(?4))
WHERE number = ?1 AND state = 'dead';
