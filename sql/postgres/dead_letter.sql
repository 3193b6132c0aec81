-- SPDX-License-Identifier: Apache-2.0
-- Dead letters: written and asked about by relays (src/source/dead_letters.c), and what `onewrite dlq` does with them.

-- Keys that have letters. $1: of this source.
-- name: keys
SELECT DISTINCT key FROM onewrite.dead_letter WHERE source = $1::text AND key IS NOT NULL;

-- One that was put back and comes again is the same letter.
-- name: write
WITH again AS (
    UPDATE onewrite.dead_letter
    SET position = $2::text, topic = $8::text, key = $9::bytea, reason = $15::text, attempts = $16::bigint,
        state = $17::text, set_aside_at = clock_timestamp(), replay_position = NULL,
        history = coalesce(left(history, -1) || ',', '[') ||
                  json_build_object('time', (extract(epoch FROM set_aside_at) * 1000)::bigint, 'class', class, 'reason', reason,
                                    'attempts', attempts) || ']'
    WHERE source = $1::text AND md5(id) = md5($4::text) AND id = $4::text AND state = 'queued'
    RETURNING number)
INSERT INTO onewrite.dead_letter
    (source, position, origin, id, aggregatetype, aggregateid, type, topic, key, payload, payload_bytes, headers, time,
     source_row, reason, attempts, state)
SELECT $1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::bytea, $10::text, $11::bytea,
       $12::text, to_timestamp($13::bigint / 1000.0), $14::text, $15::text, $16::bigint, $17::text
WHERE NOT EXISTS (SELECT FROM again)
ON CONFLICT DO NOTHING;

-- What stands before the message $3 of key $2 at position $4 of source $1; and whether the key has letters that may
-- stand before others.
-- name: stand_before
WITH letters AS (
    SELECT number, state, CASE WHEN source = 'polling' THEN replay_position = $4::bigint ELSE id = $3::text END AS is_it,
           coalesce(replay_position, 9223372036854775807) > $4::bigint AS is_behind
    FROM onewrite.dead_letter WHERE source = $1::text AND md5(key) = md5($2::bytea) AND key = $2::bytea),
own AS (SELECT min(number) AS number FROM letters WHERE state = 'queued' AND is_it)
SELECT count(*) FILTER (WHERE (state <> 'queued' AND letters.number < coalesce(own.number, 9223372036854775807)) OR
                              (state = 'queued' AND is_behind AND own.number IS NULL)),
       count(*) FILTER (WHERE state <> 'queued' OR is_behind)
FROM letters, own;

-- Put-back letters have come by: their source is past them.
-- name: tidy_polled
DELETE FROM onewrite.dead_letter d WHERE state = 'queued' AND source = 'polling'
    AND NOT onewrite.waits(d.replay_position);

-- name: tidy_log
DELETE FROM onewrite.dead_letter d USING pg_replication_slots s
WHERE d.state = 'queued' AND d.source = s.slot_name AND s.database = current_database()
  AND d.replay_position < s.confirmed_flush_lsn - '0/0'::pg_lsn;

-- Their transaction has ended, and so they stand before this point.
-- name: settle_positions
UPDATE onewrite.dead_letter SET replay_position = pg_current_wal_insert_lsn() - '0/0'::pg_lsn
WHERE state = 'queued' AND replay_position IS NULL;

-- All but those that were put back and have come by (who may not look into the outbox cannot tell). With their contents if
-- $1 is 1; behind number $2, in state $3 (NULL:
-- any), at most $4; those whose number is $5 or id $6 (NULL: any) and, if $7 is 1, those of the same key.
-- name: list
SELECT number, state, source, position, origin, id, aggregatetype, aggregateid, type, topic, key,
       CASE WHEN $1::int = 1 THEN payload END, CASE WHEN $1::int = 1 THEN payload_bytes END,
       headers, (extract(epoch FROM time) * 1000)::bigint, CASE WHEN $1::int = 1 THEN source_row END, reason, attempts, replays, history,
       (extract(epoch FROM first_aside_at) * 1000)::bigint, (extract(epoch FROM set_aside_at) * 1000)::bigint,
       (extract(epoch FROM replayed_at) * 1000)::bigint
FROM onewrite.dead_letter d
WHERE (state <> 'queued' OR
       CASE WHEN source = 'polling' AND has_table_privilege('onewrite.outbox', 'SELECT')
            THEN onewrite.waits(d.replay_position)
            WHEN source = 'polling' THEN true
            ELSE NOT EXISTS (SELECT FROM pg_replication_slots s
                             WHERE s.slot_name = d.source AND s.database = current_database() AND
                                   d.replay_position < s.confirmed_flush_lsn - '0/0'::pg_lsn) END)
  AND number > $2::bigint AND ($3::text IS NULL OR state = $3::text)
  AND ($6::text IS NULL OR number = $5::bigint OR (md5(id) = md5($6::text) AND id = $6::text)
       OR ($7::int = 1 AND (source, md5(key)) IN (SELECT source, md5(key) FROM onewrite.dead_letter
                                                  WHERE number = $5::bigint OR (md5(id) = md5($6::text) AND id = $6::text))))
ORDER BY number LIMIT $4::bigint;

-- Locked until the end of the transaction, so that two who put it back do so once.
-- name: lock
SELECT state FROM onewrite.dead_letter WHERE number = $1::bigint FOR UPDATE;

-- Put back into our table, with all of its columns.
-- name: replay_outbox
INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload, payload_bytes, headers, time)
SELECT id, aggregatetype, aggregateid, type, payload, payload_bytes, headers::json, coalesce(time, clock_timestamp())
FROM onewrite.dead_letter WHERE number = $1::bigint
RETURNING seq;

-- The same JSON that onewrite.publish() writes.
-- name: replay_message
SELECT pg_logical_emit_message(true, 'onewrite', convert_to(json_build_object(
    'id', id, 'aggregatetype', aggregatetype, 'aggregateid', aggregateid, 'type', type, 'headers', headers::json,
    'time', (extract(epoch FROM time) * 1000)::bigint,
    CASE WHEN payload_bytes IS NULL THEN 'payload' ELSE 'payload_base64' END,
    coalesce(payload, translate(encode(payload_bytes, 'base64'), E'\n', '')))::text, 'UTF8'))
FROM onewrite.dead_letter WHERE number = $1::bigint;

-- The statements that bring a row back into another table: what is left of it goes first.
-- name: replay_row
SELECT coalesce((SELECT format('DELETE FROM %I.%I WHERE %I = %L; ', r ->> 'schema', r ->> 'table', c ->> 'name', c ->> 'value')
                 FROM json_array_elements(r -> 'columns') c WHERE c ->> 'name' = 'id' AND c ->> 'value' IS NOT NULL LIMIT 1), '') ||
       format('INSERT INTO %I.%I (%s) OVERRIDING SYSTEM VALUE VALUES (%s)', r ->> 'schema', r ->> 'table',
              (SELECT string_agg(quote_ident(c ->> 'name'), ', ' ORDER BY n) FROM json_array_elements(r -> 'columns') WITH ORDINALITY AS e (c, n)),
              (SELECT string_agg(quote_nullable(c ->> 'value'), ', ' ORDER BY n) FROM json_array_elements(r -> 'columns') WITH ORDINALITY AS e (c, n)))
FROM (SELECT source_row::json AS r FROM onewrite.dead_letter WHERE number = $1::bigint) AS letter;

-- $2: where it stands now, if that is known.
-- name: queue
UPDATE onewrite.dead_letter
SET state = 'queued', replays = replays + 1, replayed_at = clock_timestamp(), replay_position = $2::bigint
WHERE number = $1::bigint;

-- name: discard
DELETE FROM onewrite.dead_letter WHERE number = $1::bigint;
