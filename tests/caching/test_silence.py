"""Writing while the server cannot be told: one notice, and then nothing, for as long as it holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import DatabaseError, IntegrityError, connection, transaction

from perfkit.caching import coherence
from perfkit.caching.outbox import Outbox
from perfkit.caching.silence import LOOK_EVERY_SECONDS, Silence
from perfkit.caching.store import current_store
from perfkit.caching.store.local import LocalStore
from perfkit.models import PendingInvalidation
from tests.caching.conftest import Outcome, wait_until
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Booking, Item, Shelf

pytestmark = pytest.mark.django_db(transaction=True)

TABLE, OTHER = "b:db:item", "b:db:other"


class Peer:
    """A process of its own, as far as the outbox can tell, on the same database."""

    def __init__(self) -> None:
        self.now = 100.0
        self.store = Recorder()
        self.silence = Silence(clock=lambda: self.now)
        self.outbox = Outbox(self.silence, clock=lambda: self.now)

    def put(self, *tables: str) -> None:
        moment, at = self.silence.moment("default"), self.now
        self.outbox.put_notice(connection, tables, writer=self.silence.writer("default"))
        self.silence.committed("default", tables, put=at, moment=moment)

    def look(self, *, in_transaction: bool = False) -> list[str]:
        """Return what it voids."""
        self.store.voided.clear()
        self.outbox.look_again("default")
        self.outbox.drain(connection, self.store, in_transaction=in_transaction)
        return sorted(self.store.voided)

    def distrusts(self, *tags: str) -> bool:
        return self.outbox.distrusts("default", tags)


class Recorder(LocalStore):
    def __init__(self) -> None:
        super().__init__()
        self.voided: list[str] = []

    def void(self, tags: Any, *, writers: Any = ()) -> None:
        self.voided += tags


@pytest.fixture
def writer() -> Peer:
    return Peer()


@pytest.fixture
def reader() -> Peer:
    return Peer()


class TestNotices:
    def test_it_keeps_others_away_from_the_table(self, writer: Peer, reader: Peer) -> None:
        writer.put(TABLE)
        assert reader.look() == []
        assert reader.distrusts("r:db:item:1", TABLE)
        assert reader.distrusts("a:db:item")
        assert not reader.distrusts("r:db:other:1", OTHER)
        assert PendingInvalidation.objects.count() == 1

    def test_it_is_taken_back_by_its_writer_alone(self, writer: Peer, reader: Peer) -> None:
        writer.put(TABLE)
        reader.look()
        assert writer.look() == ["a:db:item", TABLE]
        assert not PendingInvalidation.objects.exists()
        assert reader.distrusts(TABLE), "until it looks again"
        assert reader.look() == []
        assert not reader.distrusts(TABLE)

    def test_it_stays_while_a_write_relies_on_it(self, writer: Peer) -> None:
        writer.put(TABLE)
        assert writer.silence.rely("default", [TABLE]) == 100.0 + LOOK_EVERY_SECONDS
        assert writer.look() == []
        assert writer.distrusts(TABLE)
        writer.silence.let_go("default")
        assert writer.look() == ["a:db:item", TABLE]

    def test_it_stays_inside_a_transaction(self, writer: Peer) -> None:
        writer.put(TABLE)
        with transaction.atomic():
            assert writer.look(in_transaction=True) == []
        assert writer.distrusts(TABLE)
        assert writer.silence.rely("default", [TABLE]) is not None

    def test_it_ends_by_itself(self, writer: Peer, reader: Peer) -> None:
        writer.silence.notice_seconds = 0.3
        writer.put(TABLE)
        reader.look()
        assert reader.distrusts(TABLE)
        wait_until(lambda: reader.look() == ["a:db:item", TABLE])
        assert not reader.distrusts(TABLE)
        assert not PendingInvalidation.objects.exists()

    def test_it_is_relied_on_for_half_of_its_time(self, writer: Peer) -> None:
        writer.put(TABLE)
        writer.now += writer.silence.notice_seconds / 2 - 0.1
        assert writer.silence.rely("default", [TABLE]) is not None
        assert writer.silence.rely("default", [TABLE, OTHER]) is None
        assert writer.silence.rely("other", [TABLE]) is None
        writer.now += 0.2
        assert writer.silence.rely("default", [TABLE]) is None

    def test_it_does_not_hold_where_all_were_taken_back_while_it_was_put(self, writer: Peer) -> None:
        """Another thread has found it committed before its own thread could note that."""
        moment = writer.silence.moment("default")
        writer.outbox.put_notice(connection, [TABLE], writer=writer.silence.writer("default"))
        assert writer.look() == ["a:db:item", TABLE]
        writer.silence.committed("default", [TABLE], put=writer.now, moment=moment)
        assert writer.silence.rely("default", [TABLE]) is None

    def test_it_is_left_to_its_end_where_nobody_knows_how_the_write_ended(
        self, writer: Peer, reader: Peer
    ) -> None:
        writer.put(TABLE)
        writer.silence.rely("default", [TABLE])
        writer.silence.lose("default", is_relying=True)
        assert writer.look() == reader.look() == []
        assert writer.distrusts(TABLE)
        assert writer.silence.rely("default", [TABLE]) is None

    def test_it_is_not_taken_back_by_way_of_another_alias(self, writer: Peer) -> None:
        """Two aliases may lead to one database."""
        writer.put(TABLE)
        assert writer.silence.writer("default") != writer.silence.writer("other")
        writer.silence.end("other")
        assert writer.silence.rely("default", [TABLE]) is not None

    def test_it_belongs_to_one_process(self, writer: Peer) -> None:
        writer.put(TABLE)
        read, write = os.pipe()
        if not (child := os.fork()):
            is_new = writer.silence.rely("default", [TABLE]) is None
            os.write(write, f"{is_new} {writer.silence.writer('default')}".encode())
            os._exit(0)
        os.waitpid(child, 0)
        is_new, name = os.read(read, 100).decode().split()
        assert is_new == "True"
        assert name != writer.silence.writer("default")


@pytest.mark.redis
@pytest.mark.postgres
class TestWrites:
    @pytest.fixture
    def server(
        self, valkey_server: Callable[[], DisposableValkey], settings: LazySettings
    ) -> DisposableValkey:
        server = valkey_server()
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 0.5, "CACHE_RETRY_AFTER": 0.1}
        settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
        return server

    @pytest.fixture
    def item(self, server: DisposableValkey) -> Item:
        made = Item.plain.create(name="old")
        Item.objects.get(pk=made.pk)
        server.kill()
        Item.plain.filter(pk=made.pk).update(name="first")
        return made

    def test_it_says_nothing_more_once_others_know(
        self, item: Item, settings: LazySettings, django_assert_num_queries: Callable[..., Any]
    ) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_RETRY_AFTER": 60.0}
        Item.plain.filter(pk=item.pk).update(name="tried once more")
        notices = PendingInvalidation.objects.count()
        with django_assert_num_queries(1):
            item.save()
        with django_assert_num_queries(3), transaction.atomic():  # BEGIN, UPDATE, COMMIT
            item.save()
        assert PendingInvalidation.objects.count() == notices
        with django_assert_num_queries(4):  # a table that nobody was told of: BEGIN, notice, INSERT, COMMIT
            Shelf.plain.create(name="x")
        assert PendingInvalidation.objects.count() == notices + 1

    def test_it_leaves_no_notice_where_the_transaction_was_rolled_back(self, item: Item) -> None:
        notices = PendingInvalidation.objects.count()
        with pytest.raises(RuntimeError), transaction.atomic():
            Shelf.plain.create(name="x")
            raise RuntimeError
        with pytest.raises(IntegrityError):
            Booking.plain.bulk_create([Booking(name="x", code="1"), Booking(name="y", code="1")])
        assert PendingInvalidation.objects.count() == notices
        Shelf.plain.create(name="x")
        assert PendingInvalidation.objects.count() == notices + 1

    def test_it_relies_on_nothing_after_a_write_that_failed(self, item: Item) -> None:
        with pytest.raises(DatabaseError):
            Item.plain.filter(pk=item.pk).update(count=2**40)
        assert coherence.silence._relying["default"] == 0

    def test_it_relies_on_nothing_where_no_notice_can_be_left(
        self, item: Item, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise DatabaseError("no room")

        monkeypatch.setattr(coherence.outbox, "put", fail)
        monkeypatch.setattr(coherence.outbox, "put_notice", fail)
        monkeypatch.setattr(coherence.breaker, "allows", lambda: True)
        with pytest.raises(DatabaseError, match="no room"), transaction.atomic():
            item.save()
        assert coherence.silence._relying["default"] == 0

    def test_it_takes_everything_back_when_the_server_answers_again(
        self, item: Item, server: DisposableValkey, reads: list[Outcome]
    ) -> None:
        server.start()

        def is_hit() -> bool:
            assert Item.objects.get(pk=item.pk).name == "first"
            return reads[-1][1] == "hit"

        wait_until(is_hit)
        assert not PendingInvalidation.objects.exists()
        assert coherence.silence.rely("default", ["b:x:testapp_item"]) is None
        Item.plain.filter(pk=item.pk).update(name="told")
        assert not PendingInvalidation.objects.exists()
        assert current_store() is not None
        assert Item.objects.get(pk=item.pk).name == "told"
