-- SPDX-License-Identifier: Apache-2.0
-- The embedded journal: topics, partitions, offsets and consumer groups in one file.

-- next_seq: the seq of the next record. It only grows, so that a seq names one record for ever.
CREATE TABLE journal_state (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO journal_state (name, value) VALUES ('next_seq', 1);

CREATE TABLE journal_topic (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    partitions INTEGER NOT NULL
);

-- Offsets from first_offset (what retention has left) to before next_offset are there. indexed_seq is the
-- newest row of this partition in journal_index.
CREATE TABLE journal_partition (
    id INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL REFERENCES journal_topic (id),
    number INTEGER NOT NULL,
    first_offset INTEGER NOT NULL DEFAULT 0,
    next_offset INTEGER NOT NULL DEFAULT 0,
    indexed_seq INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, number)
);

-- One order over all topics (seq), and within it one per partition (offset). time is the message's own, in
-- milliseconds since 1970. headers: for each the size of its name, the name, the size of its value (-1: null),
-- the value; sizes are 32 bits, the lowest byte first.
CREATE TABLE journal_record (
    seq INTEGER PRIMARY KEY,
    partition INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    source INTEGER,
    time INTEGER,
    id TEXT,
    key BLOB,
    type TEXT,
    headers BLOB,
    value BLOB
);

-- A sparse index: where a partition has come to, about every 512 records of the journal. A record of the
-- partition stands less than 512 after the nearest row here that is not past it, or has a row of its own.
CREATE TABLE journal_index (
    partition INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (partition, "offset")
) WITHOUT ROWID;

-- What was written by when: every record before seq was there at this time.
CREATE TABLE journal_clock (
    time INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL
);

-- How far each relay's source has been accepted. What was accepted and perhaps not confirmed by it lies at
-- or after the record `since`; `mark` is the next `since`, in mark_count records of this source.
CREATE TABLE journal_source (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    position TEXT NOT NULL,
    since INTEGER NOT NULL,
    mark INTEGER NOT NULL,
    mark_count INTEGER NOT NULL,
    time INTEGER NOT NULL
);

CREATE TABLE journal_group (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- The members of groups. Whether one is alive is said by its lock in the file beside this one, not here.
-- topics: their names, each ended by a line break; null: all.
CREATE TABLE journal_member (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id INTEGER NOT NULL REFERENCES journal_group (id),
    topics TEXT,
    process INTEGER NOT NULL,
    joined INTEGER NOT NULL
);

CREATE INDEX journal_member_group ON journal_member (group_id);

-- Everything before offset is settled; member may settle more.
CREATE TABLE journal_offset (
    group_id INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    member INTEGER NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (group_id, partition)
) WITHOUT ROWID;

-- For people: SELECT * FROM journal WHERE topic = 'outbox.event.order' ORDER BY seq DESC LIMIT 10;
CREATE VIEW journal AS
SELECT r.seq, t.name AS topic, p.number AS partition, r."offset",
       strftime('%Y-%m-%dT%H:%M:%fZ', r.time / 1000.0, 'unixepoch') AS time,
       r.id, CAST(r.key AS TEXT) AS key, r.type, CAST(r.value AS TEXT) AS value
FROM journal_record r
JOIN journal_partition p ON p.id = r.partition
JOIN journal_topic t ON t.id = p.topic;
