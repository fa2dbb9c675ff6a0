"""Kept answers depend on the rows that their statements are kept to, and on no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test
from ninja import Schema

from perfkit.api import compiled_rows
from perfkit.caching import CachedFunction, cached, registry
from perfkit.caching.databases import tag_scope
from perfkit.caching.recorder import PartRead, reading_part
from perfkit.caching.registry import tracked_tables
from perfkit.caching.tags import any_write_tag
from perfkit.signals import cache_read_detailed
from tests.caching.actors import WritersMachine, actors, execute
from tests.testapp.models import Booking, Shelf

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = (1, 2, 3)
ZONES = ("north", "south", None)


class FormerOut(Schema):
    name: str


class BookingOut(Schema):
    id: int
    name: str
    zone: str | None


class LinkedOut(BookingOut):
    former: FormerOut | None


class OnShelfOut(BookingOut):
    shelf: FormerOut | None


class ShelfOut(Schema):
    name: str
    bookings: list[BookingOut]


class LinkedShelfOut(Schema):
    name: str
    bookings: list[LinkedOut]


def rows(queryset: QuerySet[Any], schema: type[Schema]) -> list[dict[str, Any]]:
    return compiled_rows(queryset, schema)


@cached()
def shelf(pk: int) -> list[dict[str, Any]]:
    return rows(Shelf.plain.filter(pk=pk), ShelfOut)


@cached()
def linked_shelf(pk: int) -> list[dict[str, Any]]:
    return rows(Shelf.plain.filter(pk=pk), LinkedShelfOut)


@cached()
def shelves() -> list[dict[str, Any]]:
    return rows(Shelf.plain.order_by("pk"), ShelfOut)


@cached()
def booking(pk: int) -> list[dict[str, Any]]:
    return rows(Booking.plain.filter(pk=pk), OnShelfOut)


@cached()
def first_in(zone: str | None) -> list[dict[str, Any]]:
    return rows(Booking.plain.filter(zone=zone).order_by("-pk")[:2], BookingOut)


@cached()
def linked_in(zone: str | None) -> list[dict[str, Any]]:
    return rows(Booking.plain.filter(zone=zone).order_by("pk"), LinkedOut)


@cached()
def some(zones: tuple[str, ...]) -> list[dict[str, Any]]:
    return rows(Booking.plain.filter(zone__in=zones).order_by("pk"), BookingOut)


@cached()
def paid(pk: int) -> list[dict[str, Any]]:
    return rows(Booking.plain.filter(pk=pk, is_paid=True), BookingOut)


@pytest.fixture
def told() -> Any:
    """What depends on which tags, without the database's name, as it is made."""
    found: list[tuple[str, ...]] = []

    def listen(sender: Any, outcome: str, tags: tuple[str, ...], **_: Any) -> None:
        if outcome == "miss":
            parts = [tag.split(":") for tag in tags if tag[0] in "abcr"]
            found.append(tuple(sorted(":".join([kind, *rest]) for kind, _, *rest in parts)))

    cache_read_detailed.connect(listen)
    yield found
    cache_read_detailed.disconnect(listen)


@pytest.fixture
def _rows() -> None:
    """Their keys are not the next ones of the sequence."""
    for key in (1, 2):
        Shelf.plain.create(pk=key, name=f"shelf {key}")
        Booking.plain.create(pk=key, name=f"booking {key}", zone="north", shelf_id=key)


B, A = "b:testapp_booking", "a:testapp_booking"
C = "c:testapp_booking"
SHELF = ("b:testapp_shelf", "r:testapp_shelf:1")

DEPENDS: dict[str, tuple[CachedFunction[Any, Any], tuple[Any, ...], tuple[str, ...]]] = {
    "one row, and its many": (shelf, (1,), (B, f"{C}:shelf_id:1", *SHELF)),
    "one row that is not there": (shelf, (3,), ("a:testapp_shelf", "b:testapp_shelf", "r:testapp_shelf:3")),
    "many that look into their own table once more": (linked_shelf, (1,), (A, *SHELF)),
    "all rows, and the many of two": (
        shelves,
        (),
        ("a:testapp_shelf", B, f"{C}:shelf_id:1", f"{C}:shelf_id:2"),
    ),
    "one row, and a joined one": (booking, (1,), (B, "r:testapp_booking:1", "a:testapp_shelf")),
    "a slice of those with a value": (first_in, ("north",), (B, f"{C}:zone:north")),
    "a slice of those without": (first_in, (None,), (B, f"{C}:zone")),
    "those with a value, and others of the table": (linked_in, ("north",), (A,)),
    "those with one of two values": (some, (("north", "south"),), (B, f"{C}:zone:north", f"{C}:zone:south")),
    "one that does not fit the rest of the condition": (paid, (1,), (A, B, "r:testapp_booking:1")),
}


@pytest.mark.usefixtures("_rows")
@pytest.mark.parametrize("name", DEPENDS)
def test_it_depends_on_what_its_statements_are_kept_to(name: str, told: list[tuple[str, ...]]) -> None:
    function, arguments, tags = DEPENDS[name]
    for _ in range(2):  # the second time by what is kept of the statement
        function.invalidate(*arguments)
        function(*arguments)
    assert told == [tuple(sorted(tags))] * 2


@pytest.mark.postgres  # on SQLite a write tells no former values, and so voids all of the table
@pytest.mark.usefixtures("_rows")
def test_a_write_to_other_rows_leaves_it(told: list[tuple[str, ...]]) -> None:
    expected = shelf(1)
    Booking.plain.filter(pk=2).update(name="new")
    Booking.plain.create(pk=3, name="third", shelf_id=2)
    Shelf.plain.filter(pk=2).update(name="new")
    told.clear()
    assert shelf(1) == expected
    assert told == []
    Booking.plain.filter(pk=2).update(shelf_id=1)
    assert [row["name"] for row in shelf(1)[0]["bookings"]] == ["booking 1", "new"]
    assert len(told) == 1


@pytest.mark.usefixtures("_rows")
def test_another_statement_of_the_same_time_reads_all_of_its_table() -> None:
    """As one that an execute wrapper sends by itself."""

    @cached()
    def counted() -> int:
        part = PartRead("SELECT 1", any_write_tag(tag_scope(connection), "testapp_booking"), (), ())
        with reading_part(part), connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM testapp_booking")
            return int(cursor.fetchone()[0])

    assert counted() == 2
    Booking.plain.create(pk=3, name="third")
    assert counted() == 3


@pytest.mark.usefixtures("_rows")
def test_a_column_that_is_declared_no_longer_is_not_relied_on(
    told: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its statement is known from before."""
    shelf(1)
    tables = dict(tracked_tables())
    tables["testapp_booking"] = replace(tables["testapp_booking"], declared=())
    monkeypatch.setattr(registry, "_by_name", tables)
    shelf.invalidate(1)
    shelf(1)
    assert told[1] == tuple(sorted((A, *SHELF)))


CALLS: list[tuple[CachedFunction[Any, Any], tuple[Any, ...]]] = [
    *[(function, (key,)) for function in (shelf, linked_shelf, booking, paid) for key in KEYS],
    *[(function, (zone,)) for function in (first_in, linked_in) for zone in ZONES],
    (shelves, ()),
    (some, (("north", "south"),)),
]

keys, zones = st.sampled_from(KEYS), st.sampled_from(ZONES)


class KeptAgainstRead(WritersMachine):
    """Two connections write what kept answers show."""

    def teardown(self) -> None:
        super().teardown()
        for model in (Booking, Shelf):
            model.plain.all().delete()

    @rule(actor=actors, key=keys)
    def set_up(self, actor: int, key: int) -> None:
        self.write(actor, lambda name: Shelf(pk=key, name=name).save())

    @rule(actor=actors, key=keys)
    def take_down(self, actor: int, key: int) -> None:
        self.write(actor, lambda _: Shelf.plain.filter(pk=key).delete())

    @rule(actor=actors, key=keys, zone=zones, on=keys, is_paid=st.booleans())
    def book(self, actor: int, key: int, zone: str | None, on: int, is_paid: bool) -> None:
        def book(name: str) -> None:
            shelf_id = Shelf.plain.filter(pk=on).values_list("pk", flat=True).first()
            Booking(pk=key, name=name, zone=zone, shelf_id=shelf_id, is_paid=is_paid).save()

        self.write(actor, book)

    @rule(actor=actors, key=keys, former=keys)
    def follow(self, actor: int, key: int, former: int) -> None:
        self.write(
            actor,
            lambda _: Booking.plain.filter(pk=key).update(
                former=Booking.plain.filter(pk=former).values("pk")[:1]
            ),
        )

    @rule(actor=actors, zone=zones, to=zones)
    def move_all(self, actor: int, zone: str | None, to: str | None) -> None:
        self.write(actor, lambda name: Booking.plain.filter(zone=zone).update(zone=to, name=name))

    @rule(actor=actors, zone=zones)
    def make_many(self, actor: int, zone: str | None) -> None:
        self.write(actor, lambda name: Booking.plain.bulk_create([Booking(name=name, zone=zone)] * 2))

    @rule(actor=actors, key=keys)
    def delete(self, actor: int, key: int) -> None:
        self.write(actor, lambda _: Booking.plain.filter(pk=key).delete())

    @rule(actor=actors)
    def raw(self, actor: int) -> None:
        self.write(actor, lambda name: execute("UPDATE testapp_booking SET name = %s", name))

    @invariant()
    def it_shows_what_the_database_holds(self) -> None:
        for actor in self.actors:
            for function, arguments in CALLS:
                read: Callable[[], Any] = lambda f=function, a=arguments: f.uncached(*a)  # type: ignore[misc]  # noqa: E731
                kept: Callable[[], Any] = lambda f=function, a=arguments: f(*a)  # type: ignore[misc]  # noqa: E731
                plain = actor.do(read)
                assert [actor.do(kept) for _ in range(2)] == [plain] * 2, function.name


def test_it_cannot_be_told_from_what_is_read() -> None:
    run_state_machine_as_test(
        KeptAgainstRead,
        settings=settings(
            max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
