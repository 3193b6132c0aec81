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

-- publish() as a WAL message: a JSON object, see docs/outbox-postgres.md. In UTF-8, whatever the database is in: the log
-- hands the bytes of a message out as they are.
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
    PERFORM pg_logical_emit_message(true, 'onewrite', convert_to(json_build_object(
        'id', ready, 'aggregatetype', aggregatetype, 'aggregateid', aggregateid, 'type', type, 'headers', headers,
        'time', (extract(epoch FROM coalesce("time", clock_timestamp())) * 1000)::bigint, 'payload', payload)::text, 'UTF8'));
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
    PERFORM pg_logical_emit_message(true, 'onewrite', convert_to(json_build_object(
        'id', ready, 'aggregatetype', aggregatetype, 'aggregateid', aggregateid, 'type', type, 'headers', headers,
        'time', (extract(epoch FROM coalesce("time", clock_timestamp())) * 1000)::bigint,
        'payload_base64', translate(encode(payload, 'base64'), E'\n', ''))::text, 'UTF8'));
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
GRANT EXECUTE ON FUNCTION onewrite.waiting(), onewrite.waits(bigint) TO onewrite_relay;
GRANT SELECT, INSERT, UPDATE, DELETE ON onewrite.dead_letter TO onewrite_relay, onewrite_consumer;
GRANT SELECT, INSERT, UPDATE, DELETE ON onewrite.inbox, onewrite.consumer TO onewrite_consumer;
GRANT SELECT ON onewrite.meta TO onewrite_consumer;
GRANT SELECT, INSERT, UPDATE, DELETE ON onewrite.lease TO onewrite_relay;
GRANT SELECT, INSERT, DELETE ON onewrite.accepted TO onewrite_relay;
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

-- A relay by polling is woken, not more often than every so many milliseconds: NOTIFY takes a lock that all commits share.
-- When the last one was is kept in a sequence, which is not transactional and costs no row. Not from a rolled-back
-- transaction; and what is committed shortly after another one is found by the relay looking again.
-- name: notify_on
CREATE SEQUENCE IF NOT EXISTS onewrite.outbox_notified MINVALUE 0;

CREATE OR REPLACE FUNCTION onewrite.outbox_notify() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    now_ms bigint := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    last_ms bigint;
BEGIN
    SELECT last_value INTO last_ms FROM onewrite.outbox_notified;
    IF now_ms NOT BETWEEN last_ms AND last_ms + TG_ARGV[0]::bigint THEN
        PERFORM setval('onewrite.outbox_notified', now_ms);
        PERFORM pg_notify('onewrite_outbox', '');
    END IF;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION onewrite.outbox_notify() FROM PUBLIC;

DROP TRIGGER IF EXISTS outbox_notify ON onewrite.outbox;
DO $$
BEGIN
    EXECUTE format('CREATE TRIGGER outbox_notify AFTER INSERT ON onewrite.outbox
                    FOR EACH STATEMENT EXECUTE PROCEDURE onewrite.outbox_notify(%L)', current_setting('onewrite.notify_ms'));
END
$$;

-- name: notify_off
DROP TRIGGER IF EXISTS outbox_notify ON onewrite.outbox;
DROP FUNCTION IF EXISTS onewrite.outbox_notify();
DROP SEQUENCE IF EXISTS onewrite.outbox_notified;

-- What a statement below takes as a number: a setting of this transaction.
-- name: set_number
SELECT set_config($1::text, $2::bigint::text, true);

-- How it is now: the interval in milliseconds, or no row.
-- name: read_notify
SELECT convert_from(substring(tgargs FOR octet_length(tgargs) - 1), 'UTF8') FROM pg_trigger
WHERE tgrelid = 'onewrite.outbox'::regclass AND tgname = 'outbox_notify';

-- The outbox in eight partitions, each of so many rows in turn: seq / rows modulo 8. A partition is emptied by TRUNCATE
-- once every row of it is accepted. There is always one for the next row, however far behind the relay is. Rows that
-- wait move along.
-- name: partition
DO $$
DECLARE
    newest bigint;
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'onewrite.outbox'::regclass) = 'p' THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM pg_replication_slots
               WHERE database = current_database() AND plugin = 'pgoutput' AND slot_name LIKE 'onewrite\_%\_log') THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = 'a relay by log has a slot on the outbox, and would publish the rows that move a '
            'second time; drop it first (onewrite drop)';
    END IF;
    LOCK TABLE onewrite.outbox IN ACCESS EXCLUSIVE MODE;
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO newest FROM onewrite.outbox_seq_seq;
    ALTER TABLE onewrite.outbox RENAME TO outbox_before;
    ALTER TABLE onewrite.outbox_before ALTER COLUMN seq DROP IDENTITY;
    EXECUTE format('CREATE TABLE onewrite.outbox (LIKE onewrite.outbox_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS) '
                   'PARTITION BY LIST (((seq / %s) %% 8))', current_setting('onewrite.partition_rows')::bigint);
    EXECUTE format('ALTER TABLE onewrite.outbox ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY '
                   '(SEQUENCE NAME onewrite.outbox_seq_seq START WITH %s)', newest + 1);
    CREATE INDEX outbox_seq ON onewrite.outbox (seq);
    FOR i IN 0..7 LOOP
        EXECUTE format('CREATE TABLE onewrite.outbox_%s PARTITION OF onewrite.outbox FOR VALUES IN (%s)', i, i);
    END LOOP;
    INSERT INTO onewrite.outbox OVERRIDING SYSTEM VALUE SELECT * FROM onewrite.outbox_before WHERE accepted_at IS NULL ORDER BY seq;
    DROP TABLE onewrite.outbox_before;
    INSERT INTO onewrite.meta (name, value) VALUES ('partition_rows', current_setting('onewrite.partition_rows'))
        ON CONFLICT (name) DO UPDATE SET value = excluded.value;
    IF EXISTS (SELECT FROM pg_publication WHERE pubname = 'onewrite_outbox') THEN
        ALTER PUBLICATION onewrite_outbox ADD TABLE onewrite.outbox;
        ALTER PUBLICATION onewrite_outbox SET (publish_via_partition_root = true);
    END IF;
END
$$;

-- Empties partitions of which every row is accepted. Only such as lie behind what is written now, only while nobody
-- writes to them, and never for long: their lock is waited for a tenth of a second, and tried again the next time.
CREATE OR REPLACE FUNCTION onewrite.rotate() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET lock_timeout = '100ms' AS $$
DECLARE
    below bigint;
    size bigint;
    part regclass;
    newest bigint;
    emptied integer := 0;
BEGIN
    SELECT min(accepted_below) INTO below FROM onewrite.lease WHERE name LIKE 'outbox/%';
    SELECT value::bigint INTO size FROM onewrite.meta WHERE name = 'partition_rows';
    DELETE FROM onewrite.accepted WHERE first + octet_length(bits) * 8 <= below;
    FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'onewrite.outbox'::regclass LOOP
        EXECUTE format('SELECT max(seq) FROM %s', part) INTO newest;
        CONTINUE WHEN newest IS NULL OR newest / size >= below / size;
        BEGIN
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', part);
            EXECUTE format('SELECT max(seq) FROM %s', part) INTO newest;
            IF newest / size < below / size THEN
                EXECUTE format('TRUNCATE %s', part);
                emptied := emptied + 1;
            END IF;
        EXCEPTION WHEN lock_not_available THEN
            NULL; -- the next time
        END;
    END LOOP;
    RETURN emptied;
END
$$;
REVOKE EXECUTE ON FUNCTION onewrite.rotate() FROM PUBLIC;

-- name: grant_partitioned
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'onewrite_app') THEN
        GRANT INSERT ON onewrite.outbox TO onewrite_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'onewrite_relay') THEN
        GRANT SELECT, DELETE, UPDATE (accepted_at) ON onewrite.outbox TO onewrite_relay;
        GRANT SELECT ON SEQUENCE onewrite.outbox_seq_seq TO onewrite_relay;
        GRANT EXECUTE ON FUNCTION onewrite.rotate() TO onewrite_relay;
    END IF;
END
$$;

-- name: is_partitioned
SELECT count(*) FROM pg_class WHERE oid = 'onewrite.outbox'::regclass AND relkind = 'p';
