"""What a warmer returns, cut into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import pytest

from perfkit.caching import Answer, WarmResult, warm
from perfkit.caching.warming.answer_batches import AnswerBatch
from perfkit.caching.warming.call_batches import CallBatch
from perfkit.caching.warming.row_batches import RowBatch
from perfkit.caching.warming.wanted import batches, count
from perfkit.errors import UnwarmableError
from tests.caching.warming.functions import from_count, name_of, ran, total
from tests.testapp.models import Airfield, Item

pytestmark = pytest.mark.django_db(transaction=True)

Warmed = Callable[..., WarmResult]


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


def mixture() -> Iterator[Any]:
    for number in range(12):
        yield partial(name_of, number)
        yield Answer(Item.objects.filter(count=number))
        if number % 6 == 0:
            yield Item.plain.filter(count=number)
            yield partial(from_count, number)
    yield total


def test_it_takes_any_mixture(items: list[Item], warmed: Warmed) -> None:
    made = list(batches(mixture()))
    assert [(type(batch), batch.size) for batch in made] == [
        (RowBatch, 300),
        (AnswerBatch, 10),
        (CallBatch, 10),
        (AnswerBatch, 4),
        (CallBatch, 3),
    ]
    assert count(mixture()) == 327
    result = warmed(mixture)
    assert (result.wanted, result.error) == (327, "")
    assert result.entries + result.left_out == 327


def test_it_has_some_of_an_endless_number_in_memory() -> None:
    asked = 0

    def endless() -> Iterator[Any]:
        nonlocal asked
        while True:
            asked += 1
            yield partial(name_of, asked)

    assert sum(batch.size for batch in islice(batches(endless()), 100)) == 1000
    assert asked == 1000
    assert ran == []


def test_it_has_some_of_many_rows_in_memory(items: list[Item]) -> None:
    first, *others = batches(Item.plain.all())
    assert [batch.size for batch in (first, *others)] == [500, 500, 200]


def test_its_batches_have_the_same_keys_whatever_order_is_asked_for(items: list[Item]) -> None:
    there, back = [
        [list(batch.keys()) for batch in batches(Item.plain.order_by(order))] for order in ("name", "-name")
    ]
    assert there == back


@pytest.mark.parametrize("count_of", [count, lambda returned: list(batches(returned))])
def test_it_refuses_what_cannot_be_warmed(count_of: Callable[[Any], Any]) -> None:
    wrong: dict[str, Any] = {
        "Something of type builtins.int": 7,
        "Something of type builtins.NoneType": None,
        "Something of type builtins.str": ["name"],
        "Something of type tests.testapp.caching.Airfield": [Airfield(code="JFK")],
        "A call of test_it_refuses_what_cannot_be_warmed, which is not cached,": [
            partial(test_it_refuses_what_cannot_be_warmed, None)
        ],
    }
    for what, returned in wrong.items():
        with pytest.raises(UnwarmableError, match=f"^{what} cannot be warmed"):
            count_of(returned)


def test_it_stores_what_comes_before_something_that_cannot_be_warmed(
    warmers: dict[str, Any], items: list[Item]
) -> None:
    warmers["half"] = lambda: iter([Item.plain.filter(count=1), 7])
    [result] = warm(["half"])
    assert (result.entries, result.errors) == (300, 1)
    assert result.error.startswith("UnwarmableError: Something of type builtins.int")
