"""What a function reads when it does not see what all others see: then nothing is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections, transaction
from django.db.models import Count

from perfkit.caching import cache, cached, token_scope
from perfkit.caching.named.databases import current_databases
from tests.caching.conftest import Outcome
from tests.testapp.models import Booking, Item, ItemNote, Reading

pytestmark = pytest.mark.django_db(transaction=True)

calls: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_called() -> None:
    calls.clear()


def execute(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def bypasses(reads: list[Outcome]) -> list[str]:
    return [reason for _, outcome, reason in reads if outcome == "bypass"]


def names() -> list[str]:
    calls.append(1)
    return list(Item.plain.order_by("id").values_list("name", flat=True))


def in_a_snapshot() -> list[str]:
    calls.append(1)
    with transaction.atomic():
        if connection.vendor == "postgresql":
            execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return list(Item.plain.values_list("name", flat=True))


def in_a_transaction_that_wrote() -> list[str]:
    calls.append(1)
    with transaction.atomic():
        Booking.plain.create(zone="x")
        found = list(Item.plain.values_list("name", flat=True))
        transaction.set_rollback(True)
    return found


def writing() -> list[str]:
    calls.append(1)
    Item.plain.update(count=5)
    return list(Item.plain.values_list("name", flat=True))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (in_a_snapshot, "snapshot"),
        (in_a_transaction_that_wrote, "it writes"),
        (writing, "it writes"),
        (lambda: calls.append(1) or execute("SELECT * FROM auth_user"), "untracked table"),
        (lambda: calls.append(1) or ItemNote.objects.count(), "untracked table"),
        (lambda: calls.append(1) or ContentType.objects.count(), "untracked table"),
    ],
    ids=["snapshot", "own write", "write", "raw SQL", "untracked model", "another app"],
)
def test_it_keeps_nothing(function: Callable[[], Any], reason: str, reads: list[Outcome]) -> None:
    Item.plain.create(name="a")
    kept = cached("kept")(function)
    first = kept()
    assert kept() == first
    assert calls == [1, 1]
    assert bypasses(reads) == [reason, reason]


@pytest.mark.postgres
class TestSessions:
    @pytest.fixture(autouse=True)
    def _closed(self) -> Iterator[None]:
        yield
        connection.close()

    def test_a_session_of_its_own_neither_gets_nor_keeps(self, reads: list[Outcome]) -> None:
        Item.plain.create(name="a")
        kept = cached("kept")(names)
        kept()
        execute("SET search_path TO public")
        kept()
        assert calls == [1, 1]
        assert bypasses(reads) == ["session setting"]

    def test_one_that_is_made_within_the_function(self, reads: list[Outcome]) -> None:
        @cached()
        def other_rows() -> list[str]:
            calls.append(1)
            execute("SET search_path TO public")
            return list(Item.plain.values_list("name", flat=True))

        other_rows()
        assert bypasses(reads) == ["session setting"]

    def test_a_view_counts_with_what_stands_behind_it(self, reads: list[Outcome]) -> None:
        execute("CREATE VIEW testapp_readingview AS SELECT * FROM testapp_reading")
        execute("CREATE VIEW unknown_view AS SELECT * FROM testapp_reading")
        try:
            kept = cached("kept")(lambda: execute("SELECT sum(value) FROM testapp_readingview"))
            assert kept() == [(None,)]
            Reading.plain.create(place="x", value=3)
            assert kept() == [(3,)]
            assert kept() == [(3,)]
            unknown = cached("unknown")(lambda: execute("SELECT count(*) FROM unknown_view"))
            assert [unknown(), unknown()] == [[(1,)], [(1,)]]
            assert bypasses(reads) == ["untracked table"] * 2
        finally:
            execute("DROP VIEW testapp_readingview, unknown_view")

    def test_a_server_side_cursor_counts(self) -> None:
        Item.plain.create(name="a")
        kept = cached("kept")(
            lambda: [item.name for item in Item.plain.order_by("id").iterator(chunk_size=1)]
        )
        assert [kept(), kept()] == [["a"], ["a"]]
        Item.plain.create(name="b")
        assert kept() == ["a", "b"]

    def test_a_read_only_transaction_within_counts(self) -> None:
        Item.plain.create(name="a")

        @cached()
        def counted() -> dict[str, int]:
            calls.append(1)
            with transaction.atomic():
                return Item.plain.aggregate(n=Count("id"))

        assert [counted(), counted()] == [{"n": 1}, {"n": 1}]
        assert calls == [1]
        Item.plain.create(name="b")
        assert counted() == {"n": 2}


@pytest.mark.postgres
class TestDatabases:
    """A second alias that leads to the same database, as one of a router's does."""

    @pytest.fixture
    def second(self) -> Iterator[str]:
        connections.databases["second"] = {**connection.settings_dict, "TIME_ZONE": "Asia/Tokyo"}
        connections["second"].connect()  # a test may not open others by a query
        yield "second"
        connections["second"].close()
        del connections["second"], connections.databases["second"]

    def test_another_connection_under_an_alias_is_another_context(self, second: str) -> None:
        before, first = current_databases(), connections["second"]
        connections["second"] = first.copy()
        connections["second"].settings_dict = {**first.settings_dict, "NAME": "elsewhere"}
        assert current_databases() != before
        connections["second"] = first
        assert current_databases() == before

    def test_a_replica_keeps_nothing(self, second: str, settings: LazySettings, reads: list[Outcome]) -> None:
        settings.DATABASE_ROUTERS = ["tests.caching.functions.test_recording.Router"]
        Item.plain.using("default").create(name="a")
        kept = cached("kept")(names)
        assert [kept(), kept()] == [["a"], ["a"]]
        assert bypasses(reads) == ["replica", "replica"]

    def test_an_alias_of_its_own_is_another_context(self, second: str) -> None:
        kept = cached("kept")(names)
        alone = current_databases()
        kept()
        assert current_databases() == alone
        connections["second"].close()
        del connections["second"], connections.databases["second"]
        connections.databases["second"] = connection.settings_dict
        assert current_databases() != alone
        kept()
        assert calls == [1, 1], "its time zone is another"

    def test_rows_of_two_databases_count(self, second: str) -> None:
        """Both lead to one database here, whose tags are the same."""
        kept = cached("kept")(lambda: [Item.plain.count(), Booking.plain.using("second").count()])
        assert [kept(), kept()] == [[0, 0], [0, 0]]
        Item.plain.create(name="a")
        assert kept() == [1, 0]


class Router:
    """Reads from the second alias, writes to the first."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "second"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def test_a_write_by_another_thread_while_it_runs_is_not_lost() -> None:
    Item.plain.create(name="old")
    started, going_on = threading.Event(), threading.Event()

    @cached()
    def slow() -> list[str]:
        calls.append(1)
        found = list(Item.plain.values_list("name", flat=True))
        if len(calls) == 1:
            started.set()
            assert going_on.wait(10)
        return found

    answers: list[list[str]] = []

    def ask() -> None:
        answers.append(slow())
        connections.close_all()

    thread = threading.Thread(target=ask)
    thread.start()
    assert started.wait(10)
    Item.plain.update(name="new")
    going_on.set()
    thread.join()
    assert answers == [["old"]], "it began before the write"
    assert slow() == ["new"]


def test_the_own_writes_of_a_request_void_what_it_knows() -> None:
    kept = cached("kept")(names)
    with token_scope():
        for number in range(4):
            Item.plain.create(name=f"{number}")
            assert [kept() for _ in range(3)] == [[f"{n}" for n in range(number + 1)]] * 3


def test_a_copy_of_the_connection_says_nothing_of_the_reads_of_a_thread(reads: list[Outcome]) -> None:
    Item.plain.create(name="a")
    kept = cached("kept")(names)
    kept()
    copy = connection.copy()
    copy.ensure_connection()
    copy.connection.close()
    with token_scope():
        assert [kept() for _ in range(3)] == [["a"]] * 3
        assert [item.name for item in Item.objects.all()] == ["a"]
        assert Item.objects.get(name="a").pk == Item.objects.get(pk=Item.plain.get().pk).pk
    copy.connection = None


@cached(ttl=1, records=False)
def brief() -> int:
    calls.append(1)
    return len(calls)


@cached(ttl=600)
def of_brief() -> int:
    return brief()


@cached(ttl=600)
def of_value() -> Any:
    return cache.get("brief:value")


@cached(ttl=600)
def of_values() -> Any:
    return cache.get_many(["brief:value"])["brief:value"]


@pytest.mark.parametrize("mode", ["request", "strict", "off"])
def test_an_answer_ends_with_those_that_it_was_made_from(settings: LazySettings, mode: str) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_MEMORY": mode}

    @cached(ttl=600)
    def outermost() -> int:
        return of_brief()

    assert [outermost(), of_brief(), brief()] == [1, 1, 1]
    time.sleep(1.1)
    assert [brief(), of_brief(), outermost()] == [2, 2, 2]
    with token_scope():
        assert [outermost(), of_brief(), brief()] == [2, 2, 2]


@pytest.mark.parametrize("found_first", [False, True])
def test_an_answer_ends_with_what_it_found(*, found_first: bool) -> None:
    if found_first:
        brief()
    with token_scope():
        if found_first:
            brief()  # what the scope knows
        assert of_brief() == 1
    time.sleep(1.1)
    assert of_brief() == 2


@pytest.mark.parametrize("read", [of_value, of_values])
def test_an_answer_ends_with_a_value_kept_by_hand(read: Callable[[], Any]) -> None:
    cache.set("brief:value", "old", ttl=1)
    assert [read(), read()] == ["old", "old"]
    time.sleep(1.1)
    with pytest.raises(KeyError) if read is of_values else nullcontext():
        assert read() is None


def test_what_has_ended_while_it_was_made_is_not_kept() -> None:
    @cached(ttl=600)
    def slow() -> int:
        found = brief()
        time.sleep(1.1)
        return found

    assert [slow(), slow()] == [1, 2]
