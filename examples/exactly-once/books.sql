-- SPDX-License-Identifier: Apache-2.0
-- The service that keeps the books: what the consumer's statements write, in one transaction with its inbox.
CREATE TABLE entry (serial bigserial PRIMARY KEY, account text NOT NULL, sale bigint NOT NULL, cents bigint NOT NULL);
CREATE TABLE balance (account text PRIMARY KEY, cents bigint NOT NULL);
