-- SPDX-License-Identifier: Apache-2.0
-- The service that sells. One transaction: what it did, and the message that tells of it.
CREATE TABLE sale (id bigserial PRIMARY KEY, account text NOT NULL, cents bigint NOT NULL);

CREATE FUNCTION sell(account text, cents bigint) RETURNS void LANGUAGE sql AS $$
    WITH done AS (INSERT INTO sale (account, cents) VALUES (sell.account, sell.cents) RETURNING id)
    SELECT onewrite.publish('sale', sell.account, 'Sold', json_build_object('sale', done.id, 'cents', sell.cents)::text)
    FROM done;
$$;
