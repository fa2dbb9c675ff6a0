"""The straight way to a hit: when it is taken, that it shows nothing which the other would not, what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import LazySettings
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection, transaction
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from perfkit.caching import cache, cached, token_scope
from perfkit.caching.coherence import breaker, outbox
from perfkit.caching.flights import durations
from perfkit.caching.named import straight as module
from perfkit.caching.named.held import MISSING
from perfkit.caching.named.standing import current_standing
from perfkit.caching.named.straight import straight
from perfkit.caching.store import StoreError, current_store
from tests.caching.conftest import Outcome, write_unseen
from tests.testapp.models import Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

Trips = Callable[[Callable[[], Any]], list[str]]


@cached("item:names:{prefix}", records=True)
def names(prefix: str) -> list[str]:
    return list(Item.plain.filter(name__startswith=prefix).order_by("name").values_list("name", flat=True))


@cached("item:all-names")
def all_names() -> list[str]:
    return [name for prefix in "ab" for name in names(prefix)]


@cached("item:names-async:{prefix}")
async def names_async(prefix: str) -> list[str]:
    return await sync_to_async(names.uncached)(prefix)


@pytest.fixture(params=["request", "strict", "off"])
def memory_mode(request: pytest.FixtureRequest, settings: LazySettings) -> str:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY": request.param}
    return str(request.param)


@pytest.fixture
def _shared_only(settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY": "off"}


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> Trips:
    """Return what a call has asked the store for."""
    store: Any = current_store()
    made: list[str] = []
    for name in ("look", "recall", "take", "tokens", "fill", "lease", "release"):
        original = getattr(store, name)

        def counted(*args: Any, _name: str = name, _original: Any = original, **kwargs: Any) -> Any:
            made.append(_name)
            return _original(*args, **kwargs)

        monkeypatch.setattr(store, name, counted)

    def asked(function: Callable[[], Any]) -> list[str]:
        made.clear()
        function()
        return list(made)

    return asked


@pytest.fixture
def _kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one value kept, by a process that has seen it at the server too; nothing takes long to make."""
    Item.objects.create(name="a")
    for _ in range(3):
        names("a")
    monkeypatch.setitem(durations._seconds, names.name, 0.0)


def asked() -> Any:
    """Return what the straight way has for the value that is kept."""
    found, _ = straight(names.recipe, names.named("a"), current_standing())
    return found


@pytest.mark.usefixtures("_kept")
class TestTaken:
    def test_the_usual_hit_takes_it_in_one_trip(
        self, memory_mode: str, trips: Trips, reads: list[Outcome]
    ) -> None:
        assert trips(asked) == ["look" if memory_mode == "off" else "tokens"]
        assert asked() == ["a"]
        assert [outcome for _, outcome, _ in reads[-2:]] == ["hit", "hit"]
        assert trips(lambda: names("a")) == ["look" if memory_mode == "off" else "tokens"]

    def test_coroutines_take_it_too(self, memory_mode: str, trips: Trips) -> None:
        for _ in range(3):
            assert async_to_sync(names_async)("a") == ["a"]
        asked_for = trips(lambda: async_to_sync(names_async)("a"))
        assert asked_for == ["look" if memory_mode == "off" else "tokens"]
        Item.objects.create(name="aa")
        assert async_to_sync(names_async)("a") == ["a", "aa"]

    def test_values_kept_by_hand_take_it_where_the_process_has_them(
        self, memory_mode: str, trips: Trips
    ) -> None:
        cache.set("by-hand", [1])
        assert cache.get("by-hand") == [1]
        assert trips(lambda: cache.get("by-hand")) == ["recall" if memory_mode == "off" else "tokens"]
        cache.set("by-hand", [2])
        assert cache.get("by-hand") == [2]

    @pytest.mark.usefixtures("memory_mode")
    def test_what_was_written_is_not_shown(self) -> None:
        Item.objects.create(name="aa")
        assert asked() is MISSING
        assert names("a") == ["a", "aa"]

    @pytest.mark.usefixtures("memory_mode")
    def test_what_it_shows_is_the_callers_own(self) -> None:
        asked().append("b")
        assert asked() == ["a"]

    @pytest.mark.usefixtures("memory_mode")
    def test_who_is_made_of_it_depends_on_what_it_depends_on(self) -> None:
        assert all_names() == ["a"]
        names("b")
        all_names.invalidate()
        assert all_names() == ["a"], "made of two hits"
        Item.objects.create(name="b")
        assert all_names() == ["a", "b"]

    def test_the_first_read_of_a_scope_asks_for_others_too(self, trips: Trips) -> None:
        with token_scope():
            assert trips(asked) == []
            assert trips(lambda: names("a")) == ["tokens"]
            assert trips(asked) == ["tokens"], "for it does not look at what is known without asking"
            assert trips(lambda: names("a")) == []


@pytest.mark.usefixtures("_kept", "memory_mode")
class TestNotTaken:
    def test_within_a_transaction(self) -> None:
        with transaction.atomic():
            assert asked() is MISSING
        assert asked() == ["a"]

    def test_in_a_session_of_its_own(self) -> None:
        if connection.vendor != "postgresql":
            pytest.skip("SQLite has no such settings")
        with connection.cursor() as cursor:
            cursor.execute("SET search_path TO public")
        try:
            assert asked() is MISSING
        finally:
            connection.close()

    def test_where_an_outbox_is_due(self) -> None:
        outbox.look_again(connection.alias)
        assert asked() is MISSING

    def test_where_somebody_writes_in_silence(self) -> None:
        outbox._distrusted[connection.alias] = frozenset(names.recipe.tags_of[names.named("a").key])
        assert asked() is MISSING

    def test_where_the_server_is_silent(self) -> None:
        breaker.failed("gone")
        try:
            assert asked() is MISSING
        finally:
            breaker.succeeded()

    def test_where_the_cache_is_off(self, settings: LazySettings) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}
        assert asked() is MISSING

    def test_while_a_writer_is_under_way(self) -> None:
        store: Any = current_store()
        tags = names.recipe.tags_of[names.named("a").key]
        store.mark([tag for tag in tags if tag[0] == "a"], writer="w")
        assert asked() is MISSING

    def test_in_an_event_loop(self) -> None:
        async def ask() -> None:
            with pytest.raises(SynchronousOnlyOperation):
                asked()

        asyncio.run(ask())

    def test_where_the_server_fails_nobody_asks_it_once_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked_for: list[Any] = []

        def fail(*args: Any) -> None:
            asked_for.append(args)
            raise StoreError("gone")

        for name in ("look", "tokens", "recall", "take"):
            monkeypatch.setattr(current_store(), name, fail)
        try:
            assert names("a") == ["a"], "of the database"
            assert len(asked_for) == 1
        finally:
            breaker.succeeded()


@pytest.mark.usefixtures("_kept", "_shared_only")
class TestInVain:
    def test_what_it_has_fetched_is_not_fetched_again(self, trips: Trips) -> None:
        Item.objects.create(name="aa")
        assert trips(lambda: names("a")) == ["look", "fill"]
        assert names("a") == ["a", "aa"]

    def test_it_is_fetched_again_where_an_outbox_has_become_due(
        self, trips: Trips, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Item.objects.create(name="aa")
        fetch = module._fetched

        def late(*args: Any) -> Any:
            try:
                return fetch(*args)
            finally:
                write_unseen("testapp_item")
                outbox.look_again(connection.alias)

        monkeypatch.setattr(module, "_fetched", late)
        assert trips(lambda: names("a"))[:2] == ["look", "look"]

    def test_damage_is_no_value(self) -> None:
        store: Any = current_store()
        key, tags = names.named("a").key, names.recipe.tags_of[names.named("a").key]
        stored = store.look(key, tags).entry
        assert stored is not None
        store.fill({key: stored[:-1] + bytes([stored[-1] ^ 1])}, ttl_seconds=60)
        assert asked() is MISSING
        assert names("a") == ["a"]


@pytest.fixture
def _three_items() -> Iterator[None]:
    for name in "abc":
        Item.objects.create(name=name)
    yield
    Item.plain.all().delete()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.sampled_from("abc")),
        st.tuples(st.just("rename"), st.tuples(st.sampled_from("abc"), st.sampled_from("abc"))),
        st.tuples(st.just("void"), st.sampled_from("abc")),
    ),
    max_size=12,
)


@pytest.mark.usefixtures("_three_items", "memory_mode")
@examples(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_in_any_order_it_answers_as_the_function_itself(steps: list[tuple[str, Any]]) -> None:
    for what, which in steps:
        match what:
            case "read":
                assert names(which) == names.uncached(which)
            case "rename":
                Item.objects.filter(name=which[0]).update(name=which[1])
            case _:
                names.invalidate(which)
