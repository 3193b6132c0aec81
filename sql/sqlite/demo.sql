-- SPDX-License-Identifier: Apache-2.0
-- The shop of `onewrite demo` (src/cmd/demo*): customers and their numbered orders.

-- name: create
CREATE TABLE customer (
    id     INTEGER PRIMARY KEY,
    name   TEXT NOT NULL,
    orders INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE orders (
    id       INTEGER PRIMARY KEY,
    customer INTEGER NOT NULL REFERENCES customer (id),
    number   INTEGER NOT NULL,
    item     TEXT NOT NULL,
    cents    INTEGER NOT NULL
);

-- name: insert_customers
WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < ?1)
INSERT INTO customer (id, name) SELECT id, 'Customer ' || id FROM n;

-- Every order of a customer goes through this row: its number is its place in the order of the commits.
-- name: count_order
UPDATE customer SET orders = orders + 1 WHERE id = ?1 RETURNING orders;

-- name: insert_order
INSERT INTO orders (id, customer, number, item, cents) VALUES (?1, ?2, ?3, ?4, ?5);

-- name: read_orders
SELECT id, customer, number FROM orders;

-- name: count_waiting
SELECT count(*) FROM onewrite_outbox;

-- name: outbox_bytes
SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = 'onewrite_outbox' AND aggregate = TRUE;

-- name: shorten_wal
PRAGMA wal_checkpoint (TRUNCATE);
