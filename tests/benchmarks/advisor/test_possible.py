from __future__ import annotations

import pytest

from benchmarks.advisor.ground import has_expression
from benchmarks.advisor.possible import Possible, sort_keys, used_columns

JOINED = """SELECT "shop_ticket"."id", "shop_ticket"."subject", "shop_user"."id" FROM "shop_ticket"
INNER JOIN "shop_user" ON ("shop_ticket"."assignee_id" = "shop_user"."id")
LEFT OUTER JOIN "shop_user" T3 ON ("shop_ticket"."requester_id" = T3."id")
WHERE ("shop_user"."uid" = 'a'::uuid AND T3."name" = 'b')
ORDER BY "shop_ticket"."due_at" ASC NULLS FIRST, "shop_ticket"."id" DESC LIMIT 15""".replace("\n", " ")


def test_it_reads_the_columns_of_each_table_through_aliases() -> None:
    assert used_columns(JOINED) == {
        "shop_ticket": ["assignee_id", "requester_id", "due_at", "id"],
        "shop_user": ["id", "uid", "name"],
    }


def test_it_reads_in_which_order_a_table_is_sorted() -> None:
    assert sort_keys(JOINED) == {"shop_ticket": {"due_at": "due_at NULLS FIRST", "id": "id DESC"}}


@pytest.mark.parametrize(
    ("statement", "columns"),
    [
        (
            'SELECT "shop_order"."id", "shop_order"."note" FROM "shop_order" WHERE "shop_order"."total" > 1',
            ["total"],
        ),
        (
            'SELECT DISTINCT "shop_order"."user_id" AS "u" FROM "shop_order" WHERE "shop_order"."total" > 1',
            ["user_id", "total"],
        ),
        ('SELECT DISTINCT ON ("shop_order"."user_id") "shop_order"."id" FROM "shop_order"', ["user_id"]),
        ('SELECT SUM("shop_order"."total") AS "s" FROM "shop_order"', ["total"]),
        (
            'SELECT "shop_order"."status" AS "s", COUNT(*) AS "n" FROM "shop_order" GROUP BY 1',
            ["status"],
        ),
        ('UPDATE "shop_order" SET "status" = \'x\' WHERE "shop_order"."user_id" = 1', ["user_id"]),
        ('SELECT 1 AS "a" FROM "shop_order" U0 WHERE U0."user_id" = 3 LIMIT 1', ["user_id"]),
    ],
)
def test_it_leaves_out_what_is_only_read(statement: str, columns: list[str]) -> None:
    assert used_columns(statement) == {"shop_order": columns}


def test_it_writes_indexes_as_postgresql_takes_them() -> None:
    whole = Possible("shop_order", ("user_id", "placed_at DESC"), ("total",), "status = 'paid'")
    assert whole.ddl == (
        "CREATE INDEX ON shop_order (user_id, placed_at DESC) INCLUDE (total) WHERE status = 'paid'"
    )
    assert Possible("shop_user", extra="USING gin (tags)").ddl == "CREATE INDEX ON shop_user USING gin (tags)"


@pytest.mark.parametrize(
    ("possible", "is_plain"),
    [
        (Possible("shop_order", ("user_id", "status")), True),
        (Possible("shop_order", ("placed_at DESC",)), False),
        (Possible("shop_user", ("upper(email)",)), False),
        (Possible("shop_user", ("email",), where="is_active"), False),
        (Possible("shop_user", extra="USING gin (tags)"), False),
    ],
)
def test_it_knows_which_are_plain_columns(possible: Possible, is_plain: bool) -> None:
    assert possible.is_plain is is_plain


@pytest.mark.parametrize(
    ("ddl", "expected"),
    [
        ("CREATE INDEX ON shop_user (tenant_id, email text_pattern_ops)", False),
        ("CREATE INDEX ON shop_user USING gin (email gin_trgm_ops)", False),
        ("CREATE INDEX ON shop_user (upper(name) text_pattern_ops)", True),
        ("CREATE INDEX ON shop_user (tenant_id, lower(name))", True),
        ("CREATE INDEX ON shop_product ((price - cost))", True),
        ("CREATE INDEX ON shop_product (category_id, (price - cost))", True),
    ],
)
def test_it_knows_what_needs_statistics_of_its_own(ddl: str, expected: bool) -> None:
    assert has_expression(ddl) is expected
