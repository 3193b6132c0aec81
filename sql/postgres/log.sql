-- SPDX-License-Identifier: Apache-2.0
-- The relay's side of the log (src/source/postgres_log*.c).

-- One relay a slot, from before the slot is there until it is streamed from and its snapshot is done.
-- name: lock
SELECT pg_try_advisory_lock(1869050984, hashtext($1::text));

-- name: unlock
SELECT pg_advisory_unlock(1869050984, hashtext($1::text));

-- name: find_slot
SELECT plugin, coalesce(database, ''), active_pid, confirmed_flush_lsn, to_jsonb(s) ->> 'wal_status', current_database(),
       to_jsonb(s) ->> 'invalidation_reason'
FROM pg_replication_slots s WHERE slot_name = $1::text;

-- How much of the log the server keeps for the slot; NULL: none, or it is lost.
-- name: retained
SELECT pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                       restart_lsn)::bigint
FROM pg_replication_slots WHERE slot_name = $1::text;

-- name: wal_level
SELECT current_setting('wal_level');

-- What a DBA has to run so that this role can read the log: one line, or NULL. $1, $2: schemas and names of the outbox
-- tables (by message: none); $3: the publication; $4: the slot; $5: what is published. What the role can make by itself is left to it.
-- name: missing_rights
WITH me AS (
    SELECT current_user::text AS role, current_database()::text AS database,
           has_database_privilege(current_database(), 'CREATE') AS may_create,
           EXISTS (SELECT FROM pg_namespace WHERE nspname = 'onewrite') AS has_schema,
           EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = 'onewrite' AND c.relname = 'position') AS has_tables,
           EXISTS (SELECT FROM pg_publication WHERE pubname = $3::text) AS has_publication,
           EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $4::text) AS has_slot
), given AS (
    SELECT u.schema, u.name, u.number, c.oid, c.relkind, n.oid AS namespace,
           u.schema = 'onewrite' AS is_ours, coalesce(pg_has_role(c.relowner, 'USAGE'), true) AS is_owner
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (schema, name, number)
    LEFT JOIN pg_namespace n ON n.nspname = u.schema
    LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = u.name
), steps AS (
    SELECT 1 AS step, format('GRANT CREATE ON DATABASE %I TO %I', database, role) AS statement
    FROM me WHERE NOT may_create AND NOT has_schema
    UNION ALL
    SELECT 2, CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'onewrite_relay')
                   THEN format('GRANT onewrite_relay TO %I', role)
                   ELSE format('GRANT USAGE ON SCHEMA onewrite TO %1$I; '
                               'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA onewrite TO %1$I', role) END
    FROM me WHERE has_tables AND NOT (
        SELECT bool_and(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'INSERT'))
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'onewrite' AND c.relname IN ('position', 'dead_letter'))
    UNION ALL
    SELECT DISTINCT 3, format('GRANT USAGE ON SCHEMA %I TO %I', schema, role)
    FROM me, given WHERE NOT is_ours AND namespace IS NOT NULL AND NOT has_schema_privilege(namespace, 'USAGE')
    UNION ALL
    SELECT 4, format('GRANT SELECT ON %I.%I TO %I', schema, name, role)
    FROM me, given WHERE NOT is_ours AND oid IS NOT NULL AND NOT has_slot AND NOT has_table_privilege(oid, 'SELECT')
    UNION ALL
    SELECT 5, CASE WHEN cardinality($1::text[]) = 0
                   THEN format('CREATE PUBLICATION %I WITH (publish = ''insert'')', $3::text)
                   ELSE format('CREATE PUBLICATION %I FOR TABLE %s WITH (publish = %L%s)', $3::text,
                               (SELECT string_agg(format('%I.%I', schema, name), ', ' ORDER BY number) FROM given), $5::text,
                               CASE WHEN EXISTS (SELECT FROM given WHERE relkind = 'p')
                                    THEN ', publish_via_partition_root = true' ELSE '' END) END
    FROM me WHERE NOT has_publication AND (has_schema OR (SELECT bool_or(NOT is_ours) FROM given))
        AND NOT ((may_create OR NOT has_schema) AND (SELECT coalesce(bool_and(is_owner), true) FROM given))
    UNION ALL
    SELECT 6, format('ALTER ROLE %I REPLICATION', role)
    FROM me JOIN pg_roles r ON r.rolname = me.role
    WHERE NOT r.rolsuper AND NOT r.rolreplication
        AND NOT EXISTS (SELECT FROM pg_roles m WHERE m.rolname = 'rds_replication' AND pg_has_role(m.oid, 'MEMBER'))
)
SELECT string_agg(statement, '; ' ORDER BY step, statement) FROM steps;

-- name: insert_lsn
SELECT pg_current_wal_insert_lsn();

-- The columns of an ordinary or partitioned table.
-- name: columns
SELECT a.attname, c.relkind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = $1::text AND c.relname = $2::text AND c.relkind IN ('r', 'p');

-- What is known of columns that the log, or a query, has named: $3 names, $4 types, $5 type modifiers. A domain is
-- its base type.
-- name: table
WITH RECURSIVE given AS (
    SELECT * FROM unnest($3::text[], $4::oid[], $5::integer[]) WITH ORDINALITY AS g (name, type, modifier, number)
), unfolded AS (
    SELECT number, type, modifier, 0 AS depth FROM given
    UNION ALL
    SELECT u.number, t.typbasetype, CASE WHEN t.typtypmod >= 0 THEN t.typtypmod ELSE u.modifier END, u.depth + 1
    FROM unfolded u JOIN pg_type t ON t.oid = u.type AND t.typtype = 'd'
), base AS (
    SELECT DISTINCT ON (number) number, type, modifier FROM unfolded ORDER BY number, depth DESC
)
SELECT b.type, t.typname, CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END, b.modifier,
       coalesce(e.typtype, t.typtype) = 'e',
       (SELECT string_agg(l.enumlabel, ',' ORDER BY l.enumsortorder) FROM pg_enum l WHERE l.enumtypid = coalesce(e.oid, t.oid)),
       coalesce(a.attnotnull, false) OR coalesce(p.oid IS NOT NULL, false),
       CASE WHEN a.attidentity = '' AND coalesce(to_jsonb(a) ->> 'attgenerated', '') = '' -- from 12 on
            THEN pg_get_expr(d.adbin, d.adrelid) END,
       coalesce(array_position(k.columns, a.attnum), 0)
FROM given g
JOIN base b ON b.number = g.number
LEFT JOIN pg_type t ON t.oid = b.type
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
LEFT JOIN pg_class c ON c.relname = $2::text
    AND c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = $1::text)
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = g.name AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_constraint p ON p.conrelid = c.oid AND p.contype = 'p' AND a.attnum = ANY (p.conkey)
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN LATERAL (
    -- the primary key, or else the first unique index of columns alone
    SELECT (SELECT array_agg(u.key ORDER BY u.number) FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS u (key, number)
            WHERE u.number <= coalesce((to_jsonb(i) ->> 'indnkeyatts')::integer, i.indnatts)) AS columns
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    ORDER BY i.indisprimary DESC, x.relname LIMIT 1
) k ON true
ORDER BY g.number;

-- name: find_publication
SELECT p.pubinsert AND ($4::text = 'insert' OR (p.pubupdate AND p.pubdelete)), to_jsonb(p) ->> 'pubviaroot',
       EXISTS (SELECT FROM pg_publication_tables t
               WHERE t.pubname = p.pubname AND t.schemaname = $2::text AND t.tablename = $3::text)
FROM pg_publication p WHERE p.pubname = $1::text;

-- The statement that makes it, with every name quoted. $2, $3: schemas and names of the tables. $4: one of them is
-- partitioned. $5: what it publishes.
-- name: publication_of_tables
SELECT format('CREATE PUBLICATION %I FOR TABLE %s WITH (publish = %L%s)', $1::text,
              (SELECT string_agg(format('%I.%I', schema, name), ', ' ORDER BY number)
               FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS u (schema, name, number)), $5::text,
              CASE WHEN $4::boolean THEN ', publish_via_partition_root = true' ELSE '' END);

-- Whoever publishes UPDATE and DELETE of a table that says not what names its rows makes them fail: one such table, and
-- the statement that helps.
-- name: table_without_identity
SELECT format('%I.%I', u.schema, u.name), format('ALTER TABLE %I.%I REPLICA IDENTITY FULL', u.schema, u.name)
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (schema, name, number)
JOIN pg_namespace n ON n.nspname = u.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = u.name
WHERE c.relreplident = 'n' OR (c.relreplident = 'd'
    AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary))
ORDER BY u.number LIMIT 1;

-- Logical messages belong to no table, but the plugin wants a publication that is there.
-- name: publication_of_nothing
SELECT format('CREATE PUBLICATION %I WITH (publish = ''insert'')', $1::text);

-- What a snapshot can see: the transactions whose rows it shows.
-- name: snapshot_sees
SELECT txid_current_snapshot()::text;

-- A table of a snapshot: whether there is a seq, which gives the order; whether its numbers are unique; whether else the
-- rows come in the order in which they lie there, and can be told by that; which table it is, and which file of it.
-- name: snapshot_table
WITH given AS (
    SELECT c.oid, c.relkind = 'r' AND NOT c.relhassubclass
               AND coalesce((SELECT m.amname = 'heap' FROM pg_am m WHERE m.oid = c.relam), true) AS is_heap,
           a.attnum, n.nspname = 'onewrite' AND c.relname = 'outbox' AS is_ours,
           a.attnotnull AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
               AND EXISTS (SELECT FROM pg_index i
                           WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
                             AND i.indexprs IS NULL AND i.indnatts = 1 AND i.indkey[0] = a.attnum) AS is_unique
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'seq' AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = $1::text AND c.relname = $2::text AND c.relkind IN ('r', 'p')
)
SELECT attnum IS NOT NULL, coalesce(attnum IS NOT NULL AND (is_ours OR is_unique), false), attnum IS NULL AND is_heap,
       oid, coalesce(pg_relation_filenode(oid), 0)
FROM given;

-- The statement that says whether the seq of a table are numbers that fit.
-- name: snapshot_range
SELECT format('SELECT coalesce(min(seq) > 0 AND max(seq) < 72057594037927935, true) FROM %I.%I', $1::text, $2::text);

-- The statements that begin to read a table: its columns, and one of ours: the place of the row ($4), and for each
-- earlier snapshot ($5) whether that could see it. A row says only the lower half of the number of its transaction, which
-- is taken for one of the last 2^32: what is older may count as unseen, but what was unseen never as seen.
-- name: snapshot_cursor
SELECT format('SET LOCAL enable_indexscan = %1$s; SET LOCAL enable_bitmapscan = %1$s; '
              'DECLARE onewrite_rows NO SCROLL CURSOR FOR SELECT t.*, (%2$s)::text || '' ''%3$s FROM %4$I.%5$I t %6$s',
              CASE WHEN $3::boolean THEN 'on' ELSE 'off' END, $4::text,
              (SELECT string_agg(CASE WHEN now - txid_snapshot_xmax(s.snapshot::txid_snapshot) < 2147483648
                                      THEN format(' || CASE WHEN t.xmin::text::bigint < 3 OR txid_visible_in_snapshot('
                                                  '%1$s - mod(%1$s - t.xmin::text::bigint, 4294967296), %2$L) '
                                                  'THEN ''1'' ELSE ''0'' END', now::text || '::bigint', s.snapshot)
                                      ELSE ' || ''0''' END, '' ORDER BY s.number)
               FROM unnest($5::text[]) WITH ORDINALITY AS s (snapshot, number)),
              $1::text, $2::text, CASE WHEN $3::boolean THEN 'ORDER BY t.seq' ELSE '' END)
FROM txid_snapshot_xmax(txid_current_snapshot()) AS now;

-- name: read_position
SELECT position, system_identifier FROM onewrite.position WHERE source = $1::text;

-- name: write_position
INSERT INTO onewrite.position AS p (source, position, system_identifier) VALUES ($1::text, $2::text, $3::text)
ON CONFLICT (source) DO UPDATE
SET position = excluded.position, system_identifier = excluded.system_identifier, time = clock_timestamp()
RETURNING pg_current_wal_insert_lsn();

-- A mark, over what was read of it ($4; NULL: there was none); no row: it says something else by now.
-- name: write_mark
INSERT INTO onewrite.position AS p (source, position, system_identifier) VALUES ($1::text, $2::text, $3::text)
ON CONFLICT (source) DO UPDATE
SET position = excluded.position, system_identifier = excluded.system_identifier, time = clock_timestamp()
WHERE p.position = $4::text
RETURNING true;

-- Of the table whose rows are in the log: one that has taken its place counts anew. $2: the publication, $3: how it has it.
-- name: prune
DELETE FROM onewrite.outbox
WHERE seq = ANY ($1::bigint[])
  AND coalesce((SELECT r.oid FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                WHERE p.pubname = $2::text AND r.prrelid = 'onewrite.outbox'::regclass), 'onewrite.outbox'::regclass)::oid::text = $3::text;

-- name: left_over
SELECT seq FROM onewrite.outbox
WHERE coalesce((SELECT r.oid FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                WHERE p.pubname = $2::text AND r.prrelid = 'onewrite.outbox'::regclass), 'onewrite.outbox'::regclass)::oid::text = $3::text
ORDER BY seq LIMIT $1::int;

-- How the publication $1 has our outbox: another number after the table was replaced, or was taken out for a while.
-- name: membership
SELECT coalesce((SELECT r.oid FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                 WHERE p.pubname = $1::text AND r.prrelid = 'onewrite.outbox'::regclass), 'onewrite.outbox'::regclass)::oid;

-- name: drop_slot
SELECT pg_drop_replication_slot($1::text);
