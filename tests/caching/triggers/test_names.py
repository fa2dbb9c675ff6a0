"""The tags that triggers write are those that readers of the same rows ask for."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from perfkit.caching.databases import tag_scope
from perfkit.caching.keys import Kind, kind_of, reader_of, unsure
from perfkit.caching.sources import watched_table
from perfkit.caching.statements import value_tags
from perfkit.caching.tags import any_write_tag, row_tag, table_tag, value_tag
from tests.caching.triggers.conftest import some, told, whole
from tests.testapp.models import Airfield, Booking, Dotted, Item, Sample, Ticket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

# PostgreSQL has no NUL in texts, and no half characters.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
odd_texts = st.one_of(
    texts,
    st.text("#:%* ~!\\'\"é\t\n", max_size=40),
    st.sampled_from(
        ["", "#", "#a", "a" * 40, "~" * 40, " a", "a ", "a:b", "*/", "x\n", "\n", "\u00a0", "😀" * 40]
    ),
)
numbers = st.integers(-(2**31), 2**31 - 1)
rows = st.fixed_dictionaries(
    {
        "zone": st.none() | odd_texts,
        "number": st.none() | numbers,
        "day": st.none() | st.dates(),
        "is_paid": st.booleans(),
        "key": st.none() | st.uuids(),
    }
)
DECLARED = ("zone", "number", "day", "is_paid", "key", "shelf_id")
patient = hypothesis_settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def expected(table_name: str, pks: list[Any], values: list[dict[str, Any]]) -> set[str]:
    """Return the tags of rows as readers name them."""
    table, scope = watched_table(table_name), tag_scope(connection)
    assert table is not None
    tags = {any_write_tag(scope, table.name)}
    tags |= {row_tag(scope, table.name, table.to_pk(pk)) for pk in pks}
    found = [[row.get(column.name) for row in values] for column in table.declared]
    return tags | set(value_tags(scope, table.name, table.declared, found))


def insert_sql(values: dict[str, Any]) -> str:
    names = ", ".join(values)
    return (
        f"INSERT INTO testapp_booking (name, {names}) "
        f"VALUES ('x', {', '.join(f'%({name})s' for name in values)}) RETURNING id"
    )


@patient
@given(old=rows, new=rows)
def test_it_names_rows_and_their_old_and_new_values_as_readers_do(
    install: Callable[..., Any], outside: psycopg.Connection, old: dict[str, Any], new: dict[str, Any]
) -> None:
    install(Booking)
    table = "testapp_booking"
    [pk] = outside.execute(insert_sql(old), old).fetchone()
    assert told() == [expected(table, [], [old])]
    outside.execute(
        f"UPDATE {table} SET {', '.join(f'{name} = %({name})s' for name in new)} WHERE id = {pk}", new
    )
    assert told() == [expected(table, [pk], [old, new])]
    outside.execute(f"DELETE FROM {table} WHERE id = %s", [pk])
    assert told() == [expected(table, [pk], [new])]


@patient
@given(old=odd_texts.filter(lambda text: len(text) <= 8), new=odd_texts.filter(lambda text: len(text) <= 8))
def test_it_names_rows_with_texts_for_keys(
    install: Callable[..., Any], outside: psycopg.Connection, old: str, new: str
) -> None:
    install(Airfield)
    outside.execute("DELETE FROM testapp_airfield")
    outside.execute("INSERT INTO testapp_airfield (code, name) VALUES (%s, 'x')", [old])
    told()
    outside.execute("UPDATE testapp_airfield SET code = %s", [new])
    assert told() == [expected("testapp_airfield", [old, new], [])]


@patient
@given(st.uuids())
def test_it_names_rows_with_uuids_for_keys(
    install: Callable[..., Any], outside: psycopg.Connection, key: uuid.UUID
) -> None:
    install(Ticket)
    outside.execute("DELETE FROM testapp_ticket")
    outside.execute("INSERT INTO testapp_ticket (id, seat) VALUES (%s, '1a')", [key])
    told()
    outside.execute("DELETE FROM testapp_ticket")
    assert told() == [expected("testapp_ticket", [key], [])]


@patient
@given(st.integers(1, 300).map(lambda length: "é!" * length))
@example("a" * 120)
@example("a" * 121)
def test_it_names_long_texts(install: Callable[..., Any], outside: psycopg.Connection, text: str) -> None:
    """Declared columns of texts without a limit; `Booking.zone` has one."""
    install(Booking)
    outside.execute("ALTER TABLE testapp_booking ALTER zone TYPE text")
    try:
        outside.execute("INSERT INTO testapp_booking (name, zone, is_paid) VALUES ('x', %s, false)", [text])
        [tags] = told()
        assert value_tag(tag_scope(connection), "testapp_booking", "zone", text) in tags
    finally:
        outside.execute("TRUNCATE testapp_booking")
        outside.execute("ALTER TABLE testapp_booking ALTER zone TYPE varchar(40)")


@pytest.mark.parametrize("day", ["infinity", "-infinity", "0044-03-15 BC", "12345-01-01"])
def test_it_tells_of_the_table_where_a_value_has_no_name_here(
    install: Callable[..., Any], outside: psycopg.Connection, day: str
) -> None:
    install(Booking)
    outside.execute("INSERT INTO testapp_booking (name, day, is_paid) VALUES ('x', %s, false)", [day])
    assert told() == [whole("testapp_booking")]


@pytest.mark.parametrize("style", ["German, DMY", "SQL, MDY", "Postgres, YMD"])
def test_it_names_dates_whatever_the_style_of_the_session(
    install: Callable[..., Any], outside: psycopg.Connection, style: str
) -> None:
    install(Booking)
    outside.execute(f"SET datestyle = '{style}'")
    outside.execute("INSERT INTO testapp_booking (name, day, is_paid) VALUES ('x', '2013-07-04', false)")
    assert told() == [expected("testapp_booking", [], [{"day": datetime.date(2013, 7, 4), "is_paid": False}])]


def test_it_names_a_table_as_readers_do_whose_name_has_a_dot(
    install: Callable[..., Any], outside: psycopg.Connection
) -> None:
    install(Dotted)
    outside.execute("""INSERT INTO "testapp.dotted" (name) VALUES ('x')""")
    assert told() == [some("dotted")]


@pytest.fixture
def padded(outside: psycopg.Connection) -> Iterator[Callable[[], None]]:
    """A function that gives a column a type of which two values are equal that differ in spaces."""
    yield lambda: outside.execute("ALTER TABLE testapp_booking ALTER zone TYPE char(40)")
    outside.execute("TRUNCATE testapp_booking")
    outside.execute("ALTER TABLE testapp_booking ALTER zone TYPE varchar(40)")


@pytest.mark.parametrize("is_altered_before", [True, False])
def test_it_tells_of_the_table_where_a_column_is_not_of_a_plain_type(
    install: Callable[..., Any],
    outside: psycopg.Connection,
    padded: Callable[[], None],
    is_altered_before: bool,
) -> None:
    if is_altered_before:
        padded()
    install(Booking)
    outside.execute("INSERT INTO testapp_booking (name, zone, is_paid) VALUES ('x', 'a', true)")
    outside.execute("UPDATE testapp_booking SET number = 1")
    if not is_altered_before:
        assert [tags.isdisjoint(whole("testapp_booking") - some("testapp_booking")) for tags in told()] == [
            True
        ] * 2
        padded()
    told()
    outside.execute("INSERT INTO testapp_booking (name, zone, is_paid) VALUES ('x', 'b', true)")
    outside.execute("UPDATE testapp_booking SET number = 2")
    outside.execute("DELETE FROM testapp_booking")
    assert told() == [whole("testapp_booking")] * 3


def test_it_knows_the_kinds_of_what_reads_keys() -> None:
    kinds = {
        name: kind_of(reader_of(Booking._meta.get_field(name)))
        for name in ("zone", "number", "day", "is_paid", "key", "shelf")
    }
    assert kinds == {
        "zone": Kind.TEXT,
        "number": Kind.NUMBER,
        "day": Kind.DATE,
        "is_paid": Kind.BOOLEAN,
        "key": Kind.UUID,
        "shelf": Kind.NUMBER,
    }
    assert kind_of(reader_of(Sample._meta.get_field("text"))) is Kind.TEXT
    assert kind_of(unsure) is None


def test_it_names_each_row_of_few_and_the_table_of_many(
    install: Callable[..., Any], outside: psycopg.Connection
) -> None:
    install(Item)
    outside.execute("INSERT INTO testapp_item (name, count) SELECT 'x', n FROM generate_series(1, 101) n")
    assert told() == [some("testapp_item")]
    outside.execute("UPDATE testapp_item SET name = 'y' WHERE count <= 100")
    pks = list(Item.plain.filter(name="y").values_list("pk", flat=True))
    assert told() == [expected("testapp_item", pks, [])]
    outside.execute("UPDATE testapp_item SET name = 'z'")
    assert told() == [whole("testapp_item")]
    assert table_tag(tag_scope(connection), "testapp_item") in whole("testapp_item")
