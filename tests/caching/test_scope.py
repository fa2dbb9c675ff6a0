"""Within a request, tokens are asked for once; a write of this process is seen by every request in it."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.core.signals import request_finished, request_started
from django.db import connection, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.utils import timezone

from perfkit.caching import coherence, token_scope
from perfkit.caching import reads as reads_room
from perfkit.caching.databases import tag_scope
from perfkit.caching.memory import memory
from perfkit.caching.scope import TokenScope, current_scope
from perfkit.caching.store import StoreError, current_store
from perfkit.caching.tags import any_write_tag, table_tag
from perfkit.models import PendingInvalidation
from tests.caching.conftest import Outcome
from tests.testapp.models import Bundle, Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@pytest.fixture
def item() -> Item:
    """A row that is in the cache, and in this process."""
    made = Item.plain.create(name="old", count=1)
    for _ in range(3):
        Item.objects.get(pk=made.pk)
        list(Item.objects.filter(count=1))
    return made


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One number for each round trip to the cache server: of the tags it asks for."""
    store = type(current_store())
    counted: list[int] = []
    read, tokens = store.read, store.tokens
    monkeypatch.setattr(
        store, "read", lambda self, key, tags: (counted.append(len(tags)), read(self, key, tags))[1]
    )
    monkeypatch.setattr(
        store, "tokens", lambda self, tags: (counted.append(len(tags)), tokens(self, tags))[1]
    )
    return counted


def elsewhere(sql: str) -> None:
    """Write as another process does: this one's scopes hear nothing of it."""

    def write() -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)
        connections.close_all()

    from perfkit.caching import coherence

    forget = coherence.forget_everywhere
    coherence.forget_everywhere = lambda tags: None
    try:
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    finally:
        coherence.forget_everywhere = forget


def name(item: Item) -> str:
    return Item.objects.get(pk=item.pk).name


class TestRoundTrips:
    def test_it_asks_once_in_a_request(self, item: Item, trips: list[int], reads: list[Outcome]) -> None:
        reads.clear()
        for _ in range(2):
            trips.clear()
            with token_scope():
                for _ in range(5):
                    assert name(item) == "old"
                    assert len(list(Item.objects.filter(count=1))) == 1
        assert len(trips) == 1, "the tags of late reads come along with the first"
        assert {outcome for _, outcome, _ in reads} == {"hit"}

    def test_it_asks_at_each_read_outside_of_one(self, item: Item, trips: list[int]) -> None:
        for _ in range(3):
            assert name(item) == "old"
        assert trips == [2, 2, 2]

    def test_it_asks_at_each_read_where_it_is_strict(
        self, item: Item, trips: list[int], settings: LazySettings
    ) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY": "strict"}
        with token_scope():
            for _ in range(3):
                assert name(item) == "old"
        assert trips == [2, 2, 2]

    def test_it_keeps_nothing_in_the_process_where_it_is_off(
        self, item: Item, settings: LazySettings
    ) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY": "off"}
        memory.clear()
        for _ in range(3):
            assert name(item) == "old"
        assert memory._held == {}


class TestPromise:
    def test_it_is_no_older_than_the_first_question_of_the_request(self, item: Item) -> None:
        with token_scope():
            assert name(item) == "old"
            elsewhere("UPDATE testapp_item SET name = 'new'")
            assert name(item) in {"old", "new"}
        with token_scope():
            assert name(item) == "new"

    @pytest.mark.parametrize("mode", ["strict", "off"])
    def test_it_is_never_older_where_it_is_strict(
        self, item: Item, mode: str, settings: LazySettings
    ) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY": mode}
        with token_scope():
            for value in ("one", "two", "three"):
                elsewhere(f"UPDATE testapp_item SET name = '{value}'")
                assert name(item) == value
                assert [each.name for each in Item.objects.filter(count=1)] == [value]

    def test_it_forgets_also_where_the_end_of_the_write_is_interrupted(
        self, item: Item, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class TimeLimitError(BaseException):
            """As a signal handler raises it, wherever the code happens to be."""

        def interrupted(*_: object, **__: object) -> None:
            raise TimeLimitError

        with token_scope():
            assert name(item) == "old"
            monkeypatch.setattr(type(current_store()), "done", interrupted)
            with pytest.raises(TimeLimitError):
                Item.plain.filter(pk=item.pk).update(name="new")
            assert name(item) == "new"

    @pytest.mark.parametrize("is_atomic", [False, True])
    def test_it_sees_its_own_writes(self, item: Item, is_atomic: bool) -> None:
        with token_scope():
            for value in ("one", "two"):
                assert name(item) != value
                if is_atomic:
                    with transaction.atomic():
                        Item.plain.filter(pk=item.pk).update(name=value)
                        assert name(item) == value
                else:
                    Item.plain.filter(pk=item.pk).update(name=value)
                assert name(item) == value
                assert [each.name for each in Item.objects.filter(count=1)] == [value]

    def test_it_sees_the_writes_of_another_request_of_the_process(self, item: Item) -> None:
        def write() -> None:
            with token_scope():
                Item.plain.filter(pk=item.pk).update(name="new")
            connections.close_all()

        with token_scope():
            assert name(item) == "old"
            thread = threading.Thread(target=write)
            thread.start()
            thread.join()
            assert name(item) == "new"

    def test_it_remembers_no_token_that_it_asked_for_before_a_write(self) -> None:
        scope = TokenScope()
        moment = scope.moment
        scope.forget(["r:1"])
        scope.remember(["r:1", "r:2"], [b"g1", b"g2"], moment=moment)
        assert not scope.knows(["r:2"], [b"g2"])
        scope.remember(["r:1", "r:2"], [b"g1", b"g2"], moment=scope.moment)
        assert scope.knows(["r:1", "r:2"], [b"g1", b"g2"])
        assert not scope.knows(["r:1", "r:2"], [b"g1", b"g3"])
        assert not scope.knows(["r:1", "r:3"], [b"g1", None])

    def test_it_remembers_nothing_that_it_asks_for_after_a_write_of_which_the_server_does_not_know(
        self, item: Item, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The write begins and returns between the look whether the cache may be trusted and the question."""
        look = reads_room.usable_store

        def unheard(*_: object, **__: object) -> None:
            raise StoreError("a packet was lost")

        def write() -> None:
            with monkeypatch.context() as patched:
                patched.setattr(type(current_store()), "mark", unheard)
                Item.plain.filter(pk=item.pk).update(name="new")
            connections.close_all()

        def look_and_be_slow(*args: Any) -> Any:
            monkeypatch.setattr(reads_room, "usable_store", look)
            store = look(*args)
            thread = threading.Thread(target=write)
            thread.start()
            thread.join()
            return store

        monkeypatch.setattr(reads_room, "usable_store", look_and_be_slow)
        with token_scope():
            assert name(item) == "old"  # began before the write
            assert [name(item) for _ in range(3)] == ["new"] * 3

    def test_it_heeds_the_transaction_of_a_connection_that_took_the_place_of_another(
        self, item: Item
    ) -> None:
        before = connections["default"]
        with token_scope():
            assert [name(item) for _ in range(3)] == ["old"] * 3
            del connections["default"]
            try:
                with transaction.atomic():
                    Item.plain.filter(pk=item.pk).update(name="new")
                    assert name(item) == "new"
                    transaction.set_rollback(True)
            finally:
                connections["default"].close()
                connections["default"] = before
            assert name(item) == "old"

    @pytest.mark.postgres
    def test_it_does_not_ask_for_tokens_of_a_table_that_another_process_writes_in_silence(
        self, item: Item
    ) -> None:
        bundle = Bundle.objects.create(title="a")
        for _ in range(3):
            Bundle.objects.get(pk=bundle.pk)
        with token_scope():
            assert name(item) == "old"
        scope = tag_scope(connections["default"])
        silent = [table_tag(scope, "testapp_item"), any_write_tag(scope, "testapp_item")]
        driver = connection.connection  # past perfkit, as another process is
        driver.execute("UPDATE testapp_item SET name = 'new'")
        PendingInvalidation.objects.create(
            tags=json.dumps(silent), writer="0a", holds_until=timezone.now() + timedelta(minutes=1)
        )
        coherence.outbox.look_again("default")
        with token_scope():
            assert Bundle.objects.get(pk=bundle.pk).title == "a"  # the first read asks for late tokens too
            assert [name(item) for _ in range(3)] == ["new"] * 3
            assert [each.name for each in Item.objects.filter(count=1)] == ["new"]

    def test_it_remembers_no_writer_in_flight(self) -> None:
        scope = TokenScope()
        scope.remember(["r:1", "r:2"], [b"w0a@5", None], moment=scope.moment)
        assert scope.is_new

    def test_it_goes_to_the_database_while_a_write_is_in_flight(
        self, item: Item, reads: list[Outcome]
    ) -> None:
        from perfkit.caching.databases import tag_scope
        from perfkit.caching.tags import any_write_tag

        tag = any_write_tag(tag_scope(connection), "testapp_item")
        store = current_store()
        assert store is not None
        store.mark([tag], writer="0a")
        with token_scope():
            for _ in range(2):
                assert len(list(Item.objects.filter(count=1))) == 1
        assert [outcome for _, outcome, _ in reads[-2:]] == ["bypass", "bypass"]
        store.done([tag], writer="0a")


class TestMemory:
    def test_it_hands_out_objects_of_their_own(self) -> None:
        Bundle.plain.create(title="a", extra={"n": [1]})
        with token_scope():
            found = [Bundle.objects.all()[0] for _ in range(4)]
            found[3].extra["n"].append(2)
            found[3].title = "changed"
            assert [each.extra for each in found[:3]] == [{"n": [1]}] * 3
            assert Bundle.objects.all()[0].title == "a"

    def test_it_stays_within_its_bytes(self, settings: LazySettings) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY_BYTES": 20_000}
        items = Item.plain.bulk_create(Item(name="x" * 30) for _ in range(60))
        for _ in range(3):
            for each in items:
                assert name(each) == "x" * 30
        assert 0 < memory._size_bytes <= 20_000
        assert memory._size_bytes == sum(held.size_bytes for held in memory._held.values())
        assert len(memory._held) < 60

    def test_it_holds_nothing_that_is_larger_than_all_its_room(
        self, item: Item, settings: LazySettings
    ) -> None:
        memory.clear()
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY_BYTES": 0}
        assert [name(item) for _ in range(3)] == ["old"] * 3
        assert memory._held == {}

    def test_it_lets_go_of_what_was_read_longest_ago(self) -> None:
        memory.clear()
        for key in ("a", "b", "a", "c"):
            if memory.get(key) is None:
                memory.put(key, (), [(key,)], size_bytes=40, seconds=60)
        assert list(memory._held) == ["b", "a", "c"]

    def test_it_forgets_at_the_end_of_an_entrys_time(self) -> None:
        memory.put("k", (), [(1,)], size_bytes=40, seconds=-0.001)
        assert memory.get("k") is None


def shown(request: HttpRequest) -> HttpResponse:
    scope = current_scope()
    names = [item.name for item in Item.objects.order_by("id")]
    if request.method == "POST":
        Item.plain.update(name="posted")
        names = [item.name for item in Item.objects.order_by("id")]
    return HttpResponse(f"{scope is not None} {names}")


async def ashown(request: HttpRequest) -> HttpResponse:
    scope = current_scope()
    names = [item.name async for item in Item.objects.order_by("id")]
    again = [item.name async for item in Item.objects.order_by("id")]
    return HttpResponse(f"{scope is not None} {names if names == again else 'differs'}")


urlpatterns = [path("shown", shown), path("ashown", ashown)]


class TestRequests:
    @pytest.fixture(autouse=True)
    def _pages(self, settings: LazySettings) -> None:
        settings.ROOT_URLCONF = __name__
        settings.MIDDLEWARE = []

    @pytest.mark.parametrize("page", ["/shown", "/ashown"])
    def test_it_is_a_scope(self, item: Item, page: str, trips: list[int]) -> None:
        for _ in range(3):
            trips.clear()
            assert Client().get(page).content.decode() == "True ['old']"
        assert len(trips) == 1
        assert current_scope() is None
        elsewhere("UPDATE testapp_item SET name = 'new'")
        assert Client().get(page).content.decode() == "True ['new']"

    def test_it_sees_what_the_request_wrote(self, item: Item) -> None:
        assert Client().post("/shown").content.decode() == "True ['posted']"

    @pytest.mark.parametrize("page", ["/shown", "/ashown"])
    def test_it_is_one_under_asgi_with_the_middleware(
        self, item: Item, page: str, settings: LazySettings
    ) -> None:
        settings.MIDDLEWARE = ["perfkit.caching.middleware.request_scope"]

        async def get() -> bytes:
            return (await AsyncClient().get(page)).content

        assert async_to_sync(get)().decode() == "True ['old']"
        assert Client().get(page).content.decode() == "True ['old']"
        assert current_scope() is None

    def test_it_ends_with_the_request(self) -> None:
        request_started.send(sender=self.__class__, environ={})
        first = current_scope()
        request_started.send(sender=self.__class__, environ={})
        assert current_scope() is not first
        request_finished.send(sender=self.__class__)
        assert current_scope() is None
