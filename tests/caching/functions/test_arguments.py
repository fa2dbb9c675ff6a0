"""What tells a call from all others."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from perfkit.caching.functions.arguments import Parameters
from perfkit.errors import UncacheableArgumentError
from tests.testapp.models import Airfield, Item, Shelf, Ticket, Volume


def call(a: Any, b: Any = 2, *rest: Any, c: Any = 3, **more: Any) -> None:
    """Take arguments of every kind."""


PARAMETERS = Parameters(call)


def digest(*args: Any, **kwargs: Any) -> str:
    return PARAMETERS.bound(args, kwargs).digest(PARAMETERS.names)[0]


def tags(*args: Any) -> tuple[str, ...]:
    return PARAMETERS.bound(args, {}).digest(PARAMETERS.names)[1]


@dataclass(frozen=True)
class Point:
    x: int
    y: int


@dataclass(frozen=True)
class Vector:
    x: int
    y: int


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


Pair = namedtuple("Pair", "x y")  # noqa: PYI024  # as others have them

DIFFERENT: list[Any] = [
    *(1, True, 1.0, "1", b"1", decimal.Decimal(1), decimal.Decimal("1.0"), 0, False, 0.0, -0.0, "", None),
    *(10**30, float("nan"), float("inf"), "half \ud800", mark_safe("1")),
    *(
        dt.date(2024, 1, 1),
        dt.datetime.fromisoformat("2024-01-01"),
        dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        "2024-01-01",
    ),
    *(dt.time(1), dt.timedelta(1), uuid.UUID(int=1), str(uuid.UUID(int=1))),
    *([], [1], [True], [1, 2], (1, 2), [[1], 2], {1, 2}, frozenset({1, 2}), set(), {}, {"a": 1}, {"a": True}),
    *({1: "a"}, {"1": "a"}, Point(1, 2), Vector(1, 2), Point(2, 1), Pair(1, 2), Colour.RED, Colour.BLUE),
    *(Point, Vector, int, Colour),
]


def test_different_values_are_different_calls() -> None:
    digests = {digest(value): value for value in DIFFERENT}
    assert len(digests) == len(DIFFERENT)
    assert len({digest([value]) for value in DIFFERENT}) == len(DIFFERENT)
    assert len({digest(Point(value, 1)) for value in DIFFERENT}) == len(DIFFERENT)


def test_one_call_has_one_name_however_it_is_written() -> None:
    assert digest(1) == digest(a=1) == digest(1, 2) == digest(b=2, a=1) == digest(1, 2, c=3)
    assert digest(1, 2, x=1, y=2) == digest(1, 2, y=2, x=1)
    assert digest({3, 1, 2}) == digest({2, 3, 1})
    assert len({digest(1), digest(2), digest(1, 3), digest(1, 2, 3), digest(1, c=4), digest(1, x=3)}) == 6


def test_a_name_is_the_same_in_all_processes() -> None:
    assert digest("JFK", [1, None]) == "7db726c3b15c5c8bb8e05a333ab0d494"


@given(st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.text()), st.lists), st.data())
def test_equal_values_are_one_call(value: Any, data: st.DataObject) -> None:
    assert digest(value) == digest(value)
    other = data.draw(st.one_of(st.integers(), st.text()))
    assert (digest([value, other]) == digest([value, value])) == (
        value == other and type(value) is type(other)
    )


def test_arguments_that_do_not_fit_are_refused_as_by_the_function() -> None:
    for args, kwargs in (((), {}), ((1,), {"a": 1})):
        with pytest.raises(TypeError, match=r"missing a required argument|multiple values"):
            PARAMETERS.bound(args, kwargs)


@pytest.mark.parametrize(
    "value", [object(), lambda: None, HttpRequest(), [object()], {"a": {"b": object()}}, iter(())]
)
def test_it_says_which_argument_names_no_call(value: Any) -> None:
    with pytest.raises(
        UncacheableArgumentError, match=r"test_arguments\.call is cached, .*argument 'b', .* key="
    ):
        digest(1, value)


@pytest.mark.django_db
class TestRows:
    def test_an_instance_is_its_row_and_what_it_holds(self) -> None:
        item, other = Item.objects.create(name="a"), Item.objects.create(name="b")
        again = Item.plain.get(pk=item.pk)
        assert digest(item) == digest(again) != digest(other)
        again.name = "changed in memory"
        assert digest(again) != digest(item)
        assert digest(Item.plain.only("name").get(pk=item.pk)) != digest(item)
        field, ticket = Airfield.objects.create(code="JFK"), Ticket.objects.create(seat="1A")
        for instance, part in ((item, str(item.pk)), (field, "JFK"), (ticket, ticket.pk.hex)):
            row, table = tags(instance)
            assert row.startswith("r:")
            assert row.endswith(f":{part}")
            assert table.startswith("b:")

    def test_so_are_the_relations_that_are_loaded(self) -> None:
        shelf = Shelf.objects.create(name="shelf")
        Volume.objects.create(title="volume", shelf=shelf)
        [alone], [joined] = Volume.plain.all(), Volume.plain.select_related("shelf")
        [fetched] = Shelf.plain.prefetch_related("volumes")
        assert digest(alone) != digest(joined)
        assert digest(shelf) != digest(fetched)
        before = digest(joined), digest(fetched)
        joined.shelf.name = "another"
        fetched.volumes.all()[0].title = "another"
        assert digest(joined) != before[0]
        assert digest(fetched) != before[1]
        assert {tag.split(":")[2] for tag in tags(joined)} == {"testapp_volume", "testapp_shelf"}

    def test_one_that_was_not_saved_is_none(self) -> None:
        with pytest.raises(UncacheableArgumentError, match="not saved"):
            digest(Item(name="new"))

    def test_one_that_nobody_watches_is_what_it_holds(self) -> None:
        user = User.objects.create_user("ann")
        assert tags(user) == ()
        assert digest(user) == digest(User.objects.get(pk=user.pk))
        user.first_name = "Ann"
        assert digest(user) != digest(User.objects.get(pk=user.pk))

    def test_a_queryset_is_its_query(self) -> None:
        rows = Item.plain.filter(count__gte=1)
        assert digest(rows) == digest(Item.plain.filter(count__gte=1))
        assert (
            len(
                {
                    digest(each)
                    for each in (rows, Item.plain.filter(count__gte=2), rows[:3], rows.order_by("id"))
                }
            )
            == 4
        )
        assert digest(Volume.plain.all()) != digest(Volume.plain.prefetch_related("shelf"))
        assert any(tag.startswith("a:") and tag.endswith("testapp_item") for tag in tags(rows))
        joined = tags(Volume.plain.filter(shelf__name="x"))
        assert {tag.rpartition(":")[2] for tag in joined} == {"testapp_volume", "testapp_shelf"}
        assert digest(Item.plain.none()) == digest(Item.plain.none())
        with pytest.raises(UncacheableArgumentError, match=r"a queryset of testapp\.Shelf"):
            digest(Shelf.plain.order_by("?"))
