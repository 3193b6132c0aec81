-- SPDX-License-Identifier: Apache-2.0
-- The outbox: insert a row in the transaction that changes your data. id, aggregatetype, aggregateid, type
-- and payload are the columns of Debezium's outbox event router; everything else may be left out.
-- AUTOINCREMENT: a number is never used twice, also after the table was emptied.
CREATE TABLE onewrite_outbox (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,  -- commit order; leave it out
    id            TEXT NOT NULL DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' ||
                      substr(hex(randomblob(2)), 2) || '-' || substr('89ab', 1 + (random() & 3), 1) ||
                      substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
    aggregatetype TEXT NOT NULL,                      -- e.g. order; the topic is made from it
    aggregateid   TEXT NOT NULL,                      -- the key: messages of one key keep their order
    type          TEXT NOT NULL,                      -- what happened, e.g. OrderPlaced
    payload       BLOB,                               -- text or bytes, passed on as they are; NULL: a tombstone
    headers       TEXT,                               -- a JSON object of strings, or NULL
    time          INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)), -- ms since 1970
    accepted_at   INTEGER                             -- set by the relay where rows are marked, not deleted
);

-- Messages that were set aside, with the reason: by a relay, or by a consumer. Nothing is ever deleted from here without
-- a person's word. The letters of a key are in the order of their numbers. Times are ms since 1970.
CREATE TABLE onewrite_dead_letter (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    source          TEXT NOT NULL DEFAULT 'polling',  -- or consumer/NAME
    position        TEXT NOT NULL,                    -- where it stood there: its seq, or topic/partition/offset
    origin          TEXT NOT NULL DEFAULT 'outbox',
    state           TEXT NOT NULL DEFAULT 'dead'      -- parked: behind a dead one of its key; queued: it was put back
                    CHECK (state IN ('dead', 'parked', 'queued')),
    id              TEXT,
    aggregatetype   TEXT,
    aggregateid     TEXT,
    type            TEXT,
    topic           TEXT,                             -- of a relay: where it was to go, as far as that could be told
    partition       INTEGER,                          -- of a consumer: where the record stood in its topic
    record_offset   INTEGER,
    key             BLOB,
    payload         BLOB,
    headers         TEXT,                             -- of a relay as the outbox has them; of a consumer [["name","value"],...]
    time            INTEGER,
    class           TEXT,                             -- of the failure: "http 503", "constraint failed", ...
    reason          TEXT NOT NULL,                    -- of the last failure
    attempts        INTEGER NOT NULL,
    replays         INTEGER NOT NULL DEFAULT 0,       -- how often it was put back
    history         TEXT,                             -- failures before the last: [{"time":ms,"class":...,"reason":...,"attempts":n},...]
    first_aside_at  INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
    set_aside_at    INTEGER NOT NULL,
    replayed_at     INTEGER,
    replay_position INTEGER                           -- of one that was put back: its seq now
);
CREATE INDEX onewrite_dead_letter_of_key ON onewrite_dead_letter (source, key, number);
CREATE INDEX onewrite_dead_letter_queued ON onewrite_dead_letter (source, number) WHERE state <> 'dead';

-- What a consumer is done with, written in the transaction of the effect.
CREATE TABLE onewrite_inbox (
    consumer   TEXT NOT NULL,
    message_id TEXT NOT NULL,
    state      TEXT NOT NULL DEFAULT 'handled' CHECK (state IN ('handled', 'aside', 'parked')),
    handled_at INTEGER NOT NULL,
    PRIMARY KEY (consumer, message_id)
) WITHOUT ROWID;
CREATE INDEX onewrite_inbox_handled_at ON onewrite_inbox (consumer, handled_at);

-- What a consumer keeps beside: the offsets that it has reached, the state of its breaker.
CREATE TABLE onewrite_consumer (
    consumer TEXT NOT NULL,
    name     TEXT NOT NULL,                           -- offset/TOPIC/PARTITION, or breaker
    value    TEXT NOT NULL,
    PRIMARY KEY (consumer, name)
) WITHOUT ROWID;
