-- SPDX-License-Identifier: Apache-2.0
-- onewrite_meta: what onewrite remembers about this database: schema versions, and its identity.

-- name: create_meta
CREATE TABLE IF NOT EXISTS onewrite_meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- name: has_meta
SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'onewrite_meta';

-- name: count_tables
SELECT count(*) FROM sqlite_master WHERE type = 'table';

-- name: read_version
SELECT CAST(value AS INTEGER) FROM onewrite_meta WHERE name = 'schema.' || ?1;

-- name: write_version
INSERT INTO onewrite_meta (name, value) VALUES ('schema.' || ?1, ?2)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: make_identity
INSERT INTO onewrite_meta (name, value) VALUES ('identity', lower(hex(randomblob(16))))
ON CONFLICT (name) DO NOTHING;

-- name: read_identity
SELECT value FROM onewrite_meta WHERE name = 'identity';
