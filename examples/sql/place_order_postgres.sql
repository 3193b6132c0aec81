-- SPDX-License-Identifier: Apache-2.0
-- An order and its message in one transaction, from any language that speaks SQL.
--
--     onewrite init postgres://localhost/shop
--     psql postgres://localhost/shop -c 'CREATE TABLE orders (id text PRIMARY KEY, total int)'
--     psql -v ON_ERROR_STOP=1 -f place_order_postgres.sql postgres://localhost/shop
--     onewrite relay --by polling postgres://localhost/shop stdout:

BEGIN;
INSERT INTO orders (id, total) VALUES ('42', 990);
SELECT onewrite.publish(aggregatetype => 'order', aggregateid => '42', type => 'OrderPlaced', payload => '{"total":990}',
                        headers => '{"trace":"a1b2"}');
COMMIT;
