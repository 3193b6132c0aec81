-- SPDX-License-Identifier: Apache-2.0
-- A consumer's inbox (src/inbox/inbox_store.c). $1 is the consumer, $2 ids, $3 keys; letters have the source
-- 'consumer/' and its name.

-- What is known of messages: their number in the arrays, the state of their row, whether a letter of their key is open.
-- name: look
SELECT g.n, i.state,
       $4::boolean AND EXISTS (SELECT FROM onewrite.dead_letter d
                               WHERE d.source = 'consumer/' || $1::text AND md5(d.key) = md5(g.key) AND d.key = g.key)
FROM unnest($2::text[], $3::bytea[]) WITH ORDINALITY AS g (id, key, n)
LEFT JOIN onewrite.inbox i ON i.consumer = $1::text AND i.message_id = g.id;

-- Rows for those that have none. In the order of ids, so that two consumers never wait for each other. Gives the first
-- of each id that is new. Another transaction that has written the same id is waited for; what letters it has written is
-- not seen here then, so after that look is asked.
-- name: claim
WITH given AS (SELECT id, key, n FROM unnest($2::text[], $3::bytea[]) WITH ORDINALITY AS g (id, key, n)),
fresh AS (
    INSERT INTO onewrite.inbox (consumer, message_id) SELECT $1::text, id FROM given ORDER BY id
    ON CONFLICT DO NOTHING RETURNING message_id)
SELECT DISTINCT ON (f.message_id) g.n, 'new',
       $4::boolean AND EXISTS (SELECT FROM onewrite.dead_letter d
                               WHERE d.source = 'consumer/' || $1::text AND md5(d.key) = md5(g.key) AND d.key = g.key)
FROM fresh f JOIN given g ON g.id = f.message_id
ORDER BY f.message_id, g.n;

-- From inside an application (libonewrite-postgres).
-- name: claim_one
INSERT INTO onewrite.inbox (consumer, message_id) VALUES ($1::text, $2::text) ON CONFLICT DO NOTHING;

-- name: mark
UPDATE onewrite.inbox SET state = $3::text, handled_at = now() WHERE consumer = $1::text AND message_id = $2::text;

-- After a replay: the row may be gone by age.
-- name: mark_handled
INSERT INTO onewrite.inbox (consumer, message_id) VALUES ($1::text, $2::text)
ON CONFLICT (consumer, message_id) DO UPDATE SET state = 'handled', handled_at = now();

-- Where nothing is kept of what was set aside: when it is sent back it is new.
-- name: forget
DELETE FROM onewrite.inbox WHERE consumer = $1::text AND message_id = $2::text;

-- name: put_letter
INSERT INTO onewrite.dead_letter
    (source, position, origin, state, id, aggregatetype, aggregateid, type, topic, partition, record_offset, key, payload,
     payload_bytes, headers, time, class, reason, attempts)
VALUES ('consumer/' || $1::text, $2::text, 'record', $3::text, $4::text, $5::text, $6::text, $7::text, $8::text,
        $9::bigint, $10::bigint, $11::bytea, $12::text, $13::bytea, $14::text,
        to_timestamp($15::double precision / 1000), $16::text, $17::text, $18::int)
ON CONFLICT DO NOTHING;

-- One that failed again: what it failed of before goes into its history.
-- name: put_back_letter
UPDATE onewrite.dead_letter
SET state = 'dead', replays = replays + 1, set_aside_at = clock_timestamp(), class = $3::text, reason = $4::text,
    attempts = $5::int,
    history = coalesce(left(history, -1) || ',', '[') ||
              json_build_object('time', (extract(epoch FROM set_aside_at) * 1000)::bigint, 'class', class, 'reason', reason,
                                'attempts', attempts) || ']'
WHERE number = $2::bigint AND source = 'consumer/' || $1::text;

-- Whether a letter is still there and may go: none of its key stands before it, in whatever state.
-- name: look_letter
SELECT EXISTS (SELECT FROM onewrite.dead_letter o
               WHERE o.source = d.source AND md5(o.key) = md5(d.key) AND o.key = d.key AND o.number < d.number)
FROM onewrite.dead_letter d WHERE d.number = $2::bigint AND d.source = 'consumer/' || $1::text AND d.state <> 'dead';

-- The same, in the transaction in which it goes: another one that replays it is waited for, and then it is gone.
-- name: claim_letter
SELECT EXISTS (SELECT FROM onewrite.dead_letter o
               WHERE o.source = d.source AND md5(o.key) = md5(d.key) AND o.key = d.key AND o.number < d.number)
FROM onewrite.dead_letter d WHERE d.number = $2::bigint AND d.source = 'consumer/' || $1::text AND d.state <> 'dead'
FOR UPDATE OF d;

-- name: drop_letter
DELETE FROM onewrite.dead_letter WHERE number = $2::bigint AND source = 'consumer/' || $1::text;

-- name: next_queued
SELECT d.number, d.id, d.aggregatetype, d.aggregateid, d.type, d.topic, d.partition, d.record_offset, d.key, d.payload,
       d.payload_bytes, d.headers, (extract(epoch FROM d.time) * 1000)::bigint, d.replays
FROM onewrite.dead_letter d
WHERE d.source = 'consumer/' || $1::text AND d.state <> 'dead' AND d.number > $2::bigint
  AND NOT EXISTS (SELECT FROM onewrite.dead_letter o
                  WHERE o.source = d.source AND md5(o.key) = md5(d.key) AND o.key = d.key AND o.number < d.number)
ORDER BY d.number
LIMIT 1;

-- One member of a group replays at a time; the lock ends with its session.
-- name: hold_replays
SELECT pg_try_advisory_lock(1869050985, hashtext($1::text))::int;

-- name: keep
INSERT INTO onewrite.consumer (consumer, name, value) VALUES ($1::text, $2::text, $3::text)
ON CONFLICT (consumer, name) DO UPDATE SET value = excluded.value, time = clock_timestamp();

-- An offset goes forwards only: a member that has lost its partition may not know yet.
-- name: keep_offset
INSERT INTO onewrite.consumer AS c (consumer, name, value) VALUES ($1::text, $2::text, $3::text)
ON CONFLICT (consumer, name) DO UPDATE SET value = excluded.value, time = clock_timestamp()
WHERE c.value::bigint < excluded.value::bigint;

-- name: kept
SELECT value FROM onewrite.consumer WHERE consumer = $1::text AND name = $2::text;

-- Old rows, a few at a time; of what was set aside only when its letter is gone.
-- name: prune_old
DELETE FROM onewrite.inbox i
WHERE i.ctid = ANY (ARRAY(
    SELECT o.ctid FROM onewrite.inbox o
    WHERE o.consumer = $1::text AND o.handled_at < now() - $2::bigint * interval '1 millisecond'
      AND (o.state = 'handled' OR NOT EXISTS (SELECT FROM onewrite.dead_letter d
                                              WHERE md5(d.id) = md5(o.message_id) AND d.source = 'consumer/' || $1::text))
    ORDER BY o.handled_at LIMIT 1000));

-- name: prune_many
DELETE FROM onewrite.inbox i
WHERE i.ctid = ANY (ARRAY(
    SELECT o.ctid FROM onewrite.inbox o WHERE o.consumer = $1::text AND o.state = 'handled'
    ORDER BY o.handled_at DESC OFFSET $2::bigint LIMIT 1000));

-- name: publish
SELECT onewrite.publish_bytes($1::text, $2::text, $3::text, $4::bytea, id => $5::text, headers => $6::json);

-- What onewrite dlq does with letters of consumers (src/cmd/dlq_consumer.c). What is parked behind follows by itself.
-- name: queue_letter
UPDATE onewrite.dead_letter SET state = 'queued', replayed_at = clock_timestamp() WHERE number = $1::bigint AND state = 'dead';

-- How many of source $1, up to number $2, the consumer is to replay now.
-- name: count_queued
SELECT count(*) FROM onewrite.dead_letter d
WHERE d.source = $1::text AND d.state <> 'dead' AND d.number <= $2::bigint
  AND NOT EXISTS (SELECT FROM onewrite.dead_letter o
                  WHERE o.source = d.source AND md5(o.key) = md5(d.key) AND o.key = d.key AND o.number < d.number
                    AND o.state = 'dead');

-- $5: what it was before, an entry of the history.
-- name: edit_letter
UPDATE onewrite.dead_letter
SET payload = $2::text, payload_bytes = $3::bytea, headers = $4::text,
    history = coalesce(left(history, -1) || ',', '[') || $5::text || ']'
WHERE number = $1::bigint AND state = 'dead';
