"""Cached functions: what they answer, what they cost, when they are called again."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, iscoroutinefunction, sync_to_async
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from django.utils.safestring import SafeString, mark_safe

from perfkit.caching import TTL, CachedFunction, cache, cached, cached_query, invalidate, token_scope
from perfkit.caching.coherence import breaker
from perfkit.caching.flights import durations
from perfkit.caching.functions.renewal import renew
from perfkit.caching.memory import memory
from perfkit.caching.store import current_store
from perfkit.errors import (
    CacheKeyError,
    KeyTemplateError,
    UncacheableArgumentError,
    UncacheableResultError,
    UnsupportedModelError,
)
from tests.caching.conftest import Outcome, wait_until
from tests.testapp.models import Airfield, Booking, Item, ItemNote, Shelf, Volume

pytestmark = pytest.mark.django_db(transaction=True)

calls: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_called() -> None:
    calls.clear()


def outcomes(reads: list[Outcome]) -> list[str]:
    told = [f"{outcome} {reason}".strip() for _, outcome, reason in reads]
    reads.clear()
    return told


@cached("item:name:{pk}", ttl=TTL.SHORT)
def name_of(pk: int) -> str:
    calls.append(pk)
    return str(Item.plain.get(pk=pk).name)


@cached()
def nothing_read(*args: Any, **kwargs: Any) -> dict[str, Any]:
    calls.append((args, kwargs))
    return {"args": list(args), "kwargs": kwargs}


class TestAnswers:
    def test_it_runs_once_and_answers_as_the_function(self, reads: list[Outcome]) -> None:
        item = Item.objects.create(name="a")
        assert [name_of(item.pk), name_of(pk=item.pk), name_of(item.pk)] == ["a", "a", "a"]
        assert calls == [item.pk]
        assert outcomes(reads) == ["miss", "hit", "hit"]

    def test_each_caller_may_change_what_it_gets(self) -> None:
        for _ in range(2):
            with token_scope():
                for _ in range(3):
                    found = nothing_read(1, a=[2])
                    assert found == {"args": [1], "kwargs": {"a": [2]}}
                    found["kwargs"]["a"].append(3)
        assert len(calls) == 1

    def test_different_calls_are_apart(self) -> None:
        for args in ((1,), (True,), (1.0,), ("1",), (None,), ()):
            assert nothing_read(*args)["args"] == list(args)
            assert [type(each) for each in nothing_read(*args)["args"]] == [type(each) for each in args]
        assert len(calls) == 6

    def test_none_is_not_kept_unless_asked_for(self) -> None:
        @cached("none:{n}")
        def unkept(n: int) -> None:
            calls.append(n)

        @cached("kept:{n}", keep_none=True)
        def kept(n: int) -> None:
            calls.append(n)

        assert [unkept(1), unkept(1), kept(2), kept(2)] == [None] * 4
        assert calls == [1, 1, 2]

    def test_an_error_passes_through_and_is_not_kept_unless_declared(self, reads: list[Outcome]) -> None:
        @cached(keep_errors=[LookupError], negative_ttl=60)
        def found(pk: int, error: str = "LookupError") -> int:
            calls.append(pk)
            raise {"LookupError": LookupError, "KeyError": KeyError, "OSError": OSError}[error]("none", pk)

        for _ in range(2):
            with pytest.raises(LookupError) as raised:
                found(7)
            assert raised.value.args == ("none", 7)
        assert calls == [7]
        for _ in range(2):
            with pytest.raises(OSError, match="none"):
                found(7, "OSError")
        assert calls == [7, 7, 7]
        for _ in range(2):
            with pytest.raises(KeyError):
                found(7, "KeyError")
        assert len(calls) == 5, "what is kept is of the declared class itself"

    def test_an_error_that_is_made_of_more_than_values_is_not_kept(self) -> None:
        @cached(keep_errors=[LookupError])
        def found() -> int:
            calls.append(1)
            raise LookupError(object())

        for _ in range(2):
            with pytest.raises(LookupError):
                found()
        assert len(calls) == 2

    def test_an_absent_row_that_comes_is_found(self) -> None:
        @cached(keep_errors=[Item.DoesNotExist])
        def by_name(name: str) -> int:
            calls.append(name)
            return Item.plain.get(name=name).pk

        for _ in range(2):
            with pytest.raises(Item.DoesNotExist):
                by_name("late")
        item = Item.plain.create(name="late")
        assert [by_name("late"), by_name("late")] == [item.pk, item.pk]
        assert calls == ["late", "late"]

    def test_rows_come_back_as_rows(self) -> None:
        shelf = Shelf.objects.create(name="shelf")
        Volume.objects.create(title="volume", shelf=shelf)

        @cached()
        def volumes() -> list[Volume]:
            return list(Volume.plain.select_related("shelf"))

        for _ in range(2):
            [volume] = volumes()
            with CaptureQueriesContext(connection) as queries:
                assert volume.shelf == shelf
            assert len(queries) == 0
            volume.title += "!"
            volume.save()

    def test_a_declared_type_comes_back(self) -> None:
        @dataclass
        class Stats:
            mean: float
            days: list[dt.date]

        class Pair(NamedTuple):
            low: int
            high: int

        @cached()
        def stats() -> Stats:
            calls.append("stats")
            return Stats(1.5, [dt.date(2024, 1, 1)])

        @cached()
        def pairs() -> list[Pair]:
            calls.append("pairs")
            return [Pair(1, 2)]

        stats._recipe.codec._function.__annotations__["return"] = Stats  # type: ignore[attr-defined]  # it is local
        pairs._recipe.codec._function.__annotations__["return"] = list[Pair]  # type: ignore[attr-defined]
        assert [stats(), stats()] == [Stats(1.5, [dt.date(2024, 1, 1)])] * 2
        assert [pairs()[0].high, pairs()[0].high] == [2, 2]
        assert calls == ["stats", "pairs"]

    def test_what_would_not_come_back_the_same_is_refused_by_its_type(self) -> None:
        @cached()
        def wrong(kind: str) -> Any:
            calls.append(kind)
            return {"object": object(), "rows": Item.plain.all(), "iterator": iter(())}[kind]

        for kind, problem in (
            ("object", "object"),
            ("rows", "return a list"),
            ("iterator", "tuple_iterator"),
        ):
            with pytest.raises(UncacheableResultError, match=f"wrong is cached, and .*{problem}"):
                wrong(kind)

    def test_pickles_are_asked_for_and_signed(self, settings: LazySettings) -> None:
        @cached("pickled:{n}", pickle=True)
        def pickled(n: int) -> Any:
            calls.append(n)
            return complex(n, 1)

        assert [pickled(1), pickled(1)] == [1 + 1j, 1 + 1j]
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "another one, as after a rotation"
        assert pickled(1) == 1 + 1j
        assert calls == [1]
        settings.SECRET_KEY_FALLBACKS = []
        memory.clear()
        assert pickled(1) == 1 + 1j
        assert calls == [1, 1], "signed by somebody else"
        codec = pickled._recipe.codec
        with pytest.raises(ValueError, match="k"):
            codec.unpacked("k", b"\0" * 32 + pickle.dumps(1j))

    def test_pickles_refer_to_themselves_and_share_parts_as_what_was_returned(self) -> None:
        @cached(pickle=True)
        def tree() -> Any:
            root: dict[str, Any] = {"name": "root"}
            leaf = {"name": "leaf", "parent": root}
            root["children"] = [leaf, leaf]
            return root

        for _ in range(3):
            with token_scope():
                for _ in range(2):
                    found = tree()
                    assert found["children"][0] is found["children"][1]
                    assert found["children"][0]["parent"] is found

    def test_safe_text_stays_safe(self) -> None:
        @cached()
        def html() -> str:
            return mark_safe("<b>")

        html()
        assert type(html()) is SafeString

    def test_it_answers_each_language_and_time_zone(self) -> None:
        @cached("greeting")
        def greeting() -> list[str]:
            calls.append(translation.get_language())
            return [translation.gettext("Yes"), timezone.get_current_timezone_name()]

        for _ in range(2):
            for language, zone in (("en", "UTC"), ("de", "UTC"), ("de", "Asia/Tokyo")):
                with translation.override(language), timezone.override(zone):
                    assert greeting() == [translation.gettext("Yes"), zone]
        assert len(calls) == 3
        invalidate("greeting")
        greeting()
        assert len(calls) == 4

    def test_a_large_value_is_answered_and_not_kept(self, reads: list[Outcome]) -> None:
        @cached()
        def noise() -> bytes:
            calls.append(1)
            return b"".join(n.to_bytes(3, "big") for n in range(500_000))

        assert noise() == noise()
        assert len(calls) == 2
        assert outcomes(reads) == ["miss", "bypass size", "bypass size"]


class TestMethods:
    def test_self_is_told_apart_by_its_fields(self) -> None:
        @dataclass
        class Reader:
            prefix: str

            @cached("reader:{self.prefix}:{n}")
            def read(self, n: int) -> str:
                calls.append((self.prefix, n))
                return f"{self.prefix}{n}"

            @cached()
            def unnamed(self) -> str:
                calls.append(self.prefix)
                return self.prefix

        one, other = Reader("a"), Reader("b")
        assert [one.read(1), one.read(1), other.read(1), Reader("a").read(1)] == ["a1", "a1", "b1", "a1"]
        assert [one.unnamed(), other.unnamed(), one.unnamed()] == ["a", "b", "a"]
        assert calls == [("a", 1), ("b", 1), "a", "b"]
        assert one.read.key(1) == "reader:a:1"
        one.read.invalidate(1)
        assert one.read(1) == "a1"
        assert len(calls) == 5
        assert one.read.uncached(2) == "a2"
        assert Reader.read(one, 1) == "a1"
        assert isinstance(Reader.read, CachedFunction)

    def test_a_row_is_its_own_self(self) -> None:
        item = Item.objects.create(name="a")

        @cached()
        def shout(self: Item) -> str:
            calls.append(self.pk)
            return self.name.upper()

        assert [shout(item), shout(Item.plain.get(pk=item.pk))] == ["A", "A"]
        assert calls == [item.pk]
        item.name = "b"
        item.save()
        assert shout(item) == "B", "it read nothing, and yet depends on the row that it was given"

    def test_a_row_that_was_loaded_before_it_was_written_is_another(self) -> None:
        before = Item.objects.create(name="old")
        after = Item.plain.get(pk=before.pk)
        after.name = "new"
        after.save()

        @cached()
        def shout(item: Item) -> str:
            return item.name.upper()

        assert [shout(before), shout(after), shout(Item.plain.get(pk=after.pk))] == ["OLD", "NEW", "NEW"]

    def test_class_methods_are_apart_by_class(self) -> None:
        class Base:
            @classmethod
            @cached()
            def kind(cls) -> str:
                calls.append(cls)
                return cls.__name__

            @staticmethod
            @cached()
            def double(n: int) -> int:
                calls.append(n)
                return 2 * n

        class Derived(Base):
            pass

        assert [Base.kind(), Derived.kind(), Base.kind()] == ["Base", "Derived", "Base"]
        assert [Base.double(2), Derived().double(2)] == [4, 4]
        assert len(calls) == 3

    def test_above_a_class_method_all_of_it_is_of_the_class(self) -> None:
        class Base:
            @cached("stats:{code}")
            @classmethod
            def stats(cls, code: str = "JFK") -> str:
                calls.append(code)
                return f"{cls.__name__} {code}"

            @cached()
            @classmethod
            async def later(cls) -> str:
                calls.append(cls)
                return cls.__name__

        class Derived(Base):
            pass

        assert [Base.stats("LGA"), Derived.stats("LGA"), Derived().stats("LGA")] == [
            "Base LGA",
            "Derived LGA",
            "Derived LGA",
        ]
        assert calls == ["LGA", "LGA"]
        assert Base.stats.key("LGA").startswith("stats:LGA:")
        assert Base.stats.key("LGA") != Derived.stats.key("LGA")
        Base.stats.invalidate("LGA")
        assert [Base.stats("LGA"), Derived.stats("LGA")] == ["Base LGA", "Derived LGA"]
        assert len(calls) == 3
        assert Base.stats.refresh("LGA") == "Base LGA"
        assert Base.stats.uncached() == "Base JFK"
        assert len(calls) == 5
        assert [async_to_sync(Derived.later)(), async_to_sync(Derived.later)()] == ["Derived", "Derived"]
        assert len(calls) == 6

    def test_below_a_class_method_no_call_is_taken_for_another(self) -> None:
        class Base:
            @classmethod
            @cached("stats:{code}")
            def stats(cls, code: str = "JFK") -> str:
                calls.append(code)
                return f"{cls.__name__} {code}"

        asked: Any = Base.stats
        assert [Base.stats(), Base.stats()] == ["Base JFK", "Base JFK"]
        if sys.version_info < (3, 13):
            assert asked.key("LGA").startswith("stats:LGA:")
            asked.invalidate("JFK")
        else:
            for method in (asked.key, asked.invalidate, asked.refresh, asked.uncached, asked.kept_answer):
                with pytest.raises(TypeError, match="Put @cached above @classmethod"):
                    method("JFK")
            asked.invalidate()
        assert Base.stats() == "Base JFK"
        assert calls == ["JFK", "JFK"]

    @pytest.mark.parametrize("arguments", [(), (1,), (1, 2), ("text",)])
    def test_without_parentheses_it_says_what_is_missing(self, arguments: tuple[Any, ...]) -> None:
        def double(n: int = 0) -> int:
            return 2 * n

        bare: Any = cached(double)  # type: ignore[arg-type]  # as `@cached` does
        with pytest.raises(TypeError, match=r"write @cached\(\), with parentheses"):
            bare(*arguments)

    def test_it_is_above_a_static_method(self) -> None:
        with pytest.raises(TypeError, match="Put @staticmethod above @cached"):

            class Base:
                @cached()
                @staticmethod
                def double(n: int) -> int:
                    return 2 * n

    def test_another_self_must_be_named(self) -> None:
        class Service:
            region = "eu"

            @cached()
            def unnamed(self) -> int:
                return 1

            @cached("service:{self.region}")
            def named(self) -> int:
                calls.append(1)
                return 1

        with pytest.raises(UncacheableArgumentError, match=r"argument 'self', of type .*Service"):
            Service().unnamed()
        assert [Service().named(), Service().named()] == [1, 1]
        assert calls == [1]


class TestPromise:
    def test_it_depends_on_every_table_it_reads(self) -> None:
        shelf = Shelf.objects.create(name="shelf")

        @cached()
        def told() -> list[Any]:
            calls.append(1)
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM testapp_airfield")
                [(fields,)] = cursor.fetchall()
            return [
                Item.plain.count(),
                [volume.shelf.name for volume in Volume.plain.select_related("shelf")],
                list(Booking.objects.filter(zone="north").values_list("pk", flat=True)),
                fields,
            ]

        for write in (
            lambda: Item.plain.create(name="a"),
            lambda: Volume.plain.create(title="v", shelf=shelf),
            lambda: Shelf.plain.update(name="other"),
            lambda: Booking.plain.create(zone="north"),
            lambda: Airfield.plain.create(code="JFK"),
        ):
            before = told()
            assert told() == before
            write()
            assert told() != before
            assert told() == told.uncached()

    def test_a_cached_read_within_it_counts_as_finely_as_it_is(self) -> None:
        north = Booking.objects.create(zone="north")

        @cached()
        def zone() -> list[int]:
            calls.append(1)
            return [row.pk for row in Booking.objects.filter(zone="north")]

        assert [zone(), zone()] == [[north.pk]] * 2
        Booking.objects.create(zone="south")
        zone()
        assert len(calls) == (1 if connection.vendor == "postgresql" else len(calls))
        new = Booking.objects.create(zone="north")
        assert sorted(zone()) == [north.pk, new.pk]

    def test_functions_within_functions_count(self, reads: list[Outcome]) -> None:
        item = Item.objects.create(name="a")

        @cached(ttl=600)
        def outer() -> str:
            calls.append("outer")
            return name_of(item.pk) + "!"

        @cached_query()
        def items() -> Any:
            return Item.plain.all()

        @cached()
        def third() -> list[str]:
            return [each.name for each in items()]

        for inner_is_cached in (False, True):
            if inner_is_cached:
                name_of(item.pk)
                items()
            assert (outer(), third()) == (f"{item.name}!", [item.name])
            assert (outer(), third()) == (f"{item.name}!", [item.name])
            item.name += "b"
            item.save()
            assert (outer(), third()) == (f"{item.name}!", [item.name])
            name_of.invalidate(item.pk)
            calls.clear()
            outer()
            assert "outer" in calls, "it was made with what is void now"

    def test_inside_a_transaction_it_sees_its_own_writes_and_keeps_none(self) -> None:
        item = Item.objects.create(name="a")
        name_of(item.pk)
        with transaction.atomic():
            if connection.vendor == "postgresql":
                calls.clear()
                assert name_of(item.pk) == "a"
                assert calls == []
            item.name = "b"
            item.save()
            assert name_of(item.pk) == "b"
            transaction.set_rollback(True)
        assert name_of(item.pk) == "a"

    def test_an_own_transaction_that_is_rolled_back_leaves_nothing(self, reads: list[Outcome]) -> None:
        Item.objects.create(name="a")

        @cached()
        def names() -> list[str]:
            with transaction.atomic():
                Item.plain.update(name="never")
                found = [item.name for item in Item.plain.all()]
                transaction.set_rollback(True)
            return found

        assert names() == ["never"]
        assert outcomes(reads)[-1].startswith("bypass")
        assert names.uncached() == ["never"]

    def test_what_nobody_watches_is_not_kept(self, reads: list[Outcome], caplog: Any) -> None:
        item = Item.objects.create(name="a")
        ItemNote.objects.create(item=item, text="x")

        @cached()
        def users() -> int:
            calls.append(1)
            return User.objects.count()

        users()
        users()
        assert calls == [1, 1]
        assert outcomes(reads) == ["miss", "bypass untracked table", "bypass untracked table"]
        assert "does not watch what is written to auth_user" in caplog.text
        assert caplog.text.count("auth_user") == 1

    def test_what_it_depends_on_may_be_declared(self) -> None:
        @cached(depends_on=[Item], tags=["size:{n}"])
        def size(n: int) -> int:
            calls.append(n)
            return n

        @cached(depends_on=[User])
        def unwatched() -> int:
            return 1

        size(1), size(2), size(1)
        Shelf.plain.create(name="x")
        size(1)
        assert calls == [1, 2]
        Item.plain.create(name="x")
        size(1), size(2), size(2)
        assert calls == [1, 2, 1, 2]
        cache.invalidate_tags("size:1")
        size(1), size(2)
        assert calls == [1, 2, 1, 2, 1]
        with pytest.raises(UnsupportedModelError, match="nobody watches what is written to auth_user"):
            unwatched()

    def test_it_need_not_record(self) -> None:
        @cached(records=False, ttl=600)
        def count() -> int:
            calls.append(1)
            return Item.plain.count()

        count()
        Item.plain.create(name="x")
        assert count() == 0
        count.invalidate()
        assert count() == 1

    def test_a_write_within_a_request_is_seen_by_it(self) -> None:
        item = Item.objects.create(name="a")
        with token_scope():
            assert [name_of(item.pk) for _ in range(3)] == ["a"] * 3
            Item.plain.update(name="b")
            assert [name_of(item.pk) for _ in range(3)] == ["b"] * 3

    def test_it_reads_nothing_while_caching_is_off(
        self, settings: LazySettings, reads: list[Outcome]
    ) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}
        nothing_read()
        nothing_read()
        assert len(calls) == 2
        assert outcomes(reads) == ["bypass disabled"] * 2


class TestControl:
    def test_a_call_is_voided_by_name_pattern_tag_or_function(self) -> None:
        @cached("stats:{kind}:{n}", tags=["kind:{kind}", "all"])
        def stats(kind: str, n: int, days: int = 7) -> list[Any]:
            calls.append((kind, n))
            return [kind, n, days]

        voids: list[tuple[Callable[[], Any], set[tuple[str, int]]]] = [
            (lambda: stats.invalidate("a", 1), {("a", 1)}),
            (lambda: stats.invalidate(n=1, kind="a", days=7), {("a", 1)}),
            (lambda: stats.invalidate("a", 1, days=8), set()),
            (lambda: invalidate("stats:a:1"), {("a", 1)}),
            (lambda: invalidate("stats:a:*"), {("a", 1), ("a", 2)}),
            (lambda: invalidate("stats:*"), {("a", 1), ("a", 2), ("b", 1)}),
            (lambda: invalidate("*"), {("a", 1), ("a", 2), ("b", 1)}),
            (lambda: invalidate(tags=["kind:b"]), {("b", 1)}),
            (lambda: cache.invalidate_tags("all"), {("a", 1), ("a", 2), ("b", 1)}),
            (stats.invalidate, {("a", 1), ("a", 2), ("b", 1)}),
            (lambda: invalidate("stat:*", tags=["kind"]), set()),
        ]
        for void, gone in voids:
            for call in (("a", 1), ("a", 2), ("b", 1)):
                stats(*call)
            void()
            calls.clear()
            for call in (("a", 1), ("a", 2), ("b", 1)):
                stats(*call)
            assert set(calls) == gone

    def test_refresh_replaces_what_everybody_has(self) -> None:
        answers = iter("abc")

        @cached("answer")
        def answer() -> str:
            return next(answers)

        with token_scope():
            assert [answer(), answer()] == ["a", "a"]
            assert answer.refresh() == "b"
        assert answer() == "b"

    def test_a_refresh_that_finds_nothing_leaves_nothing(self) -> None:
        answers: list[Any] = ["old", None, None]

        @cached("answer")
        def answer() -> Any:
            return answers.pop(0)

        assert [answer(), answer()] == ["old", "old"]
        assert answer.refresh() is None
        assert answer() is None

    def test_a_key_is_a_path(self) -> None:
        assert name_of.key(7) == "item:name:7"
        assert nothing_read.key().startswith("tests.caching.functions.test_cached.nothing_read:")
        built = cached(lambda *args: f"own:{len(args)}")(lambda *args: list(args))
        assert built.key(1, 2) == "own:2"

    def test_a_template_that_does_not_fit_is_refused_at_once(self) -> None:
        for options in ({"key": "a:{pkk}"}, {"tags": ["{pkk}"]}):
            with pytest.raises(KeyTemplateError, match=r"'pkk'\. Did you mean 'pk'"):
                cached(**options)(lambda pk: pk)  # type: ignore[arg-type]

    @pytest.mark.parametrize("options", [{"ttl": 0}, {"ttl": 1.5}, {"negative_ttl": -1}, {"stale_ttl": "x"}])
    def test_times_are_whole_seconds(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="whole number of seconds"):
            cached(**options)

    def test_another_version_is_another_function(self) -> None:
        def made(version: int) -> Any:
            def shape() -> int:
                calls.append(version)
                return version

            return cached("shape", version=version)(shape)

        assert [made(1)(), made(2)(), made(1)()] == [1, 2, 1]
        assert calls == [1, 2]


class TestNames:
    """Different calls of different functions never share an answer."""

    def test_a_key_function_is_asked_each_time(self) -> None:
        tenant = ["a"]

        @cached(lambda n: f"tenant:{tenant[0]}:{n}")
        def of_tenant(n: int) -> str:
            return f"{tenant[0]}{n}"

        assert of_tenant(1) == "a1"
        tenant[0] = "b"
        assert of_tenant(1) == "b1"

    def test_functions_of_one_name_are_apart(self) -> None:
        one, other = cached()(lambda n: n + 1), cached()(lambda n: n * 2)
        assert [one(10), other(10), one(10)] == [11, 20, 11]

        def times(factor: int) -> Any:
            @cached()
            def multiplied(n: int) -> int:
                return factor * n

            return multiplied

        assert [times(2)(10), times(3)(10), times(2)(10)] == [20, 30, 20]

    def test_functions_under_a_careless_decorator_are_apart(self) -> None:
        def careless(function: Any) -> Any:
            def wrapper() -> Any:
                return function()

            return cached()(wrapper)

        one, two = careless(lambda: "one"), careless(lambda: "two")
        assert [one(), two(), one(), two()] == ["one", "two", "one", "two"]

    def test_an_object_in_a_template_is_refused(self) -> None:
        item = Item.objects.create(name="a")

        @cached("item:{item}")
        def told(item: Any) -> int:
            return 1

        for wrong in (item, object(), [1]):
            with pytest.raises(UncacheableArgumentError, match=r"key=\"…:\{item\.id\}\""):
                told(wrong)

    def test_any_text_names_a_tag(self) -> None:
        @cached("city:{name}", tags=["city-tag:{name}"])
        def city(name: str) -> int:
            calls.append(1)
            return 1

        for name in ("New York", "a:b", "Zürich", "50%", "x" * 70):
            city(name)
            calls.clear()
            city(name)
            assert calls == []
            invalidate(tags=[f"city-tag:{name}"])
            city(name)
            assert calls == [1]

    def test_lists_of_names_are_no_texts(self) -> None:
        for call in (lambda: invalidate(tags="all"), lambda: cache.set("a", 1, tags="all")):
            with pytest.raises(CacheKeyError, match="tags are a list"):
                call()
        with pytest.raises(CacheKeyError, match="tags are a list"):
            cached(tags="all")(lambda: 1)

    def test_long_arguments_make_no_long_key(self) -> None:
        @cached("long:{a}:{b}:{c}:{d}")
        def long(a: str, b: str, c: str, d: str) -> str:
            calls.append(1)
            return a

        assert [long(*[letter * 60 for letter in "abcd"]) for _ in range(2)] == ["a" * 60] * 2
        assert len(long.key(*[letter * 60 for letter in "abcd"])) <= 200
        assert calls == [1]

    def test_a_pattern_voids_what_has_a_long_key_too(self) -> None:
        @cached("long:{a}:{b}:{c}:{d}")
        def long(a: str, b: str, c: str, d: str) -> int:
            calls.append(a)
            return len(calls)

        values = [letter * 60 for letter in "abcd"]
        assert [long(*values), long(*values)] == [1, 1]
        for number, parts in enumerate((3, 2, 1, 0), start=2):
            invalidate(":".join(["long", *values[:parts], "*"]))
            assert [long(*values), long(*values)] == [number, number]
        invalidate(long.key(*values))
        assert long(*values) == 6

    def test_it_is_found_by_its_name_in_copies_and_pickles(self) -> None:
        assert pickle.loads(pickle.dumps(name_of)) is name_of  # noqa: S301  # our own
        assert copy.deepcopy([name_of]) == [name_of]


class TestQuerysets:
    def test_one_that_was_evaluated_is_refused(self) -> None:
        @cached()
        def names_in(rows: Any) -> list[Any]:
            return list(rows)

        rows = Item.plain.all()
        Item.plain.create(name="a")
        assert [item.name for item in names_in(rows)] == ["a"]
        assert [item.name for item in names_in(rows.all())] == ["a"]
        list(rows)
        with pytest.raises(UncacheableArgumentError, match="evaluated before"):
            names_in(rows)
        assert names_in(Item.plain.values("name")) == [{"name": "a"}]
        assert names_in(Item.plain.values_list("name")) == [("a",)]
        assert names_in(Item.plain.values_list("name", flat=True)) == ["a"]

    def test_one_that_was_read_before_is_not_kept(self, reads: list[Outcome]) -> None:
        Item.plain.create(name="a")
        rows = Item.objects.all()

        @cached()
        def names() -> list[str]:
            return [item.name for item in rows]

        list(rows)
        assert names() == ["a"]
        assert outcomes(reads)[-1] == "bypass read before"
        Item.plain.create(name="b")
        rows = Item.objects.all()
        assert names() == ["a", "b"]


@pytest.mark.redis
class TestOutage:
    @pytest.mark.parametrize(
        "read",
        [lambda: nothing_read(1), lambda: cache.get("a"), lambda: cache.get_many(["a"])],
        ids=["function", "get", "get_many"],
    )
    def test_what_is_known_comes_back_after_it(self, read: Any) -> None:
        cache.set("a", 1)
        for _ in range(3):
            read()
        breaker.failed("a blip")
        time.sleep(0.15)
        read()
        assert not breaker.is_open


class TestCost:
    def test_a_hit_costs_no_query_and_a_miss_one_more_round_trip(self) -> None:
        item = Item.objects.create(name="a")
        name_of(item.pk)
        with CaptureQueriesContext(connection) as queries:
            name_of(item.pk)
        assert len(queries) == 0

    @pytest.mark.redis
    def test_its_round_trips(self, monkeypatch: pytest.MonkeyPatch) -> None:
        item = Item.objects.create(name="a")
        store: Any = current_store()
        trips: list[str] = []
        for name in ("look", "recall", "take", "tokens", "read", "fill", "lease", "release", "mark", "void"):
            original = getattr(store, name)

            def counted(*args: Any, _name: str = name, _original: Any = original, **kwargs: Any) -> Any:
                trips.append(_name)
                return _original(*args, **kwargs)

            monkeypatch.setattr(store, name, counted)

        def cost(function: Callable[[], Any]) -> list[str]:
            trips.clear()
            function()
            return list(trips)

        cost(lambda: name_of(item.pk))
        assert cost(lambda: name_of(item.pk)) == ["look"]
        assert cost(lambda: name_of(item.pk)) == ["tokens"], "this process has the value"
        name_of.invalidate(item.pk)
        durations.clear()
        durations.took(name_of.name, 0.0)
        assert cost(lambda: name_of(item.pk)) == ["tokens", "look", "fill"], "the tables are known"
        name_of._recipe.tags_of.clear()
        memory.clear()
        assert cost(lambda: name_of(item.pk)) == ["recall"], "as in a process that has just started"
        with token_scope():
            name_of(item.pk)
            assert cost(lambda: [name_of(item.pk) for _ in range(5)]) == []


class TestTogether:
    def test_of_many_that_miss_together_one_computes(self) -> None:
        @cached()
        def slow() -> int:
            calls.append(threading.get_ident())
            time.sleep(0.3)
            return 1

        answers: list[int] = []

        def ask() -> None:
            answers.append(slow())
            connections.close_all()

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [1] * 8
        assert len(calls) == 1

    def test_if_the_one_fails_another_takes_over(self) -> None:
        @cached()
        def fails_once() -> int:
            calls.append(1)
            time.sleep(0.2)
            if len(calls) == 1:
                raise OSError("the first")
            return 2

        answers: list[Any] = []

        def ask() -> None:
            try:
                answers.append(fails_once())
            except OSError as error:
                answers.append(str(error))
            connections.close_all()

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
            time.sleep(0.02)
        for thread in threads:
            thread.join()
        assert sorted(map(str, answers)) == ["2", "2", "2", "the first"]
        assert 2 <= len(calls) <= 4, "whoever has waited in vain waits for nobody else"

    def test_who_has_waited_in_vain_waits_for_nobody_else(self) -> None:
        @cached()
        def nothing() -> None:
            calls.append(1)
            time.sleep(0.3)

        def ask() -> None:
            nothing()
            connections.close_all()

        started = time.monotonic()
        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - started < 4 * 0.3 + 0.5

    def test_others_may_take_the_former_value_meanwhile(
        self, monkeypatch: pytest.MonkeyPatch, reads: list[Outcome]
    ) -> None:
        monkeypatch.setattr("perfkit.caching.flights.LEAST_LEASE_SECONDS", 10.0)
        going_on = threading.Event()

        @cached(stale_ttl=60)
        def slow() -> int:
            calls.append(1)
            if len(calls) > 1:
                going_on.wait(10)
            time.sleep(0.02)
            return len(calls)

        assert slow() == 1
        slow.invalidate()
        answers: list[int] = []

        def make_anew() -> None:
            answers.append(slow())
            connections.close_all()

        thread = threading.Thread(target=make_anew)
        thread.start()
        wait_until(lambda: len(calls) == 2)
        assert slow() == 1, f"the former one, while it is made anew: {reads}"
        going_on.set()
        thread.join()
        assert answers == [2]
        assert slow() == 2

    def test_it_is_made_anew_shortly_before_it_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("perfkit.caching.named.making.REFRESH_SHARE", 0.9)

        @cached("ahead", ttl=10, refresh_ahead=True)
        def ahead() -> int:
            calls.append(threading.current_thread().name)
            return len(calls)

        assert [ahead(), ahead()] == [1, 1]
        time.sleep(1.1)
        assert [ahead() for _ in range(5)] == [1] * 5 or len(calls) == 2
        wait_until(lambda: ahead() == 2)
        assert len(calls) == 2
        assert calls[1].startswith("perfkit-renewal")


class TestAsync:
    @pytest.fixture(autouse=True)
    def _connections(self) -> Iterator[None]:
        yield
        connection.close()

    def test_coroutines_are_cached_too(self, reads: list[Outcome]) -> None:
        item = Item.objects.create(name="a")

        @cached("async:{pk}")
        async def name(pk: int) -> str:
            calls.append(pk)
            await asyncio.sleep(0)
            return str((await Item.plain.aget(pk=pk)).name)

        assert iscoroutinefunction(name)

        async def twice() -> list[str]:
            return [await name(item.pk), await name(item.pk)]

        assert async_to_sync(twice)() == ["a", "a"]
        assert calls == [item.pk]
        assert outcomes(reads) == ["miss", "hit"]
        Item.plain.update(name="b")
        assert async_to_sync(twice)() == ["b", "b"]

        async def control() -> list[Any]:
            found = [await name.refresh(item.pk), await name.uncached(item.pk)]
            await name.ainvalidate(item.pk)
            return [*found, await name(item.pk)]

        calls.clear()
        assert async_to_sync(control)() == ["b", "b", "b"]
        assert len(calls) == 3

    def test_a_renewal_asks_nothing_in_the_event_loop_or_in_threads_of_the_request(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("perfkit.caching.named.making.REFRESH_SHARE", 0.9)
        monkeypatch.setattr(
            "perfkit.caching.functions.cached.renew",
            lambda *args: (asked.append(threading.current_thread()), renew(*args)),
        )
        asked: list[threading.Thread] = []

        @cached(ttl=10, refresh_ahead=True)
        async def ahead() -> int:
            calls.append(await sync_to_async(lambda: threading.current_thread().name)())
            return await Item.plain.acount() + len(calls)

        async def request() -> int:
            async with ThreadSensitiveContext():
                try:
                    return await ahead()
                finally:
                    await sync_to_async(connections.close_all)()

        assert asyncio.run(request()) == 1
        time.sleep(1.1)
        assert asyncio.run(request()) == 1
        wait_until(lambda: asyncio.run(request()) == 2)
        assert calls[1].startswith("perfkit-renewal")
        assert threading.main_thread() not in asked

    def test_of_many_coroutines_one_computes(self) -> None:
        @cached()
        async def slow() -> int:
            calls.append(1)
            await asyncio.sleep(0.2)
            return await Item.plain.acount()

        async def together() -> list[int]:
            return await asyncio.gather(*[slow() for _ in range(8)])

        assert async_to_sync(together)() == [0] * 8
        assert len(calls) == 1

    def test_an_async_method_and_errors(self) -> None:
        @dataclass
        class Reader:
            prefix: str

            @cached(keep_errors=[LookupError])
            async def read(self, n: int) -> str:
                calls.append(n)
                if n < 0:
                    raise LookupError(n)
                return f"{self.prefix}{n}"

        async def read() -> list[str]:
            found = []
            for n in (1, 1, -1, -1):
                try:
                    found.append(await Reader("a").read(n))
                except LookupError as error:
                    found.append(repr(error))
            return found

        assert async_to_sync(read)() == ["a1", "a1", "LookupError(-1)", "LookupError(-1)"]
        assert calls == [1, -1]

    def test_a_cancelled_one_leaves_no_lease(self) -> None:
        @cached()
        async def slow() -> int:
            calls.append(1)
            await asyncio.sleep(10 if len(calls) == 1 else 0)
            return len(calls)

        async def cancelled() -> int:
            task = asyncio.ensure_future(slow())
            while not calls:  # noqa: ASYNC110  # it runs in this loop
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            started = time.monotonic()
            found = await slow()
            assert time.monotonic() - started < 1.0
            return found

        assert async_to_sync(cancelled)() == 2

    def test_in_the_event_loop_a_plain_function_is_refused_as_a_query_is(self) -> None:
        from django.core.exceptions import SynchronousOnlyOperation

        async def called() -> Any:
            return nothing_read()

        with pytest.raises(SynchronousOnlyOperation):
            asyncio.run(called())
