-- SPDX-License-Identifier: Apache-2.0
-- onewrite.meta: what onewrite remembers about this database: schema versions, its identity, where publish() writes.

-- One at a time; given up at the end of the transaction.
-- name: lock
SELECT pg_advisory_xact_lock(1869050987, 1);

-- name: create_meta
CREATE SCHEMA IF NOT EXISTS onewrite;

CREATE TABLE IF NOT EXISTS onewrite.meta (
    name  text PRIMARY KEY,
    value text NOT NULL
);

-- name: has_meta
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'onewrite' AND c.relname = 'meta';

-- name: read_version
SELECT value::bigint FROM onewrite.meta WHERE name = 'schema.' || $1;

-- name: write_version
INSERT INTO onewrite.meta (name, value) VALUES ('schema.' || $1, $2)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: make_identity
INSERT INTO onewrite.meta (name, value)
SELECT 'identity', md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text || txid_current()::text)
ON CONFLICT (name) DO NOTHING;

-- name: read_identity
SELECT value FROM onewrite.meta WHERE name = 'identity';
