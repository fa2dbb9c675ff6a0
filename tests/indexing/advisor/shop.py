"""Tables of a shop, with rows as real ones are: skewed, partly NULL, some in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.watching import fingerprint
from perfkit.workload import QueryShape, Workload

TABLES = ("shop_line", "shop_order", "shop_customer", "shop_kind")

POSTGRES = """
CREATE TABLE shop_kind (id bigint PRIMARY KEY, title varchar(20) NOT NULL);
CREATE TABLE shop_customer (
    id bigint PRIMARY KEY, email varchar(80) NOT NULL, country varchar(2) NOT NULL, made timestamptz NOT NULL);
CREATE TABLE shop_order (
    id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES shop_customer (id),
    kind_id bigint NOT NULL REFERENCES shop_kind (id),
    status varchar(10) NOT NULL, total numeric(10, 2) NOT NULL, made timestamptz NOT NULL, note text,
    details jsonb NOT NULL);
CREATE TABLE shop_line (
    id bigint PRIMARY KEY, order_id bigint NOT NULL REFERENCES shop_order (id), product bigint NOT NULL,
    amount integer NOT NULL);
INSERT INTO shop_kind SELECT n, 'kind ' || n FROM generate_series(1, 12) n;
INSERT INTO shop_customer SELECT n, 'user' || n || '@example.org', chr(65 + n % 20) || 'X',
    timestamptz '2024-01-01' + n * interval '7 minutes' FROM generate_series(1, {customers}) n;
INSERT INTO shop_order SELECT n, 1 + (n * 7919) % {customers}, 1 + n % 12,
    CASE WHEN n % 500 = 0 THEN 'failed' WHEN n % 20 = 0 THEN 'open' ELSE 'done' END,
    (n * 31 % 100000) / 100.0, timestamptz '2024-01-01' + n * interval '1 minute',
    CASE WHEN n % 3 = 0 THEN 'note of ' || n END, jsonb_build_object('channel', 'c' || n % 300, 'n', n)
    FROM generate_series(1, {orders}) n;
INSERT INTO shop_line SELECT n, 1 + (n * 6007) % {orders}, (n * 9973) % 5000, n % 9
    FROM generate_series(1, {lines}) n;
"""

SQLITE = """
CREATE TABLE shop_kind (id integer PRIMARY KEY, title varchar(20) NOT NULL);
CREATE TABLE shop_customer (
    id integer PRIMARY KEY, email varchar(80) NOT NULL, country varchar(2) NOT NULL, made datetime NOT NULL);
CREATE TABLE shop_order (
    id integer PRIMARY KEY, customer_id bigint NOT NULL REFERENCES shop_customer (id),
    kind_id bigint NOT NULL REFERENCES shop_kind (id),
    status varchar(10) NOT NULL, total decimal NOT NULL, made datetime NOT NULL, note text,
    details text NOT NULL);
CREATE TABLE shop_line (
    id integer PRIMARY KEY, order_id bigint NOT NULL REFERENCES shop_order (id), product bigint NOT NULL,
    amount integer NOT NULL);
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 12)
INSERT INTO shop_kind SELECT n, 'kind ' || n FROM n;
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {customers})
INSERT INTO shop_customer SELECT n, 'user' || n || '@example.org', char(65 + n % 20) || 'X',
    datetime('2024-01-01', (n * 7) || ' minutes') FROM n;
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {orders})
INSERT INTO shop_order SELECT n, 1 + (n * 7919) % {customers}, 1 + n % 12,
    CASE WHEN n % 500 = 0 THEN 'failed' WHEN n % 20 = 0 THEN 'open' ELSE 'done' END,
    (n * 31 % 100000) / 100.0, datetime('2024-01-01', n || ' minutes'),
    CASE WHEN n % 3 = 0 THEN 'note of ' || n END, '{{}}' FROM n;
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {lines})
INSERT INTO shop_line SELECT n, 1 + (n * 6007) % {orders}, (n * 104729) % 5000, n % 9 FROM n;
"""


@contextmanager
def shop_in(
    connection: BaseDatabaseWrapper, *, customers: int = 5_000, orders: int = 40_000, lines: int = 80_000
) -> Iterator[None]:
    """Make the tables, with nothing but primary keys, and drop them whatever the test did."""
    text = POSTGRES if connection.vendor == "postgresql" else SQLITE
    statements = text.format(customers=customers, orders=orders, lines=lines).split(";\n")
    try:
        with connection.cursor() as cursor:
            for sql in filter(str.strip, statements):
                cursor.execute(sql.replace("%", "%%"), [])
            if connection.vendor == "postgresql":
                cursor.execute(f"VACUUM ANALYZE {', '.join(TABLES)}")
        yield
    finally:
        with connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"DROP TABLE IF EXISTS {table}")


def shape(*samples: str, calls: int = 100, seconds: float = 1.0) -> QueryShape:
    return QueryShape(fingerprint(samples[0]), calls, seconds, tuple(samples))


def workload(*shapes: QueryShape | str, alias: str = "default") -> Workload:
    return Workload(alias, tuple(shape(each) if isinstance(each, str) else each for each in shapes))


BY_CUSTOMER = 'SELECT * FROM "shop_order" WHERE "shop_order"."customer_id" = 77'
LATEST = """SELECT * FROM "shop_order" WHERE "shop_order"."status" = 'done'
ORDER BY "shop_order"."total" DESC LIMIT 20"""
FAILED = """SELECT "shop_order"."id" FROM "shop_order" WHERE "shop_order"."status" = 'failed'"""
BY_EMAIL = """SELECT * FROM "shop_customer" WHERE "shop_customer"."email" = 'user4711@example.org'"""
LINES = """SELECT "shop_line"."id" FROM "shop_line"
INNER JOIN "shop_order" ON ("shop_line"."order_id" = "shop_order"."id")
WHERE "shop_order"."customer_id" = 42"""
BY_KEY = 'SELECT * FROM "shop_order" WHERE "shop_order"."id" = 7'
ALL_ORDERS = 'SELECT COUNT(*) FROM "shop_order"'
MOST_ORDERS = """SELECT "shop_order"."note" FROM "shop_order" WHERE "shop_order"."kind_id" > 1"""
KINDS = """SELECT * FROM "shop_kind" WHERE "shop_kind"."title" = 'kind 3'"""
NEEDS_NONE = (BY_KEY, ALL_ORDERS, MOST_ORDERS, KINDS)
