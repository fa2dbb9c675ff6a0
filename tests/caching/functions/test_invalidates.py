"""`invalidates`: after success, with the transaction, and never otherwise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.contrib.auth.models import User
from django.db import transaction

from perfkit.caching import ainvalidate, cache, cached, invalidate, invalidates
from perfkit.errors import CacheKeyError, KeyTemplateError
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _kept() -> None:
    cache.set_many({"airport:1": 1, "airport:2": 2, "airports:all": 3, "other": 4}, tags=["stats"])


def gone() -> set[str]:
    names = {"airport:1", "airport:2", "airports:all", "other"}
    return names - set(cache.get_many(names))


@invalidates("airports:*", "airport:{airport.id}")
def change(airport: Any, *, fails: bool = False) -> str:
    if fails:
        raise ValueError("no")
    return "changed"


def test_it_voids_after_success_only() -> None:
    with pytest.raises(ValueError, match="no"):
        change(SimpleNamespace(id=1), fails=True)
    assert gone() == set()
    assert change(airport=SimpleNamespace(id=1)) == "changed"
    assert gone() == {"airport:1", "airports:all"}


def test_inside_a_transaction_it_waits_for_the_commit() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        change(SimpleNamespace(id=1))
        raise ZeroDivisionError
    assert gone() == set()
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            change(SimpleNamespace(id=2))
            raise ZeroDivisionError
        change(SimpleNamespace(id=1))
    assert gone() >= {"airport:1", "airports:all"}


def test_what_the_function_has_returned_may_name_it() -> None:
    @invalidates("airport:{result.pk}", tags=["of:{result.pk}"])
    def made() -> Any:
        return SimpleNamespace(pk=2)

    cache.set("tagged", 1, tags=["of:2"])
    made()
    assert gone() == {"airport:2"}
    assert cache.get("tagged") is None


def test_an_attribute_is_as_the_function_has_left_it() -> None:
    @invalidates("airport:{airport.id}")
    def save(airport: Any) -> None:
        airport.id = 1

    save(SimpleNamespace(id=None))
    assert gone() == {"airport:1"}


def test_what_it_has_deleted_is_void_by_the_name_it_had() -> None:
    @invalidates("airport:{airport.pk}")
    def delete(airport: Any) -> None:
        airport.pk = None

    delete(SimpleNamespace(pk=2))
    assert gone() == {"airport:2"}


def test_it_waits_for_what_is_a_coroutine_without_saying_so() -> None:
    done: list[str] = []

    def work() -> None:
        assert gone() == set()
        done.append("work")

    wrapped = invalidates("other")(sync_to_async(work))
    async_to_sync(wrapped)()
    assert done == ["work"]
    assert gone() == {"other"}
    with pytest.raises(TypeError, match="is a generator"):
        invalidates("other")(lambda: (yield))


def test_tags_and_models_too() -> None:
    @cached(keep_none=True)
    def names() -> list[str]:
        calls.append(1)
        return list(Item.plain.values_list("name", flat=True))

    calls: list[int] = []

    @invalidates(tags=["stats"], models=[Item, User])
    def load() -> None:
        """Write past Django."""

    names()
    load()
    names()
    assert len(calls) == 2
    assert gone() == {"airport:1", "airport:2", "airports:all", "other"}


def test_coroutines_and_methods() -> None:
    class Service:
        region = "1"

        @invalidates("airport:{self.region}")
        def plain(self) -> None: ...

        @invalidates("airport:2")
        async def coroutine(self) -> int:
            return 5

    Service().plain()
    assert gone() == {"airport:1"}
    assert iscoroutinefunction(Service.coroutine)
    assert async_to_sync(Service().coroutine)() == 5
    assert gone() == {"airport:1", "airport:2"}

    async def call() -> None:
        await ainvalidate("other")

    async_to_sync(call)()
    assert gone() == {"airport:1", "airport:2", "other"}


def test_a_template_that_does_not_fit_is_refused_at_once() -> None:
    for options in ({"patterns": ["a:{airprt.id}"]}, {"tags": ["{airprt}"]}):
        with pytest.raises(KeyTemplateError, match=r"no parameter 'airprt'\. Did you mean 'airport'"):
            invalidates(*options.pop("patterns", []), **options)(lambda airport: airport)  # type: ignore[arg-type]


def test_values_cannot_become_patterns() -> None:
    @invalidates("airport:{code}")
    def change_by(code: str) -> None: ...

    change_by("*")
    change_by("1:*")
    assert gone() == set()


def test_a_wrong_pattern_voids_nothing() -> None:
    with pytest.raises(CacheKeyError):
        invalidate("airport:1", "two words")
    with pytest.raises(CacheKeyError):
        invalidate("airport:1", tags=[""])
    assert gone() == set()
    invalidate()
    assert gone() == set()


def test_what_has_no_name_is_refused_before_anything_is_done() -> None:
    done: list[str] = []

    @invalidates("other", tags=["{code}"])
    def by_tag(code: str) -> None:
        done.append(code)

    @invalidates("*:{code}")
    async def by_pattern(code: str) -> None:
        done.append(code)

    with pytest.raises(CacheKeyError, match="a tag is a text that is not empty"):
        by_tag("")
    with pytest.raises(CacheKeyError, match="begins with a namespace"):
        async_to_sync(by_pattern)("1")
    assert done == []
    assert gone() == set()


def test_what_its_result_does_not_name_hinders_nothing_else() -> None:
    @invalidates("other", "airport:{result}", tags=["{result}"])
    def made(code: str) -> str:
        return code

    with pytest.raises(CacheKeyError, match="a tag is a text that is not empty"):
        made("")
    assert gone() == {"other"}


def test_a_long_name_is_that_of_the_function_with_the_same_template() -> None:
    values = [letter * 60 for letter in "abcd"]

    @cached("long:{a}:{b}:{c}:{d}")
    def long(a: str, b: str, c: str, d: str) -> int:
        calls.append("long")
        return len(calls)

    @cached("long:{a}:{b}:{c}:{d}")
    def long_by(a: str, b: str, c: str, d: str, by: int) -> int:
        calls.append("by")
        return len(calls)

    @invalidates("long:{a}:{b}:{c}:{d}")
    def one(a: str, b: str, c: str, d: str) -> None: ...

    @invalidates("long:{a}:{b}:{c}:{d}:*")
    def below(a: str, b: str, c: str, d: str) -> None: ...

    calls: list[str] = []
    for change, expected in ((one, ["long", "by"]), (below, ["by"])):
        long(*values)
        long_by(*values, 1)
        calls.clear()
        change(*values)
        long(*values)
        long_by(*values, 1)
        assert calls == expected
