"""The cache server goes, hangs, comes back empty, old or full; reads and writes go on and nothing is stale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from django.conf import LazySettings
from django.db import connection, transaction

from perfkit.caching import coherence
from perfkit.caching.store import current_store
from perfkit.caching.writes import tracker_of
from perfkit.errors import CacheUnavailableError
from perfkit.models import PendingInvalidation
from tests.caching.conftest import Outcome, wait_until
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Item, ItemNote

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis, pytest.mark.postgres]


@pytest.fixture
def item(server: DisposableValkey) -> Item:
    """A row that is in the cache."""
    made = Item.plain.create(name="old")
    for _ in range(2):
        Item.objects.get(pk=made.pk)
    return made


def name(item: Item) -> str:
    return Item.objects.get(pk=item.pk).name


def write(item: Item, value: str) -> None:
    """Write and read in each way; every read must see it."""
    Item.plain.filter(pk=item.pk).update(name=f"{value} alone")
    assert name(item) == f"{value} alone"
    with transaction.atomic():
        Item.plain.filter(pk=item.pk).update(name=value)
        assert name(item) == value
    assert name(item) == value


def recovers(item: Item, reads: list[Outcome]) -> None:
    """Wait until reads are hits again; on the way each is right."""
    expected = Item.plain.get(pk=item.pk).name

    def is_hit() -> bool:
        assert name(item) == expected
        return reads[-1][1] == "hit"

    wait_until(is_hit)
    assert not PendingInvalidation.objects.exists()
    write(item, "after")


BREAKS: dict[
    str,
    tuple[
        Callable[[DisposableValkey, redis.Redis], object], Callable[[DisposableValkey, redis.Redis], object]
    ],
] = {
    "killed": (lambda server, _: server.kill(), lambda server, _: server.start()),
    "hanging": (lambda server, _: server.pause(), lambda server, _: server.resume()),
    "full": (
        lambda _, direct: (
            direct.config_set("maxmemory-policy", "noeviction"),
            direct.config_set("maxmemory", 1),
        ),
        lambda _, direct: direct.config_set("maxmemory", 0),
    ),
    "locked": (
        lambda _, direct: (
            direct.config_set("requirepass", "secret") and direct.client_kill_filter(_type="normal")
        ),
        lambda server, _: unlock(server),
    ),
}


def unlock(server: DisposableValkey) -> None:
    with redis.Redis(host="127.0.0.1", port=server.port, password="secret") as client:
        client.config_set("requirepass", "")


@pytest.mark.parametrize("kind", BREAKS)
def test_it_goes_on_and_recovers(
    kind: str,
    server: DisposableValkey,
    direct: redis.Redis,
    item: Item,
    reads: list[Outcome],
    outages: list[bool],
    caplog: pytest.LogCaptureFixture,
) -> None:
    stop, resume = BREAKS[kind]
    stop(server, direct)
    for number in range(5):
        write(item, f"write {number}")
    assert PendingInvalidation.objects.exists()
    assert outages == [True]
    assert len([line for line in caplog.messages if "does not answer" in line]) == 1
    resume(server, direct)
    recovers(item, reads)
    assert outages == [True, False]
    assert len([line for line in caplog.messages if "answers again" in line]) == 1


@pytest.mark.parametrize("kind", ["full", "copy of another"])
def test_it_tells_once_of_a_server_that_answers_but_stores_nothing(
    kind: str,
    server: DisposableValkey,
    direct: redis.Redis,
    item: Item,
    outages: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = Item.plain.bulk_create(Item(name=f"item {number}") for number in range(5))
    if kind == "full":
        direct.config_set("maxmemory-policy", "noeviction")
        direct.config_set("maxmemory", 1)
    else:
        direct.replicaof("127.0.0.1", "1")
    tries = 0
    allows = coherence.breaker.allows

    def count() -> bool:
        nonlocal tries
        is_allowed = allows()
        tries += is_allowed
        return is_allowed

    monkeypatch.setattr(coherence.breaker, "allows", count)

    def is_tried_often() -> bool:
        assert [name(one) for one in items] == [one.name for one in items]
        return tries > 8

    wait_until(is_tried_often)
    assert outages == [True]
    direct.config_set("maxmemory", 0)
    direct.replicaof("NO", "ONE")
    wait_until(lambda: name(items[0]) == "item 0" and not coherence.breaker.is_open)
    assert outages == [True, False]


def test_it_trusts_nothing_that_an_old_copy_of_the_server_holds(
    server: DisposableValkey, direct: redis.Redis, item: Item, reads: list[Outcome]
) -> None:
    old = {key: direct.dump(key) for key in direct.scan_iter()}
    write(item, "new")
    server.kill()
    server.start()
    for key, value in old.items():
        direct.restore(key, 0, value)
    assert name(item) == "new"
    recovers(item, reads)


def test_it_trusts_nothing_while_the_server_is_a_copy_of_another(
    server: DisposableValkey,
    direct: redis.Redis,
    valkey_server: Callable[[], DisposableValkey],
    item: Item,
    reads: list[Outcome],
) -> None:
    other = valkey_server()
    direct.replicaof("127.0.0.1", str(other.port))
    for number in range(3):
        write(item, f"write {number}")
    direct.replicaof("NO", "ONE")
    recovers(item, reads)


def test_it_reads_from_the_database_while_the_outbox_is_not_empty(
    server: DisposableValkey, item: Item, reads: list[Outcome]
) -> None:
    server.pause()
    write(item, "new")
    server.resume()

    def is_up() -> bool:
        assert name(item) == "new"
        return not coherence.breaker.is_open

    wait_until(is_up)
    assert not PendingInvalidation.objects.exists()


def test_it_closes_for_a_process_that_only_writes(
    server: DisposableValkey, item: Item, settings: LazySettings, outages: list[bool]
) -> None:
    """Else each of its writes would be refused, or wait, for ever after one short outage."""
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_OUTAGE_WRITES": "refuse"}
    server.kill()
    with pytest.raises(CacheUnavailableError):
        Item.plain.filter(pk=item.pk).update(name="never")
    server.start()

    def is_taken() -> bool:
        try:
            Item.plain.filter(pk=item.pk).update(name="new")
        except CacheUnavailableError:
            return False
        return True

    wait_until(is_taken)
    for number in range(5):
        Item.plain.filter(pk=item.pk).update(name=f"write {number}")
    assert outages == [True, False]


@pytest.mark.parametrize("mode", ["autocommit", "atomic", "raw", "manual"])
def test_it_refuses_a_write_and_leaves_the_connection_usable(
    server: DisposableValkey, item: Item, settings: LazySettings, mode: str
) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_OUTAGE_WRITES": "refuse"}
    server.kill()
    hooks: list[str] = []

    def attempt() -> None:
        if mode == "autocommit":
            Item.plain.filter(pk=item.pk).update(name="never")
        elif mode == "atomic":
            with transaction.atomic():
                transaction.on_commit(lambda: hooks.append("ran"))
                Item.plain.filter(pk=item.pk).update(name="never")
        elif mode == "raw":
            execute("BEGIN")
            Item.plain.filter(pk=item.pk).update(name="never")
            execute("COMMIT")
        else:
            transaction.set_autocommit(False)
            try:
                Item.plain.filter(pk=item.pk).update(name="never")
                transaction.commit()
            finally:
                transaction.set_autocommit(True)

    for _ in range(2):
        with pytest.raises(CacheUnavailableError):
            attempt()
        assert Item.plain.get(pk=item.pk).name == "old"
        with transaction.atomic():
            assert Item.plain.filter(pk=item.pk).exists()
    assert hooks == []
    assert not PendingInvalidation.objects.exists()
    ItemNote.objects.create(item=item, text="of a table that nobody caches")


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_it_drains_more_than_fits_into_one_call(
    server: DisposableValkey, item: Item, reads: list[Outcome]
) -> None:
    items = Item.plain.bulk_create(Item(name="old") for _ in range(1200))
    for one in items:
        Item.objects.get(pk=one.pk)
    server.pause()
    for start in range(0, 1200, 400):
        with transaction.atomic():
            for one in items[start : start + 400]:
                Item.plain.filter(pk=one.pk).update(name="new")
    server.resume()
    recovers(items[0], reads)
    assert {name(one) for one in items[1:]} == {"new"}


def test_it_asks_an_absent_server_once_a_period(
    server: DisposableValkey, item: Item, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_RETRY_AFTER": 60.0}
    name(item)
    asked: list[Any] = []
    store = current_store()
    call = type(store)._call  # type: ignore[attr-defined]
    monkeypatch.setattr(type(store), "_call", lambda self, command: (asked.append(1), call(self, command))[1])
    server.kill()
    for number in range(20):
        write(item, f"write {number}")
    assert len(asked) == 1


class TestDone:
    """The server goes just when a write is committed, so that MARK was heard and DONE is not."""

    @pytest.fixture(autouse=True)
    def _goes_at_the_commit(self, server: DisposableValkey, item: Item) -> Iterator[None]:
        tracker = tracker_of(connection)
        assert tracker is not None
        commit = tracker._django_commit

        def go() -> None:
            if server.is_started:
                server.kill()

        def commit_and_go() -> None:
            commit()
            go()

        def run_and_go(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            answer = execute(sql, *rest)
            if sql.startswith("COMMIT") or (
                sql.startswith("UPDATE") and not tracker.visibility.in_transaction
            ):
                go()
            return answer

        tracker._django_commit = commit_and_go
        with connection.execute_wrapper(run_and_go):
            yield
        tracker._django_commit = commit

    def write(self, item: Item, mode: str, hooks: list[str]) -> None:
        rows = Item.plain.filter(pk=item.pk)
        if mode == "autocommit":
            rows.update(name="new")
        elif mode == "atomic":
            with transaction.atomic():
                transaction.on_commit(lambda: hooks.append("ran"))
                rows.update(name="new")
        elif mode == "manual":
            transaction.set_autocommit(False)
            try:
                rows.update(name="new")
                transaction.commit()
            finally:
                transaction.set_autocommit(True)
        else:
            execute("BEGIN")
            rows.update(name="new")
            execute(mode)

    @pytest.mark.parametrize("mode", ["autocommit", "atomic", "manual", "COMMIT"])
    def test_it_waits_in_the_outbox(
        self, mode: str, server: DisposableValkey, item: Item, reads: list[Outcome]
    ) -> None:
        hooks: list[str] = []
        self.write(item, mode, hooks)
        assert not server.is_started
        assert PendingInvalidation.objects.count() == 1
        assert hooks == (["ran"] if mode == "atomic" else [])
        assert connection.get_autocommit()
        with transaction.atomic():
            assert name(item) == "new"
        server.start()
        recovers(item, reads)

    @pytest.mark.parametrize("mode", ["autocommit", "atomic", "manual", "COMMIT"])
    def test_the_write_stands_where_the_outbox_takes_nothing(
        self, mode: str, item: Item, caplog: pytest.LogCaptureFixture
    ) -> None:
        execute("ALTER TABLE perfkit_pendinginvalidation RENAME TO elsewhere")
        try:
            self.write(item, mode, [])
            with transaction.atomic():
                assert Item.plain.get(pk=item.pk).name == "new"
        finally:
            execute("ALTER TABLE elsewhere RENAME TO perfkit_pendinginvalidation")
        assert [line for line in caplog.messages if line.startswith("A write is committed")]

    def test_it_does_not_end_the_transaction_that_a_commit_has_begun(self, item: Item) -> None:
        self.write(item, "COMMIT AND CHAIN", [])
        Item.plain.filter(pk=item.pk).update(name="never")
        execute("ROLLBACK")
        assert Item.plain.get(pk=item.pk).name == "new"


def test_it_announces_what_a_text_wrote_that_began_a_transaction_in_an_outage(
    item: Item, server: DisposableValkey, reads: list[Outcome]
) -> None:
    def fill_again() -> None:
        def is_hit() -> bool:
            assert name(item) == "first"
            return reads[-1][1] == "hit"

        try:
            wait_until(is_hit)
        finally:
            connection.close()

    server.kill()
    Item.plain.filter(pk=item.pk).update(name="first")  # it leaves the notice, on which the next one relies
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE testapp_item SET name = 'second'; BEGIN; UPDATE testapp_item SET name = 'third'"
        )
        server.start()
        with ThreadPoolExecutor(1) as thread:
            thread.submit(fill_again).result()
        cursor.execute("COMMIT")
    recovers(item, reads)


def test_it_waits_only_as_long_as_others_do_not_know(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_OUTAGE_WRITES": "wait"}
    slept: list[float] = []
    monkeypatch.setattr(coherence.time, "sleep", slept.append)
    now = coherence.silence.now()
    coherence.SilentWrite("default", now + 0.5).committed()
    coherence.SilentWrite("default", now - 0.5).committed()
    coherence.SilentWrite("default", 0.0).committed()
    assert len(slept) == 2
    assert 0 < slept[0] <= 0.5
    assert slept[1] == 0.0
