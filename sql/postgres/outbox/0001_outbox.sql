-- SPDX-License-Identifier: Apache-2.0
-- The outbox: insert a row, or call onewrite.publish(), in the transaction that changes your data. id,
-- aggregatetype, aggregateid, type and payload are the columns of Debezium's outbox event router; everything
-- else may be left out.
CREATE TABLE onewrite.outbox (
    seq           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id            text NOT NULL,                      -- names the message for ever; made if it is left out
    aggregatetype text NOT NULL,                      -- e.g. order; the topic is made from it
    aggregateid   text NOT NULL,                      -- the key: messages of one key keep their order
    type          text NOT NULL,                      -- what happened, e.g. OrderPlaced
    payload       text,                               -- passed on as it is; NULL here and below: a tombstone
    payload_bytes bytea,                              -- in place of payload, where it is no text
    headers       json,                               -- an object of strings, or NULL
    time          timestamptz NOT NULL DEFAULT clock_timestamp(),
    accepted_at   timestamptz,                        -- set by the relay where rows are marked, not deleted
    CONSTRAINT outbox_one_payload CHECK (payload IS NULL OR payload_bytes IS NULL)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

-- A random UUID: the server's own from PostgreSQL 13 on.
DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 130000 THEN
        ALTER TABLE onewrite.outbox ALTER COLUMN id SET DEFAULT gen_random_uuid()::text;
    ELSE
        ALTER TABLE onewrite.outbox ALTER COLUMN id SET DEFAULT
            overlay(overlay(md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text)
                            PLACING '4' FROM 13) PLACING 'a' FROM 17)::uuid::text;
    END IF;
END
$$;

-- Messages that were set aside, with the reason: by a relay, or by a consumer. Nothing is ever deleted from here without
-- a person's word. The letters of a key are in the order of their numbers.
CREATE TABLE onewrite.dead_letter (
    number          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source          text NOT NULL,                    -- polling, the slot that it came by, or consumer/NAME
    position        text NOT NULL,                    -- where it stood there: its seq, LSN/number, or topic/partition/offset
    origin          text NOT NULL DEFAULT 'outbox',   -- what it was: outbox, message, row (of another table), other
    state           text NOT NULL DEFAULT 'dead'      -- parked: behind a dead one of its key; queued: it was put back
                    CHECK (state IN ('dead', 'parked', 'queued')),
    id              text,
    aggregatetype   text,
    aggregateid     text,
    type            text,
    topic           text,                             -- of a relay: where it was to go, as far as that could be told
    partition       bigint,                           -- of a consumer: where the record stood in its topic
    record_offset   bigint,
    key             bytea,
    payload         text,
    payload_bytes   bytea,                            -- in place of payload, where it is no text
    headers         text,                             -- of a relay as the outbox has them; of a consumer [["name","value"],...]
    time            timestamptz,
    source_row      text,                             -- of another table: {"schema", "table", "columns": [{"name", "value"}]}
    class           text,                             -- of the failure: "http 503", "23505", ...
    reason          text NOT NULL,                    -- of the last failure
    attempts        integer NOT NULL,
    replays         integer NOT NULL DEFAULT 0,       -- how often it was put back
    history         text,                             -- failures before the last: [{"time":ms,"class":...,"reason":...,"attempts":n},...]
    first_aside_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    set_aside_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    replayed_at     timestamptz,
    replay_position bigint                            -- of one that was put back: what stands before this is not behind it
);
CREATE UNIQUE INDEX dead_letter_once ON onewrite.dead_letter (source, position, md5(coalesce(id, '')));
CREATE INDEX dead_letter_of_key ON onewrite.dead_letter (source, md5(key), number);
CREATE INDEX dead_letter_of_id ON onewrite.dead_letter (md5(id));
CREATE INDEX dead_letter_queued ON onewrite.dead_letter (source, number) WHERE state <> 'dead';

-- What a consumer is done with, written in the transaction of the effect.
CREATE TABLE onewrite.inbox (
    consumer   text NOT NULL,
    message_id text NOT NULL,
    state      text NOT NULL DEFAULT 'handled' CHECK (state IN ('handled', 'aside', 'parked')),
    handled_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, message_id)
);
CREATE INDEX inbox_handled_at ON onewrite.inbox (consumer, handled_at);

-- What a consumer keeps beside: the offsets that it has reached, the state of its breaker.
CREATE TABLE onewrite.consumer (
    consumer text NOT NULL,
    name     text NOT NULL,                           -- offset/TOPIC/PARTITION, or breaker
    value    text NOT NULL,
    time     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, name)
) WITH (fillfactor = 50);

-- Who works on what. epoch grows with each new holder, so that a former one can change nothing any more.
CREATE TABLE onewrite.lease (
    name       text PRIMARY KEY,
    epoch      bigint NOT NULL,
    holder     text NOT NULL,
    expires_at timestamptz NOT NULL,
    accepted_below bigint NOT NULL DEFAULT 0          -- where the outbox is partitioned: every row of it below this seq is accepted
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000);

-- Where the outbox is partitioned rows are not deleted one by one: bit n of bits (from the low end of each byte) says
-- that the row with seq = first + n is accepted.
CREATE TABLE onewrite.accepted (
    first bigint NOT NULL,
    bits  bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX accepted_first ON onewrite.accepted (first);

-- How far a log has been accepted, where the broker does not keep it.
CREATE TABLE onewrite.position (
    source            text PRIMARY KEY,
    position          text NOT NULL,
    system_identifier text NOT NULL,
    time              timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- The rows of the outbox that wait to be published, in no order. The planner writes it out in place of a call.
CREATE FUNCTION onewrite.waiting() RETURNS TABLE (seq bigint, "time" timestamptz, bytes bigint) LANGUAGE sql STABLE AS $$
    SELECT o.seq, o."time", coalesce(octet_length(o.payload), octet_length(o.payload_bytes), 0)::bigint
    FROM onewrite.outbox o
    WHERE o.accepted_at IS NULL
      AND (o.seq < (SELECT coalesce(min(a.first), 9223372036854775807) FROM onewrite.accepted a)
           OR o.seq >= (SELECT max(a.first + octet_length(a.bits) * 8) FROM onewrite.accepted a)
           OR NOT EXISTS (SELECT FROM onewrite.accepted a
                          WHERE a.first <= o.seq
                            AND CASE WHEN o.seq < a.first + octet_length(a.bits) * 8
                                     THEN get_bit(a.bits, (o.seq - a.first)::int) = 1 ELSE false END))
      AND ((SELECT c.relkind FROM pg_catalog.pg_class c WHERE c.oid = 'onewrite.outbox'::regclass) = 'r'
           OR o.seq >= (SELECT coalesce(min(l.accepted_below), 0) FROM onewrite.lease l WHERE l.name LIKE 'outbox/%'))
$$;

-- Whether this one does.
CREATE FUNCTION onewrite.waits(seq bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM onewrite.waiting() w WHERE w.seq = $1)
$$;
