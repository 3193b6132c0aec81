-- SPDX-License-Identifier: Apache-2.0
-- An order and its message in one transaction, from any language that speaks SQL.
--
--     onewrite init sqlite:shop.db
--     sqlite3 -bail shop.db <place_order.sql
--     onewrite relay sqlite:shop.db stdout:

PRAGMA busy_timeout = 5000;

CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, total INTEGER);

BEGIN IMMEDIATE;
INSERT INTO orders (id, total) VALUES ('42', 990);
INSERT INTO onewrite_outbox (aggregatetype, aggregateid, type, payload, headers)
VALUES ('order', '42', 'OrderPlaced', '{"total":990}', '{"trace":"a1b2"}');
COMMIT;
