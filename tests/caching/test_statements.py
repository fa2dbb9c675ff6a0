"""Every write names at least the rows it changes; no read names any."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.caching import statements
from perfkit.caching.registry import tracked_tables
from perfkit.caching.statements import LONGEST_KEPT, MOST_ROW_TAGS, MOST_STATEMENTS, statement_of
from perfkit.caching.tags import any_write_tag, row_tag
from tests.testapp.models import Airfield, Heir, Item, ItemNote, Ticket

TABLE = "b:default:testapp_item"
ANY = "a:default:testapp_item"


def tags(sql: str, params: Any = (), *, many: bool = False) -> set[str]:
    return set(statement_of(sql, tracked_tables()).tags("default", params, many=many))


def row(number: int) -> str:
    return f"r:default:testapp_item:{number}"


def of(table: str, *keys: str) -> set[str]:
    """The tags of a write to these rows of a table, of one to unknown rows where no key is given."""
    name = f"default:testapp_{table}"
    return {f"a:{name}", *(f"r:{name}:{key}" for key in keys)} if keys else {f"a:{name}", f"b:{name}"}


READS = [
    'SELECT "testapp_item"."id" FROM "testapp_item" WHERE "testapp_item"."id" = %s LIMIT 21',
    "select * from testapp_item",
    'SELECT * FROM "testapp_item" FOR UPDATE',
    'SELECT * FROM "testapp_item" FOR NO KEY UPDATE OF "testapp_item" SKIP LOCKED',
    '(SELECT id FROM "testapp_item") UNION (SELECT 1)',
    "WITH x AS (SELECT * FROM testapp_item) SELECT * FROM x",
    "EXPLAIN SELECT * FROM testapp_item",
    "EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM testapp_item",
    "-- a comment\nSELECT * FROM testapp_item",
    "/* update */ SELECT * FROM testapp_item;",
    "DECLARE c CURSOR FOR SELECT * FROM testapp_item",
    "FETCH FORWARD 100 FROM testapp_item_cursor",
    "VALUES (1)",
    "TABLE testapp_item",
    "LOCK TABLE testapp_item",
    "ANALYZE testapp_item",
    "VACUUM testapp_item",
    "CREATE INDEX i ON testapp_item (name)",
    "SHOW transaction_isolation",
    "SAVEPOINT s1",
    "ROLLBACK TO SAVEPOINT s1",
    "BEGIN",
    "COMMIT",
    "",
    "   ",
    "-- nothing",
]


@pytest.mark.parametrize("sql", READS)
def test_it_takes_no_read_for_a_write(sql: str) -> None:
    assert tags(sql, (1,)) == set()


BY_KEY = [
    ('UPDATE "testapp_item" SET "name" = %s, "count" = %s WHERE "testapp_item"."id" = %s', ("x", 1, 7), [7]),
    (
        'UPDATE "testapp_item" SET "count" = ("testapp_item"."count" + %s) WHERE "testapp_item"."id" = %s',
        (1, 7),
        [7],
    ),
    ('DELETE FROM "testapp_item" WHERE "testapp_item"."id" IN (%s, %s, %s)', (1, 2, 3), [1, 2, 3]),
    ('DELETE FROM "testapp_item" WHERE "testapp_item"."id" = %s', [5], [5]),
    ('DELETE FROM "testapp_item" WHERE "id" = %s', ["05"], [5]),
    ('UPDATE "testapp_item" SET "name" = %s WHERE "id" IN (%s) RETURNING "name"', ("x", 7), [7]),
]


@pytest.mark.parametrize(("sql", "params", "keys"), BY_KEY)
def test_it_knows_the_rows_of_what_django_writes(sql: str, params: Any, keys: list[int]) -> None:
    assert tags(sql, params) == {ANY, *map(row, keys)}


WHOLE_TABLE = [
    ('UPDATE "testapp_item" SET "count" = 1', ()),
    ('UPDATE "testapp_item" SET "count" = 1 WHERE "testapp_item"."name" = %s', ("x",)),
    (
        'UPDATE "testapp_item" SET "count" = 1 WHERE ("testapp_item"."id" = %s OR "testapp_item"."id" > %s)',
        (1, 2),
    ),
    ('UPDATE "testapp_item" SET "count" = 1 WHERE NOT ("testapp_item"."id" = %s)', (1,)),
    ('UPDATE "testapp_item" SET "count" = 1 WHERE "testapp_item"."id" IN (SELECT "id" FROM "x")', ()),
    ("update testapp_item set count = 1 where id = %s", (1,)),
    ("UPDATE public.testapp_item SET count = 1 WHERE id = 1", ()),
    ('UPDATE "public"."testapp_item" SET "count" = 1 WHERE "id" = %s', (1,)),
    ('UPDATE ONLY "testapp_item" SET "count" = 1 WHERE "id" = %s', (1,)),
    ('UPDATE "testapp_item" AS t SET "count" = 1 WHERE "id" = %s', (1,)),
    ("DELETE FROM testapp_item", None),
    ("  \n\tDELETE\nFROM\ntestapp_item", None),
    ("/* by */ -- hand\nDELETE FROM TestApp_Item WHERE id=1", None),
    ("DELETE FROM testapp_item USING other WHERE testapp_item.id = other.id", None),
    ("TRUNCATE testapp_item", None),
    ('TRUNCATE TABLE "testapp_other", "testapp_item"', None),
    ("INSERT INTO testapp_item (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET count = 1", None),
    ("insert into testapp_item (id) values (1) on conflict (id) do update set count = 1", None),
    ("INSERT OR REPLACE INTO testapp_item (id) VALUES (1)", None),
    ("REPLACE INTO testapp_item (id) VALUES (1)", None),
    ("MERGE INTO testapp_item USING x ON true WHEN MATCHED THEN UPDATE SET count = 1", None),
    ("WITH gone AS (DELETE FROM testapp_item RETURNING *) SELECT * FROM gone", None),
    ("WITH x AS (SELECT 1) UPDATE testapp_item SET count = 1", None),
    ("WITH x AS (SELECT 1) INSERT INTO testapp_item VALUES (1) ON CONFLICT DO NOTHING", None),
    ("INSERT INTO x SELECT 1; DELETE FROM testapp_item", None),
    ("SELECT 1; DELETE FROM testapp_item", None),
    ("SELECT 1;UPDATE testapp_item SET count = 1;", None),
    ("BEGIN; UPDATE testapp_item SET count = 1; COMMIT", None),
    ("EXPLAIN ANALYZE UPDATE testapp_item SET count = 1", None),
    ("COPY testapp_item FROM STDIN", None),
    ("ALTER TABLE testapp_item ADD COLUMN x int", None),
    ('DROP TABLE "testapp_item"', None),
    ("CREATE OR REPLACE VIEW testapp_item AS SELECT 1 AS id", None),
    ("CREATE POLICY p ON testapp_item USING (true)", None),
    ("ALTER SCHEMA public RENAME TO old", None),
    ("DROP SCHEMA public CASCADE", None),
    ("DROP OWNED BY somebody", None),
    ("DO $$ BEGIN UPDATE testapp_item SET count = 1; END $$", None),
    ("CALL touch('testapp_item')", None),
    # What looks like a write to known rows, and is more.
    (
        'UPDATE "testapp_item" SET "count" = 1; DELETE FROM "testapp_item" WHERE "testapp_item"."id" = %s',
        (1,),
    ),
    ('UPDATE "testapp_item" SET "count" = %s; UPDATE "testapp_item" SET "count" = 2 WHERE "id" = %s', (1, 2)),
    (
        'UPDATE "testapp_item" SET "count" = 1 WHERE "id" = %s; DELETE FROM "testapp_item" RETURNING "id"',
        (1,),
    ),
    ('UPDATE "testapp_item" SET "count" = 1 WHERE "id" = %s RETURNING "id", %s', (7, 8)),
    ('UPDATE "testapp_item" SET "count" = 1 WHERE "id" = %s', (" 7",)),
    ('UPDATE "testapp_item" SET "count" = 1 WHERE "id" = %s', (7.0,)),
    ('UPDATE "testapp_item" SET "count" = 1 WHERE "id" = %s', {"id": 7}),
    ('UPDATE "testapp_item" SET "count" = 1 WHERE "id" = %s', ()),
    ('UPDATE "testapp_item" SET "count" = 1 WHERE "name" = %s', (7,)),
]


@pytest.mark.parametrize(("sql", "params"), WHOLE_TABLE)
def test_it_takes_the_whole_table_where_rows_are_not_named(sql: str, params: Any) -> None:
    assert {TABLE, ANY} <= tags(sql, params)


def test_it_takes_the_whole_table_where_one_statement_is_sent_for_many_rows() -> None:
    sql = 'UPDATE "testapp_item" SET "count" = %s WHERE "testapp_item"."id" = %s'
    assert tags(sql, [(1, 1), (1, 2)], many=True) == {TABLE, ANY}


def test_it_takes_the_whole_table_where_too_many_rows_are_named() -> None:
    def delete(rows: int) -> set[str]:
        marks = ", ".join(["%s"] * rows)
        return tags(f'DELETE FROM "testapp_item" WHERE "testapp_item"."id" IN ({marks})', tuple(range(rows)))

    assert delete(MOST_ROW_TAGS) == {ANY, *map(row, range(MOST_ROW_TAGS))}
    assert delete(MOST_ROW_TAGS + 1) == {TABLE, ANY}


def test_it_names_no_row_for_new_ones() -> None:
    assert tags('INSERT INTO "testapp_item" ("name") VALUES (%s) RETURNING "testapp_item"."id"', ("x",)) == {
        ANY
    }
    assert tags("INSERT INTO testapp_item (name) SELECT name FROM x") == {ANY}


def test_it_names_every_tracked_table_that_a_cascade_may_empty() -> None:
    named = tags("TRUNCATE testapp_shelf CASCADE")
    assert of("shelf") | of("volume") <= named
    assert of("volume") <= tags('TRUNCATE "not_tracked" RESTART IDENTITY CASCADE;')


def test_it_takes_a_name_with_escaped_letters_for_that_of_any_table() -> None:
    assert of("item") <= tags('UPDATE U&"testapp\\005fitem" SET count = 1')


@pytest.mark.parametrize("sql", ["EXECUTE change(1)", "SELECT 1; execute change", "/* why */ EXECUTE change"])
def test_it_does_not_know_what_a_prepared_statement_writes(sql: str) -> None:
    assert of("item") | of("volume") <= tags(sql)


def test_it_keeps_to_the_rows_though_the_tables_name_holds_that_of_another() -> None:
    assert (
        tags('UPDATE "testapp_itemnote" SET "text" = %s WHERE "testapp_itemnote"."id" = %s', ("x", 1))
        == set()
    )
    assert tags(
        'UPDATE "testapp_item" SET "name" = (SELECT max("name") FROM "testapp_shelf")'
        ' WHERE "testapp_item"."id" = %s',
        (3,),
    ) == {ANY, row(3)}


@pytest.mark.parametrize(
    ("sql", "is_named"),
    [
        ("DELETE FROM testapp_item", True),
        ("DELETE FROM public.testapp_item", True),
        ('DELETE FROM "testapp_item"', True),
        ("DELETE FROM x USING testapp_item", True),
        ("DELETE FROM testapp_items", False),
        ("DELETE FROM old_testapp_item", False),
        ("DELETE FROM testapp_item_copy", False),
        ("DELETE FROM testapp_item$copy", False),
        ("DELETE FROM testapp_itemé", False),
        ("DELETE FROM testapp_items USING testapp_item", True),
    ],
)
def test_it_tells_a_name_from_a_part_of_a_longer_one(sql: str, is_named: bool) -> None:
    assert tags(sql) == (of("item") if is_named else set())


def test_it_reads_keys_of_every_kind() -> None:
    key = uuid.uuid4()
    by_uuid = 'DELETE FROM "testapp_ticket" WHERE "testapp_ticket"."id" = %s'
    for form in (key, key.hex, str(key), f"{{{key}}}".upper()):
        assert tags(by_uuid, (form,)) == of("ticket", key.hex)
    assert tags(by_uuid, ("nonsense",)) == of("ticket")
    by_text = 'DELETE FROM "testapp_airfield" WHERE "testapp_airfield"."code" IN (%s, %s)'
    assert tags(by_text, ("JFK", "jfk")) == of("airfield", "JFK", "jfk")
    assert tags(by_text, ("1", 1)) == of("airfield")


def test_it_does_not_confuse_models_that_share_a_tables_name() -> None:
    """Two keys lead to the rows of one table, so a write by one of them is a write to unknown rows."""
    for column in ("id", "name"):
        sql = f'DELETE FROM "testapp_style" WHERE "testapp_style"."{column}" = %s'
        assert tags(sql, ("5",)) == of("style")


def test_it_needs_no_tracked_models() -> None:
    assert statement_of("DELETE FROM testapp_item", {}).tags("default", None, many=False) == frozenset()


def test_it_reads_a_text_once_for_the_same_tables() -> None:
    sql, tables = "DELETE FROM testapp_item", tracked_tables()
    statement = statement_of(sql, tables)
    assert statement_of(sql, tables) is statement
    assert statement_of(sql, dict(tables)) is not statement


def test_it_keeps_neither_many_texts_nor_long_ones() -> None:
    tables = tracked_tables()
    for number in range(2 * MOST_STATEMENTS):
        statement_of(f"DELETE FROM testapp_item WHERE id = {number}", tables)
        assert len(statements._read[1]) <= MOST_STATEMENTS
    long = "DELETE FROM testapp_item -- " + "x" * LONGEST_KEPT
    assert statement_of(long, tables) is not statement_of(long, tables)


@pytest.mark.parametrize("part", ["/* a */ ", "-- a\n", "(", "/*", " "])
def test_it_needs_no_longer_for_a_long_text_than_for_its_length(part: str) -> None:
    """A pattern that goes back and forth would need years here."""
    tags(part * 2_000 + "%")


@given(st.text())
def test_it_takes_any_text(sql: str) -> None:
    tags(sql, ("1",))


Writes = list[Callable[[], object]]


def snapshot(model: Any) -> dict[Any, tuple[Any, ...]]:
    return {row[0]: row for row in model.plain.values_list()}


class Statements:
    """An execute wrapper that gathers the tags of all that is sent."""

    def __init__(self) -> None:
        self.tags: set[str] = set()

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.tags |= tags(sql, params, many=many)
        return execute(sql, params, many, context)


ids = st.integers(1, 8)
counts = st.integers(-5, 5)
some_ids = st.lists(ids, max_size=4)


def save(number: int, count: int) -> None:
    Item(id=number, name="saved", count=count).save()


def save_fields(number: int, count: int) -> None:
    Item.plain.filter(id=number).exists() and Item(id=number, count=count).save(update_fields=["count"])


def bulk_update(numbers: list[int], count: int) -> None:
    items = list(Item.plain.filter(id__in=numbers))
    for item in items:
        item.count = count
    Item.plain.bulk_update(items, ["count"])


def upsert(numbers: list[int], count: int) -> None:
    rows = [Item(id=number, name="upsert", count=count) for number in set(numbers)]
    Item.plain.bulk_create(rows, update_conflicts=True, update_fields=["count"], unique_fields=["id"])


def ignore(numbers: list[int], count: int) -> None:
    rows = [Item(id=number, name="ignored", count=count) for number in set(numbers)]
    Item.plain.bulk_create(rows, ignore_conflicts=True)


def raw(sql: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def raw_many(numbers: list[int], count: int) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE testapp_item SET count = %s WHERE id = %s", [(count, key) for key in numbers]
        )


def delete_instance(number: int) -> None:
    for item in Item.plain.filter(id=number):
        item.delete()


WRITES = st.one_of(
    st.builds(lambda *args: (save, args), ids, counts),
    st.builds(lambda *args: (save_fields, args), ids, counts),
    st.builds(lambda *args: (bulk_update, args), some_ids, counts),
    st.builds(lambda *args: (upsert, args), some_ids, counts),
    st.builds(lambda *args: (ignore, args), some_ids, counts),
    st.builds(lambda *args: (raw_many, args), some_ids, counts),
    st.builds(lambda key: (delete_instance, (key,)), ids),
    st.builds(lambda key, n: (Item.plain.filter(pk=key).update, (), {"count": n}), ids, counts),
    st.builds(lambda keys, n: (Item.plain.filter(pk__in=keys).update, (), {"count": n}), some_ids, counts),
    st.builds(lambda n: (Item.plain.filter(count=n).update, (), {"count": F("count") + 1}), counts),
    st.builds(lambda keys: (Item.plain.filter(pk__in=keys).delete, ()), some_ids),
    st.builds(lambda key: (Item.plain.filter(pk=key, count__gt=0).delete, ()), ids),
    st.builds(lambda key: (Item.plain.exclude(pk=key).update, (), {"name": "else"}), ids),
    st.builds(
        lambda key, n: (Item.plain.update_or_create, (), {"pk": key, "defaults": {"count": n}}), ids, counts
    ),
    st.builds(lambda key: (raw, ("DELETE FROM testapp_item WHERE id = %s", key)), ids),
    st.builds(
        lambda n: (raw, ('UPDATE "testapp_item" SET "count" = %s WHERE "count" = %s', n, n + 1)), counts
    ),
    st.builds(
        lambda key: (
            raw,
            (
                (
                    "INSERT INTO testapp_item (id, name, count) VALUES (%s, 'r', 0)"
                    " ON CONFLICT (id) DO UPDATE SET count = 99"
                ),
                key,
            ),
        ),
        ids,
    ),
)


@pytest.mark.django_db
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WRITES, min_size=1, max_size=5))
def test_it_covers_every_row_that_a_write_changes(writes: list[tuple[Any, ...]]) -> None:
    with transaction.atomic():
        Item.plain.bulk_create([Item(id=number, name="old", count=number) for number in range(1, 6)])
        ItemNote.objects.create(item_id=1, text="goes with its item")
        for function, args, *rest in writes:
            before = snapshot(Item)
            statements = Statements()
            with connection.execute_wrapper(statements):
                function(*args, **(rest[0] if rest else {}))
            after = snapshot(Item)
            changed = {key for key in before if after.get(key) != before[key]}
            assert ANY in statements.tags or after == before
            assert TABLE in statements.tags or {row(key) for key in changed} <= statements.tags
        transaction.set_rollback(True)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "make", [lambda: Airfield(code="J/FK é", name="x"), lambda: Ticket(seat="1A"), lambda: Heir(name="x")]
)
def test_it_knows_the_row_of_a_save_and_a_delete_for_keys_of_every_kind(make: Callable[[], Any]) -> None:
    instance = make()
    instance.save()
    tracked = tracked_tables()[type(instance)._meta.db_table]
    expected = {row_tag("default", tracked.name, instance.pk), any_write_tag("default", tracked.name)}
    for write in (instance.save, instance.delete):
        statements = Statements()
        with connection.execute_wrapper(statements):
            write()
        assert statements.tags == expected
