"""Cached functions against the functions themselves, under random writes and voidings of two connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from perfkit.caching import CachedFunction, cached, cached_query, invalidates, token_scope
from tests.caching.actors import WritersMachine, actors, execute
from tests.testapp.models import Booking, Item, Shelf, Volume

KEYS = (1, 2)
ZONES = ("north", "south")

keys = st.sampled_from(KEYS)
zones = st.sampled_from(ZONES)

outside: dict[int, int] = {}
"""What no database knows; whoever changes it says so."""


@cached("stateful:name:{pk}", keep_none=True)
def name_of(pk: int) -> str | None:
    return Item.plain.filter(pk=pk).values_list("name", flat=True).first()


@cached(keep_errors=[Item.DoesNotExist])
def item(pk: int) -> Item:
    return Item.objects.get(pk=pk)


@cached()
def shelves() -> list[tuple[str, list[str]]]:
    return [
        (shelf.name, sorted(volume.title for volume in shelf.volumes.all()))
        for shelf in Shelf.plain.order_by("id").prefetch_related("volumes")
    ]


@cached_query()
def bookings(zone: str) -> Any:
    return Booking.plain.filter(zone=zone).order_by("id")


@cached()
def names_in(zone: str) -> list[str]:
    return [booking.name for booking in Booking.objects.filter(zone=zone).order_by("id")]


@cached()
def everything() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM testapp_item")
        [count] = cursor.fetchone()
    return {
        "count": count,
        "names": [name_of(pk) for pk in KEYS],
        "zones": {zone: names_in(zone) for zone in ZONES},
        "rows": [booking.name for booking in bookings("north")],
        "shelves": shelves(),
    }


@cached("stateful:outside:{pk}")
def from_outside(pk: int) -> int:
    return outside.get(pk, 0)


@invalidates("stateful:outside:{pk}")
def change_outside(pk: int, value: int) -> None:
    outside[pk] = value


CALLS: list[tuple[CachedFunction[Any, Any], tuple[Any, ...]]] = [
    *[(name_of, (pk,)) for pk in KEYS],
    *[(item, (pk,)) for pk in KEYS],
    *[(names_in, (zone,)) for zone in ZONES],
    *[(from_outside, (pk,)) for pk in KEYS],
    (shelves, ()),
    (everything, ()),
]


def told(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        answer = function(*arguments)
    except Item.DoesNotExist:
        return "none"
    return (answer.pk, answer.name, answer.count) if isinstance(answer, Item) else answer


class CachedAgainstUncached(WritersMachine):
    def __init__(self) -> None:
        super().__init__()
        outside.clear()
        self.actors[0].do(from_outside.invalidate)

    def teardown(self) -> None:
        super().teardown()
        for model in (Item, Booking, Volume, Shelf):
            model.plain.all().delete()

    @rule(actor=actors, key=keys)
    def save(self, actor: int, key: int) -> None:
        self.write(actor, lambda name: Item(id=key, name=name).save())

    @rule(actor=actors, key=keys)
    def delete(self, actor: int, key: int) -> None:
        self.write(actor, lambda _: Item.plain.filter(pk=key).delete())

    @rule(actor=actors, key=keys, zone=zones)
    def book(self, actor: int, key: int, zone: str) -> None:
        self.write(actor, lambda name: Booking(id=key, name=name, zone=zone).save())

    @rule(actor=actors, zone=zones)
    def move(self, actor: int, zone: str) -> None:
        self.write(actor, lambda _: Booking.plain.update(zone=zone))

    @rule(actor=actors, key=keys)
    def shelve(self, actor: int, key: int) -> None:
        def shelve(name: str) -> None:
            with transaction.atomic():
                shelf, _ = Shelf.plain.get_or_create(id=key, defaults={"name": name})
                Volume.plain.create(title=name, shelf=shelf)

        self.write(actor, shelve)

    @rule(actor=actors)
    def raw(self, actor: int) -> None:
        self.write(actor, lambda name: execute("UPDATE testapp_shelf SET name = %s", name))

    @rule(actor=actors, key=keys)
    def change(self, actor: int, key: int) -> None:
        if not self.actors[actor].blocks:  # what is no row is not undone by a rollback
            self.write(actor, lambda name: change_outside(key, int(name.split()[1])))

    @rule(actor=actors)
    def refresh(self, actor: int) -> None:
        self.actors[actor].do(shelves.refresh)

    @invariant()
    def it_answers_what_the_functions_return(self) -> None:
        for actor in self.actors:
            for function, arguments in CALLS:
                plain = actor.do(lambda f=function, a=arguments: told(f.uncached, a))
                for _ in range(2):
                    assert actor.do(lambda f=function, a=arguments: told(f, a)) == plain, function.name
                assert actor.do(lambda f=function, a=arguments: in_a_request(f, a)) == [plain] * 3, (
                    function.name
                )


def in_a_request(function: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Any]:
    with token_scope():
        return [told(function, arguments) for _ in range(3)]


@pytest.mark.django_db(transaction=True)
def test_they_cannot_be_told_from_the_functions() -> None:
    run_state_machine_as_test(
        CachedAgainstUncached,
        settings=settings(
            max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
