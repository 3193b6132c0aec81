-- SPDX-License-Identifier: Apache-2.0
-- The queries of the embedded journal (src/broker/journal).

-- name: read_next_seq
SELECT value FROM journal_state WHERE name = 'next_seq'

-- name: write_next_seq
UPDATE journal_state SET value = ?1 WHERE name = 'next_seq'

-- name: find_topic
SELECT id, partitions FROM journal_topic WHERE name = ?1

-- name: insert_topic
INSERT INTO journal_topic (name, partitions) VALUES (?1, ?2)

-- name: insert_partitions
WITH RECURSIVE n (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM n WHERE number + 1 < ?2)
INSERT INTO journal_partition (topic, number)
SELECT ?1, number FROM n

-- name: read_topic_partitions
SELECT number, id, next_offset, indexed_seq FROM journal_partition WHERE topic = ?1 ORDER BY number

-- name: write_partition
UPDATE journal_partition SET next_offset = ?2, indexed_seq = ?3 WHERE id = ?1

-- name: insert_record
INSERT INTO journal_record (seq, partition, "offset", source, time, id, key, type, headers, value)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)

-- name: insert_index
INSERT INTO journal_index (partition, "offset", seq) VALUES (?1, ?2, ?3)

-- name: read_source
SELECT id, position, since, mark, mark_count FROM journal_source WHERE name = ?1

-- name: write_source
INSERT INTO journal_source (name, position, since, mark, mark_count, time) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (name) DO UPDATE SET position = excluded.position, since = excluded.since, mark = excluded.mark,
    mark_count = excluded.mark_count, time = excluded.time

-- name: name_source
UPDATE journal_record SET source = ?1 WHERE seq >= ?2

-- name: read_accepted
SELECT seq, id FROM journal_record WHERE seq >= ?1 AND seq < ?2 AND source = ?3

-- name: read_accepted_id
SELECT id FROM journal_record WHERE seq = ?1

-- name: read_first_seq
SELECT min(seq) FROM journal_record

-- name: read_page_count
PRAGMA page_count

-- name: read_free_count
PRAGMA freelist_count

-- name: read_page_size
PRAGMA page_size

-- name: read_clock_newest
SELECT max(time) FROM journal_clock

-- name: insert_clock
INSERT OR REPLACE INTO journal_clock (time, seq) VALUES (?1, ?2)

-- name: read_clock_cut
SELECT max(seq) FROM journal_clock WHERE time <= ?1

-- name: delete_clock
DELETE FROM journal_clock WHERE time <= ?1 AND seq <= ?2

-- name: read_cut_offsets
SELECT partition, max("offset") FROM journal_record WHERE seq < ?1 GROUP BY partition

-- name: write_first_offset
UPDATE journal_partition SET first_offset = ?2 WHERE id = ?1

-- The newest row that is not past the first record stays: it is where a search for that record begins.
-- name: delete_index
DELETE FROM journal_index WHERE partition = ?1 AND "offset" < (
    SELECT max("offset") FROM journal_index WHERE partition = ?1 AND "offset" <= ?2)

-- name: delete_records
DELETE FROM journal_record WHERE seq < ?1

-- name: read_partitions
SELECT p.id, t.id, t.name, t.partitions, p.number, p.first_offset, p.next_offset
FROM journal_partition p JOIN journal_topic t ON t.id = p.topic
ORDER BY p.id

-- name: find_index
SELECT seq FROM journal_index WHERE partition = ?1 AND "offset" <= ?2 ORDER BY "offset" DESC LIMIT 1

-- name: read_records
SELECT seq, partition, "offset", time, id, key, type, headers, value FROM journal_record
WHERE seq >= ?1 AND seq < ?2 AND partition BETWEEN ?3 AND ?4
ORDER BY seq

-- name: insert_group
INSERT INTO journal_group (name) VALUES (?1) ON CONFLICT (name) DO NOTHING

-- name: find_group
SELECT id FROM journal_group WHERE name = ?1

-- name: insert_member
INSERT INTO journal_member (group_id, topics, process, joined) VALUES (?1, ?2, ?3, ?4) RETURNING id

-- name: read_members
SELECT id, topics FROM journal_member WHERE group_id = ?1 ORDER BY id

-- name: delete_member
DELETE FROM journal_member WHERE id = ?1

-- name: read_offset
SELECT "offset" FROM journal_offset WHERE group_id = ?1 AND partition = ?2

-- name: claim_offset
INSERT INTO journal_offset (group_id, partition, "offset", member, time) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (group_id, partition) DO UPDATE SET member = excluded.member

-- name: settle_offset
UPDATE journal_offset SET "offset" = max("offset", ?4), time = ?5
WHERE group_id = ?1 AND partition = ?2 AND member = ?3

-- name: read_status_groups
SELECT g.id, g.name, t.name, p.number, o."offset", p.next_offset, o.time, o.member, p.first_offset,
    (SELECT m.process FROM journal_member m WHERE m.id = o.member)
FROM journal_offset o
JOIN journal_group g ON g.id = o.group_id
JOIN journal_partition p ON p.id = o.partition
JOIN journal_topic t ON t.id = p.topic
ORDER BY g.name, t.name, p.number

-- name: read_status_partitions
SELECT t.name, p.number, p.first_offset, p.next_offset
FROM journal_partition p JOIN journal_topic t ON t.id = p.topic
ORDER BY t.name, p.number

-- name: read_status_sources
SELECT name, position, time FROM journal_source ORDER BY name
