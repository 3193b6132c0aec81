-- SPDX-License-Identifier: Apache-2.0
-- What `onewrite init` does beside the tables.

-- name: read_mode
SELECT value FROM onewrite.meta WHERE name = 'outbox';

-- name: write_mode
INSERT INTO onewrite.meta (name, value) VALUES ('outbox', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- publish() into the table. The id is returned.
-- name: publish_table
CREATE OR REPLACE FUNCTION onewrite.publish(
    aggregatetype text, aggregateid text, type text, payload text, id text DEFAULT NULL, headers json DEFAULT NULL,
    "time" timestamptz DEFAULT NULL)
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_variable
DECLARE
    ready text := coalesce(id, gen_random_uuid()::text);
BEGIN
    INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload, headers, time)
    VALUES (ready, aggregatetype, aggregateid, type, payload, headers, coalesce("time", clock_timestamp()));
    RETURN ready;
END
$$;

CREATE OR REPLACE FUNCTION onewrite.publish_bytes(
    aggregatetype text, aggregateid text, type text, payload bytea, id text DEFAULT NULL, headers json DEFAULT NULL,
    "time" timestamptz DEFAULT NULL)
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_variable
DECLARE
    ready text := coalesce(id, gen_random_uuid()::text);
BEGIN
    INSERT INTO onewrite.outbox (id, aggregatetype, aggregateid, type, payload_bytes, headers, time)
    VALUES (ready, aggregatetype, aggregateid, type, payload, headers, coalesce("time", clock_timestamp()));
    RETURN ready;
END
$$;

-- publish() as a WAL message: a JSON object, see docs/outbox-postgres.md.
-- name: publish_message
CREATE OR REPLACE FUNCTION onewrite.publish(
    aggregatetype text, aggregateid text, type text, payload text, id text DEFAULT NULL, headers json DEFAULT NULL,
    "time" timestamptz DEFAULT NULL)
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_variable
DECLARE
    ready text := coalesce(id, gen_random_uuid()::text);
BEGIN
    IF aggregatetype IS NULL OR aggregateid IS NULL OR type IS NULL THEN
        RAISE not_null_violation USING MESSAGE = 'aggregatetype, aggregateid and type must be given';
    END IF;
    PERFORM pg_logical_emit_message(true, 'onewrite', json_build_object(
        'id', ready, 'aggregatetype', aggregatetype, 'aggregateid', aggregateid, 'type', type, 'headers', headers,
        'time', (extract(epoch FROM coalesce("time", clock_timestamp())) * 1000)::bigint, 'payload', payload)::text);
    RETURN ready;
END
$$;

CREATE OR REPLACE FUNCTION onewrite.publish_bytes(
    aggregatetype text, aggregateid text, type text, payload bytea, id text DEFAULT NULL, headers json DEFAULT NULL,
    "time" timestamptz DEFAULT NULL)
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_variable
DECLARE
    ready text := coalesce(id, gen_random_uuid()::text);
BEGIN
    IF aggregatetype IS NULL OR aggregateid IS NULL OR type IS NULL THEN
        RAISE not_null_violation USING MESSAGE = 'aggregatetype, aggregateid and type must be given';
    END IF;
    PERFORM pg_logical_emit_message(true, 'onewrite', json_build_object(
        'id', ready, 'aggregatetype', aggregatetype, 'aggregateid', aggregateid, 'type', type, 'headers', headers,
        'time', (extract(epoch FROM coalesce("time", clock_timestamp())) * 1000)::bigint,
        'payload_base64', translate(encode(payload, 'base64'), E'\n', ''))::text);
    RETURN ready;
END
$$;

-- Before PostgreSQL 13 the server has no gen_random_uuid() of its own.
-- name: make_uuid
DO $$
BEGIN
    IF current_setting('server_version_num')::int < 130000 THEN
        EXECUTE $f$
            CREATE OR REPLACE FUNCTION onewrite.gen_random_uuid() RETURNS uuid LANGUAGE sql VOLATILE AS
            'SELECT overlay(overlay(md5(random()::text || clock_timestamp()::text || pg_backend_pid()::text)
                                    PLACING ''4'' FROM 13) PLACING ''a'' FROM 17)::uuid' $f$;
        ALTER FUNCTION onewrite.publish(text, text, text, text, text, json, timestamptz) SET search_path = pg_catalog, onewrite;
        ALTER FUNCTION onewrite.publish_bytes(text, text, text, bytea, text, json, timestamptz) SET search_path = pg_catalog, onewrite;
    END IF;
END
$$;

-- name: count_roles
SELECT count(*) FROM pg_roles WHERE rolname IN ('onewrite_app', 'onewrite_relay', 'onewrite_consumer');

-- Neither can log in: give them to the roles of your programs. CREATE ROLE has no IF NOT EXISTS.
-- name: create_roles
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'onewrite_app') THEN
        CREATE ROLE onewrite_app NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'onewrite_relay') THEN
        CREATE ROLE onewrite_relay NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'onewrite_consumer') THEN
        CREATE ROLE onewrite_consumer NOLOGIN;
    END IF;
END
$$;

-- name: grant
GRANT USAGE ON SCHEMA onewrite TO onewrite_app, onewrite_relay, onewrite_consumer;
REVOKE EXECUTE ON FUNCTION onewrite.publish(text, text, text, text, text, json, timestamptz) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION onewrite.publish_bytes(text, text, text, bytea, text, json, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION onewrite.publish(text, text, text, text, text, json, timestamptz) TO onewrite_app;
GRANT EXECUTE ON FUNCTION onewrite.publish_bytes(text, text, text, bytea, text, json, timestamptz) TO onewrite_app;
GRANT INSERT ON onewrite.outbox TO onewrite_app;
GRANT SELECT, DELETE, UPDATE (accepted_at) ON onewrite.outbox TO onewrite_relay;
GRANT SELECT ON SEQUENCE onewrite.outbox_seq_seq TO onewrite_relay;
GRANT SELECT, INSERT, UPDATE, DELETE ON onewrite.dead_letter TO onewrite_relay, onewrite_consumer;
GRANT SELECT, INSERT, UPDATE, DELETE ON onewrite.inbox, onewrite.consumer TO onewrite_consumer;
GRANT SELECT ON onewrite.meta TO onewrite_consumer;
GRANT SELECT, INSERT, UPDATE, DELETE ON onewrite.lease TO onewrite_relay;
GRANT SELECT, INSERT, UPDATE ON onewrite.position TO onewrite_relay;
GRANT SELECT ON onewrite.meta TO onewrite_relay;

-- name: has_grants
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'onewrite' AND c.relname = 'position' AND c.relacl::text LIKE '%onewrite_relay=%';

-- name: has_publication
SELECT count(*) FROM pg_publication WHERE pubname = 'onewrite_outbox';

-- name: create_publication
CREATE PUBLICATION onewrite_outbox FOR TABLE onewrite.outbox WITH (publish = 'insert');

-- name: find_slot
SELECT plugin, database, slot_type, to_jsonb(s) ->> 'wal_status', current_database() FROM pg_replication_slots s WHERE slot_name = $1;
