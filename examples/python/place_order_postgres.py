#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A service that places an order in PostgreSQL and says so, both or neither, with psycopg2.

    onewrite init postgres://localhost/shop
    psql postgres://localhost/shop -c 'CREATE TABLE orders (id text PRIMARY KEY, total int)'
    ./place_order_postgres.py postgres://localhost/shop 42 990
    onewrite relay --by polling postgres://localhost/shop stdout:
"""

import json
import sys

import psycopg2


def place_order(db, order, total):
    with db, db.cursor() as cursor:  # one transaction: committed at the end, rolled back by an exception
        cursor.execute("INSERT INTO orders (id, total) VALUES (%s, %s)", (order, total))
        cursor.execute(
            "SELECT onewrite.publish(aggregatetype => 'order', aggregateid => %s, type => 'OrderPlaced', payload => %s, headers => %s)",
            (order, json.dumps({"total": total}), json.dumps({"trace": "a1b2"})),
        )


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: place_order_postgres.py URL ID TOTAL")
    try:
        db = psycopg2.connect(sys.argv[1])
        place_order(db, sys.argv[2], int(sys.argv[3]))
        db.close()
    except psycopg2.Error as error:
        sys.exit(f"place_order_postgres.py: {error}")


if __name__ == "__main__":
    main()
