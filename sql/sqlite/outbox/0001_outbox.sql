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

-- Messages that were set aside, with the reason. Nothing is ever deleted from here without a person's word.
CREATE TABLE onewrite_dead_letter (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    seq           INTEGER NOT NULL,                   -- as it was in the outbox
    id            TEXT,
    aggregatetype TEXT,
    aggregateid   TEXT,
    type          TEXT,
    payload       BLOB,
    headers       TEXT,
    time          INTEGER,
    reason        TEXT NOT NULL,
    attempts      INTEGER NOT NULL,
    set_aside_at  INTEGER NOT NULL                    -- ms since 1970
);
