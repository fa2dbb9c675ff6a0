"""Calls of cached functions: which are made, what is kept, and what becomes of those that cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import TooManyFieldsSent
from django.db import OperationalError, transaction
from django.utils import timezone, translation

from perfkit.caching import WarmResult, cached
from perfkit.caching.store import current_store
from tests.caching.conftest import Outcome
from tests.caching.warming.conftest import outcomes
from tests.caching.warming.functions import (
    Namer,
    async_name_of,
    fails,
    greeting,
    large,
    name_of,
    ran,
    total,
    unkeepable,
    unwatched,
)
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True)

Warmed = Callable[..., WarmResult]


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


def names(few: list[Item]) -> list[partial[Any]]:
    return [partial(name_of, item.pk) for item in few]


def test_it_makes_each_call_once_and_its_answers_are_hits(
    warmed: Warmed, few: list[Item], reads: list[Outcome]
) -> None:
    result = warmed(lambda: names(few))
    assert (result.wanted, result.entries, result.held, result.error) == (25, 25, 0, "")
    assert ran == [item.pk for item in few]
    outcomes(reads)
    assert [name_of(item.pk) for item in few] == [item.name for item in few]
    assert outcomes(reads) == ["hit"] * 25
    assert len(ran) == 25


def test_it_tells_the_bytes_that_the_store_holds(warmed: Warmed, few: list[Item]) -> None:
    result = warmed(lambda: names(few))
    store = current_store()
    assert store is not None
    keys = [key for found in store.find("v:*") for key in found]
    assert len(keys) == 25
    assert result.size_bytes == sum(len(entry or b"") for entry in store.entries(keys))


def test_it_calls_nothing_whose_answer_holds(warmed: Warmed, few: list[Item]) -> None:
    warmed(lambda: names(few))
    ran.clear()
    again = warmed(lambda: names(few))
    assert (again.entries, again.held, again.size_bytes, ran) == (0, 25, 0, [])
    name_of.invalidate(few[3].pk)
    assert (warmed(lambda: names(few)).entries, ran) == (1, [few[3].pk])


def test_it_calls_everything_anew_after_a_write(warmed: Warmed, few: list[Item]) -> None:
    warmed(lambda: names(few))
    Item.plain.filter(pk=few[0].pk).update(name="changed")
    assert warmed(lambda: names(few)).entries == 25
    assert name_of(few[0].pk) == "changed"


def test_it_calls_everything_anew_where_that_is_asked_for(warmed: Warmed, few: list[Item]) -> None:
    first, second = [warmed(lambda: names(few), force=True) for _ in range(2)]
    assert (first.entries, second.entries, len(ran)) == (25, 25, 50)


def test_it_replaces_what_this_process_holds_in_its_memory(warmed: Warmed, few: list[Item]) -> None:
    told = ["old"]

    @cached(ttl=600)
    def now() -> str:
        return told[0]

    assert [now(), now()] == ["old", "old"]
    told[0] = "new"
    warmed(lambda: now, force=True)
    assert now() == "new"


def test_it_makes_a_call_once_however_often_it_is_wanted(warmed: Warmed, few: list[Item]) -> None:
    result = warmed(lambda: [partial(name_of, few[0].pk), partial(name_of, pk=few[0].pk)])
    assert (result.wanted, result.entries, ran) == (2, 1, [few[0].pk])


def test_it_knows_functions_methods_and_coroutines(
    warmed: Warmed, few: list[Item], reads: list[Outcome]
) -> None:
    pk = few[0].pk
    wanted = [
        total,
        partial(total, least=3),
        partial(Namer("it is ").name, pk),
        partial(Namer.name, Namer("it was "), pk),
        partial(async_name_of, pk),
    ]
    result = warmed(lambda: wanted)
    assert (result.entries, result.error) == (5, "")
    ran.clear()
    outcomes(reads)
    assert total() == sum(range(25))
    assert total(least=3) == sum(range(3, 25))
    assert Namer("it is ").name(pk) == "it is item 0"
    assert Namer("it was ").name(pk) == "it was item 0"
    assert async_to_sync(async_name_of)(pk) == "item 0"
    assert outcomes(reads) == ["hit"] * 5
    assert ran == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_it_makes_them_in_the_language_and_zone_in_which_they_were_wanted(
    warmed: Warmed, few: list[Item], jobs: int
) -> None:
    settings = [(language, zone) for language in ("de", "fr") for zone in ("Asia/Tokyo", "UTC")]

    def in_each() -> Iterator[Any]:
        for language, zone in settings:
            with translation.override(language), timezone.override(zone):
                yield partial(greeting)

    assert warmed(in_each, jobs=jobs).entries == 4
    ran.clear()
    told = []
    for language, zone in settings:
        with translation.override(language), timezone.override(zone):
            told.append(greeting())
    assert told == ["Ja Asia/Tokyo 25", "Ja UTC 25", "Oui Asia/Tokyo 25", "Oui UTC 25"]
    assert ran == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_it_makes_the_other_calls_where_some_raise(warmed: Warmed, jobs: int) -> None:
    result = warmed(lambda: [partial(fails, number) for number in range(30)], jobs=jobs)
    assert (result.entries, result.errors) == (15, 15)
    assert result.error.startswith("15 failed, the first of them: ")
    assert "LookupError: nothing about" in result.error
    assert len(ran) == 30


def test_it_says_which_answers_cannot_be_kept(warmed: Warmed, few: list[Item]) -> None:
    errors = [warmed(lambda wanted=each: wanted).error for each in (unwatched, unkeepable, large)]
    assert "cannot be kept: untracked table" in errors[0]
    assert "UncacheableResultError" in errors[1]
    assert "cannot be kept: size" in errors[2]


def test_it_takes_no_value_for_no_error(warmed: Warmed) -> None:
    result = warmed(lambda: partial(name_of, 0))
    assert (result.wanted, result.entries, result.left_out, result.error) == (1, 0, 1, "")


def test_it_refuses_arguments_that_name_no_call(warmed: Warmed) -> None:
    assert "UncacheableArgumentError" in warmed(lambda: [partial(total, least=object())]).error
    assert "TypeError" in warmed(lambda: [partial(name_of, 1, 2)]).error


def test_it_ends_the_warmer_where_the_database_goes(warmed: Warmed, few: list[Item]) -> None:
    @cached(ttl=600)
    def gone(number: int) -> int:
        raise OperationalError(f"the server closed the connection {number}")

    result = warmed(lambda: [partial(gone, number) for number in range(100)])
    assert (result.errors, result.error) == (1, "its rows cannot be read: the server closed the connection 0")


@pytest.mark.parametrize("jobs", [1, 2])
def test_it_ends_the_run_with_an_error_that_is_none_of_the_call(warmed: Warmed, jobs: int) -> None:
    told: list[WarmResult] = []

    @cached(ttl=600)
    def over(number: int) -> int:
        if number == 15:
            raise TooManyFieldsSent("time is over")
        return number

    with pytest.raises(TooManyFieldsSent):
        warmed(
            lambda: [partial(over, number) for number in range(1000)],
            stop_on=(TooManyFieldsSent,),
            told=told.append,
            jobs=jobs,
        )
    [result] = told
    assert result.error == "interrupted: TooManyFieldsSent"
    assert 10 <= result.entries < 100


def test_it_stores_nothing_that_may_yet_be_rolled_back(warmed: Warmed, few: list[Item]) -> None:
    with transaction.atomic():
        Item.plain.update(name="never")
        result = warmed(lambda: names(few))
        assert (result.entries, result.errors > 0) == (0, True)
        transaction.set_rollback(True)
    assert name_of(few[0].pk) == "item 0"


def test_it_keeps_nothing_that_was_written_meanwhile(warmed: Warmed, few: list[Item]) -> None:
    @cached(ttl=600)
    def overtaken(pk: int) -> str:
        name = Item.plain.get(pk=pk).name
        Item.plain.filter(pk=pk).update(name="new")
        return name

    warmed(lambda: [partial(overtaken, few[0].pk)])
    assert overtaken(few[0].pk) == "new"
