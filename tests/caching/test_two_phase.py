"""Two-phase commit: who commits a prepared transaction may not know what it has written, and nothing is stale."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.conf import LazySettings
from django.db import DatabaseError, connection, transaction

from perfkit.caching import token_scope
from perfkit.caching.sessions import commits_prepared, prepares_transaction, stands_alone
from perfkit.caching.writes import tracker_of
from perfkit.errors import CacheUnavailableError, PreparedTransactionError
from perfkit.models import PendingInvalidation
from project.services.processes import free_port
from project.services.state import LOOPBACK
from tests.caching.conftest import Outcome, forget_everything, wait_until
from tests.caching.processes import Process
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Item, ItemNote

on_servers = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


class TestText:
    @pytest.mark.parametrize(
        "sql",
        [
            "PREPARE TRANSACTION 'x'",
            "/* a */ prepare -- b\n transaction %s",
            "SELECT 1; PREPARE TRANSACTION 'x'",
        ],
    )
    def test_it_knows_what_prepares(self, sql: str) -> None:
        assert prepares_transaction(sql)

    @pytest.mark.parametrize(
        "sql", ["PREPARE plan AS SELECT 1", "PREPARE transactions AS SELECT 1", "COMMIT"]
    )
    def test_it_knows_what_does_not(self, sql: str) -> None:
        assert not prepares_transaction(sql)

    def test_it_knows_what_commits_the_prepared(self) -> None:
        assert commits_prepared("/* a */ COMMIT\tPREPARED 'x'")
        assert not commits_prepared("COMMIT")
        assert not commits_prepared("ROLLBACK PREPARED 'x'")

    @pytest.mark.parametrize(
        ("sql", "alone"),
        [
            ("PREPARE TRANSACTION 'x'", True),
            ("PREPARE TRANSACTION 'x;y' ;\n", True),
            ("PREPARE TRANSACTION 'x'; SELECT 1", False),
            ("SELECT ';'; PREPARE TRANSACTION 'x'", False),
        ],
    )
    def test_it_tells_one_statement_from_several(self, sql: str, alone: bool) -> None:
        assert stands_alone(sql) == alone


def gid() -> str:
    """The name of the transaction: no two databases of one server may use the same."""
    return str(connection.settings_dict["NAME"])


def prepare_sql() -> str:
    return f"PREPARE TRANSACTION '{gid()}'"


def commit_sql(end: str = "COMMIT") -> str:
    return f"{end} PREPARED '{gid()}'"


def run(sql: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)


def elsewhere(sql: str) -> None:
    """Run a statement as another program does."""
    with psycopg.connect(
        connection.connection.info.dsn, password=connection.settings_dict["PASSWORD"]
    ) as other:
        other.autocommit = True
        other.execute(sql)


@pytest.fixture
def item(transactional_db: None) -> Iterator[Item]:
    """A row that is in the cache."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW max_prepared_transactions")
        assert cursor.fetchone() != ("0",), "The server of the tests must allow prepared transactions."
    item = Item.plain.create(name="old")
    assert [name(item) for _ in range(2)] == ["old", "old"]
    yield item
    connection.rollback()
    with connection.cursor() as cursor:
        cursor.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
        for (gid,) in cursor.fetchall():
            cursor.execute("ROLLBACK PREPARED %s", [gid])


def name(item: Item) -> str:
    return Item.objects.get(pk=item.pk).name


def prepare(item: Item, *, within: str = "BEGIN") -> None:
    if within == "atomic":
        with transaction.atomic():
            Item.plain.filter(pk=item.pk).update(name="new")
            run(prepare_sql())
    else:
        run(within)
        Item.plain.filter(pk=item.pk).update(name="new")
        run("PREPARE TRANSACTION %s", gid())


class TestOnePreparesAndCommits:
    pytestmark = on_servers

    @pytest.mark.parametrize("within", ["BEGIN", "/* now */ START TRANSACTION", "atomic"])
    def test_it_reads_the_old_value_until_commit_and_the_new_one_after_it(
        self, item: Item, within: str, reads: list[Outcome]
    ) -> None:
        prepare(item, within=within)
        assert not tracker_of(connection).pending  # type: ignore[union-attr]
        assert name(item) == "old"
        assert reads[-1][1] == "hit", "nothing has changed yet"
        run(commit_sql())
        assert name(item) == "new"
        assert list(Item.objects.values_list("name", flat=True)) == ["new"]
        assert not PendingInvalidation.objects.exists()

    def test_it_sees_its_own_commit_within_a_request(self, item: Item) -> None:
        prepare(item)
        with token_scope():
            assert name(item) == "old"
            run(commit_sql())
            assert name(item) == "new"

    def test_it_tells_nobody_of_what_is_rolled_back(self, item: Item, reads: list[Outcome]) -> None:
        prepare(item)
        run(commit_sql("ROLLBACK"))
        assert name(item) == "old"
        assert reads[-1][1] == "hit"
        assert not PendingInvalidation.objects.exists()

    def test_it_leaves_the_transaction_to_the_database_where_that_cannot_prepare_it(self, item: Item) -> None:
        run("BEGIN")
        run("CREATE TEMP TABLE tried (id int) ON COMMIT DROP")
        Item.plain.filter(pk=item.pk).update(name="never")
        with pytest.raises(DatabaseError):
            run(prepare_sql())
        run("ROLLBACK")
        assert name(item) == "old"
        assert not PendingInvalidation.objects.exists()

    def test_it_puts_nothing_into_a_transaction_that_wrote_nothing_cached(self, item: Item) -> None:
        run("BEGIN")
        ItemNote.objects.create(item=item, text="x")
        run(prepare_sql())
        run(commit_sql())
        assert not PendingInvalidation.objects.exists()

    @pytest.mark.parametrize("begun", [True, False])
    def test_it_refuses_a_text_that_writes_and_prepares(self, item: Item, begun: bool) -> None:
        if begun:
            run("BEGIN")
        text = f"UPDATE testapp_item SET name = 'never'; {prepare_sql()}"
        with pytest.raises(PreparedTransactionError, match="by itself"):
            run(text if begun else f"BEGIN; {text}")
        if begun:
            run("ROLLBACK")
        assert [name(item), Item.plain.get(pk=item.pk).name] == ["old", "old"]


class TestAnotherCommits:
    pytestmark = [*on_servers, pytest.mark.redis]

    def test_it_is_seen_as_soon_as_the_commit_returns(
        self, item: Item, start: Callable[..., Process]
    ) -> None:
        committer, reader = start(), start()
        assert [reader.call("get", item.pk) for _ in range(2)] == [["old", "hit"]] * 2
        prepare(item)
        assert reader.call("get", item.pk) == ["old", "hit"]
        committer.call("execute", commit_sql())
        assert reader.call("get", item.pk)[0] == "new"
        assert name(item) == "new"

    def test_it_is_seen_within_a_second_where_a_foreign_program_commits(
        self, item: Item, start: Callable[..., Process]
    ) -> None:
        reader = start()
        assert reader.call("get", item.pk) == ["old", "hit"]
        prepare(item)
        elsewhere(commit_sql())
        committed = time.monotonic()
        while reader.call("get", item.pk)[0] != "new":
            assert time.monotonic() - committed < 1.1
        assert [reader.call("get", item.pk)[0] for _ in range(5)] == ["new"] * 5

    def test_it_is_seen_though_the_one_who_prepared_is_killed(
        self, item: Item, start: Callable[..., Process]
    ) -> None:
        preparing, reader = start(), start()
        preparing.call("execute", "BEGIN")
        preparing.call("update", item.pk, "new")
        preparing.call("execute", prepare_sql())
        preparing.kill()
        assert reader.call("get", item.pk) == ["old", "hit"]
        run(commit_sql())
        assert reader.call("get", item.pk)[0] == "new"


class TestOutage:
    pytestmark = [*on_servers, pytest.mark.redis]

    @pytest.fixture
    def cut_off(self, item: Item, settings: LazySettings) -> Callable[[str], None]:
        """Prepare, then take the cache server away from this process."""
        prepare(item)

        def cut(policy: str) -> None:
            location = f"redis://{LOOPBACK}:{free_port()}/0"
            settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": location}}
            settings.PERFKIT = {**settings.PERFKIT, "CACHE_OUTAGE_WRITES": policy}
            forget_everything()

        return cut

    @pytest.mark.parametrize(("policy", "seconds"), [("bounded", 0.0), ("wait", 1.0)])
    def test_it_is_told_by_others_who_reach_the_server(
        self,
        item: Item,
        cut_off: Callable[[str], None],
        start: Callable[..., Process],
        policy: str,
        seconds: float,
    ) -> None:
        reader = start()
        assert reader.call("get", item.pk) == ["old", "hit"]
        cut_off(policy)
        began = time.monotonic()
        run(commit_sql())
        assert time.monotonic() - began >= seconds
        assert name(item) == "new", "never stale for the process that committed"
        if policy == "wait":
            assert reader.call("get", item.pk)[0] == "new"
        wait_until(lambda: reader.call("get", item.pk) == ["new", "hit"])

    def test_it_is_refused_where_writes_are(self, item: Item, cut_off: Callable[[str], None]) -> None:
        cut_off("refuse")
        with pytest.raises(CacheUnavailableError):
            run(commit_sql())
        assert Item.plain.get(pk=item.pk).name == "old"

    def test_it_is_told_later_where_the_server_goes_at_the_last_moment(
        self, item: Item, settings: LazySettings, valkey_server: Callable[[], DisposableValkey]
    ) -> None:
        """MARK has reached it, and what follows does not."""
        server = valkey_server()
        settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": server.url}}
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_OUTAGE_WRITES": "wait"}
        assert [name(item) for _ in range(2)] == ["old", "old"]
        prepare(item)

        def kill(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
            answer = execute(sql, *args)
            server.kill()
            return answer

        began = time.monotonic()
        with connection.execute_wrapper(kill):
            run(commit_sql())
        assert time.monotonic() - began >= 1.0
        assert PendingInvalidation.objects.exists()
        assert name(item) == "new"
        server.start()
        wait_until(lambda: name(item) == "new" and not PendingInvalidation.objects.exists())
