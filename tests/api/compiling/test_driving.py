"""What async code reads by the pool of its loop, and what it reads by its thread."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import LazySettings
from django.core.handlers.asgi import ASGIHandler
from django.db import connection, transaction
from django.test import AsyncClient, Client
from ninja import Schema

from perfkit.api import acompiled_rows
from perfkit.caching import cached
from perfkit.errors import PoolBusyError
from perfkit.loading import no_n_plus_one
from perfkit.postgres.prepared import PREPARE_WHEN_ASKED
from project.flights.models import Flight
from tests.api.compiling.loops import direct, locked, on_a_loop, pooled_statements, sessions, until, waiting
from tests.api.compiling.views import BookOut, PersonOut
from tests.flights.factories import make_flights
from tests.testapp.hydration import EveryKind
from tests.testapp.loading import Book, Person, Publisher, Review

pytestmark = [pytest.mark.urls("tests.api.compiling.views"), pytest.mark.django_db(transaction=True)]
postgres = pytest.mark.postgres
PEOPLE = Person._meta.db_table


@pytest.fixture(autouse=True)
def _pool(settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "ASYNC_POOL_SIZE": 4}


@pytest.fixture
def book() -> Book:
    editor = Person.objects.create(name="Ed", mentor=Person.objects.create(name="Me"))
    book = Book.objects.create(title="One", publisher=Publisher.objects.create(name="Press"), editor=editor)
    Book.objects.create(title="Two", publisher=book.publisher)
    book.authors.add(editor)
    Review.objects.create(book=book, critic=editor, stars=4)
    EveryKind.plain.create(short="short", text="text")
    return book


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A function that changes what DATABASES says for this test."""

    def change(**values: Any) -> None:
        connection.close()
        chosen = {**connection.settings_dict["OPTIONS"], **values.pop("OPTIONS", {})}
        for key, value in {**values, "OPTIONS": chosen}.items():
            monkeypatch.setitem(connection.settings_dict, key, value)

    yield change
    connection.close()
    if connection.vendor == "postgresql":
        connection.close_pool()


class FlightNumberOut(Schema):
    number: int


def people() -> Awaitable[list[dict[str, Any]]]:
    return acompiled_rows(Person.objects.order_by("name"), PersonOut)


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


@postgres
class TestPooled:
    @pytest.mark.parametrize(
        ("path", "plain", "statements"),
        [
            ("/api/async-all", "/api/plain-all", 3),
            ("/tagged/async-all", "/tagged/plain-all", 3),
            ("/api/async-one/{pk}", "/api/plain-one/{pk}", 3),
            ("/api/async-kinds/keyset", "/api/async-kinds/keyset-plain", 1),
            ("/api/async-kinds/pages", "/api/async-kinds/pages-plain", 1),
            ("/api/async-kinds/open", "/api/async-kinds/open-plain", 1),
        ],
    )
    def test_it_answers_as_instances_do(self, book: Book, path: str, plain: str, statements: int) -> None:
        async def ask() -> tuple[Any, Any]:
            client = AsyncClient()
            with pooled_statements() as found:
                for _ in range(2):  # the second time by what was kept and prepared
                    pooled = await client.get(path.format(pk=book.pk))
            assert len(found) == 2 * statements
            return pooled, await client.get(plain.format(pk=book.pk))

        pooled, expected = on_a_loop(ask)
        assert pooled.status_code == expected.status_code == 200, pooled.content
        assert pooled.content == expected.content

    def test_several_are_read_at_the_same_time(self, book: Book) -> None:
        async def ask() -> list[list[dict[str, Any]]]:
            with locked(PEOPLE):
                gathered = asyncio.gather(people(), people(), people())
                await until(lambda: waiting() == 3)
            return await gathered

        assert [names(rows) for rows in on_a_loop(ask)] == [["Ed", "Me"]] * 3

    def test_the_loop_goes_on_meanwhile(self, book: Book) -> None:
        async def ask() -> int:
            turns = 0
            with locked(PEOPLE):
                task = asyncio.ensure_future(people())
                await until(lambda: waiting() == 1)
                for _ in range(20):
                    await asyncio.sleep(0)
                    turns += not task.done()
            await task
            return turns

        assert on_a_loop(ask) == 20

    def test_what_is_cancelled_ends_on_the_server_too(self, book: Book) -> None:
        async def ask() -> list[dict[str, Any]]:
            with locked(PEOPLE):
                tasks = [asyncio.ensure_future(people()) for _ in range(4)]
                await until(lambda: waiting() == 4)
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
                assert [type(each) for each in ended] == [asyncio.CancelledError] * 4
                await until(lambda: waiting() == 0)
            return await people()  # by one of these four

        assert names(on_a_loop(ask)) == ["Ed", "Me"]

    def test_a_client_that_goes_away_frees_its_connection(self, book: Book, settings: LazySettings) -> None:
        """Middleware that is sync alone would keep the request in its thread."""
        settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]

        async def ask() -> None:
            messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
            messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})
            sent: list[Any] = []

            async def send(message: Any) -> None:
                sent.append(message)

            scope = {
                "type": "http",
                "method": "GET",
                "path": "/api/async-all",
                "query_string": b"",
                "headers": [(b"host", b"localhost")],
                "server": ("localhost", 80),
            }
            with locked(PEOPLE):
                request = asyncio.ensure_future(ASGIHandler()(scope, messages.get, send))  # type: ignore[arg-type]
                await until(lambda: waiting() == 1)
                messages.put_nowait({"type": "http.disconnect"})
                await until(lambda: waiting() == 0)
                await request
            assert sent == []

        on_a_loop(ask)

    def test_where_none_is_free_in_time_the_answer_is_a_503(
        self, book: Book, settings: LazySettings, options: Callable[..., None]
    ) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "ASYNC_POOL_SIZE": 1}
        options(OPTIONS={"pool": {"timeout": 0.3}}, CONN_MAX_AGE=0)

        async def ask() -> Any:
            with locked(PEOPLE):
                first = asyncio.ensure_future(people())
                await until(lambda: waiting() == 1)
                answer = await AsyncClient().get("/api/async-all")
                with pytest.raises(
                    PoolBusyError, match=r"None of the 1 async connections to 'default'.*0\.3"
                ):
                    await people()
            await first
            return answer

        answer = on_a_loop(ask)
        assert answer.status_code == 503
        assert answer["Retry-After"]

    def test_sessions_that_the_server_has_ended_are_replaced(self, book: Book) -> None:
        connection.close()  # it would be ended too

        async def ask() -> None:
            await asyncio.gather(people(), people())
            with direct() as other, pooled_statements() as found:
                other.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                assert names(await people()) == ["Ed", "Me"]
            assert len(found) == 1

        on_a_loop(ask)

    def test_it_goes_on_where_a_column_has_got_another_type(self, book: Book) -> None:
        async def ask() -> None:
            await people()
            for kind in ("text", "varchar(20)"):
                with direct() as other:
                    other.execute(f"ALTER TABLE {PEOPLE} ALTER COLUMN name TYPE {kind}")
                for _ in range(2):
                    assert names(await people()) == ["Ed", "Me"]

        on_a_loop(ask)

    def test_it_is_logged_where_it_is_slow(
        self, book: Book, settings: LazySettings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "QUERY_SLOW_THRESHOLD": 0.0}

        async def ask() -> None:
            with pooled_statements() as found:
                await people()
            assert len(found) == 1

        with caplog.at_level(logging.WARNING, "perfkit.queries"):
            on_a_loop(ask)
        told = [record.getMessage() for record in caplog.records if PEOPLE in record.getMessage()]
        assert len(told) == 1
        assert re.match(
            r"SLOW QUERY [\d.]+ ms default tests/api/compiling/test_driving\.py:\d+ [0-9a-f]{12} - SELECT",
            told[0],
        )


def by_thread(make: Callable[[], Awaitable[list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """Return the rows, which went by no pool."""

    async def ask() -> list[dict[str, Any]]:
        with pooled_statements() as found:
            rows = await make()
        assert found == []
        return rows

    return on_a_loop(ask)


class TestByThread:
    def test_it_is_so_where_nothing_is_declared(self, book: Book, settings: LazySettings) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "ASYNC_POOL_SIZE": 0}
        assert names(by_thread(people)) == ["Ed", "Me"]

    @pytest.mark.skipif(connection.vendor == "postgresql", reason="it has a pool")
    def test_it_is_so_on_other_databases(self, book: Book) -> None:
        assert names(by_thread(people)) == ["Ed", "Me"]

    @postgres
    @pytest.mark.parametrize(
        "values",
        [
            {"DISABLE_SERVER_SIDE_CURSORS": True, "OPTIONS": {"prepare_threshold": PREPARE_WHEN_ASKED}},
            {"OPTIONS": {"prepare_threshold": None}},
        ],
        ids=["behind PgBouncer", "without prepared statements"],
    )
    def test_it_is_so_where_statements_are_not_prepared(
        self, book: Book, options: Callable[..., None], values: dict[str, Any]
    ) -> None:
        options(**values)
        assert names(by_thread(people)) == ["Ed", "Me"]

    def test_a_transaction_sees_what_it_has_written(self, book: Book) -> None:
        block = transaction.atomic()

        def begin() -> None:
            block.__enter__()
            Person.objects.create(name="A")

        async def ask() -> list[dict[str, Any]]:
            await sync_to_async(begin)()
            try:
                return await people()
            finally:
                await sync_to_async(block.__exit__)(ValueError, ValueError(), None)

        assert names(by_thread(ask)) == ["A", "Ed", "Me"]
        assert Person.objects.count() == 2

    @postgres
    def test_a_session_of_its_own_is_used(self, book: Book) -> None:
        def change() -> None:
            with connection.cursor() as cursor:
                cursor.execute("CREATE SCHEMA other")
                cursor.execute(f"CREATE TABLE other.{PEOPLE} (LIKE public.{PEOPLE} INCLUDING ALL)")
                cursor.execute("SET search_path = other")

        async def ask() -> list[dict[str, Any]]:
            await sync_to_async(change)()
            return await people()

        try:
            assert by_thread(ask) == []
        finally:
            with direct() as other:
                other.execute("DROP SCHEMA IF EXISTS other CASCADE")

    def test_a_wrapper_of_the_projects_sees_it(self, book: Book) -> None:
        seen = []

        def wrapper(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
            seen.append(sql)
            return execute(sql, params, many, context)

        # The connection is asked for in the thread of the request, not here.
        async def ask_in_thread() -> list[dict[str, Any]]:
            def put_on() -> None:
                connection.execute_wrappers.append(wrapper)

            await sync_to_async(put_on)()
            return await people()

        assert names(by_thread(ask_in_thread)) == ["Ed", "Me"]
        assert len(seen) == 1

    def test_the_guard_sees_it(self, book: Book) -> None:
        async def ask() -> list[dict[str, Any]]:
            with no_n_plus_one():
                return await people()

        assert names(by_thread(ask)) == ["Ed", "Me"]

    def test_a_cached_function_is_told_what_it_was_made_from(self) -> None:
        flights = make_flights(2)
        calls = []

        @cached("flights-of-an-async-list", ttl=60)
        async def found() -> list[int]:
            calls.append(None)
            rows = await acompiled_rows(Flight.objects.order_by("number"), FlightNumberOut)
            return [row["number"] for row in rows]

        async def ask() -> list[dict[str, Any]]:
            before = [await found(), await found()]
            await Flight.objects.filter(pk=flights[0].pk).aupdate(number=9)
            return [{"before": before, "calls": len(calls), "after": await found()}]

        assert by_thread(ask) == [{"before": [[1, 2]] * 2, "calls": 1, "after": [2, 9]}]

    def test_a_loop_that_ends_with_its_call_has_no_pool(self, client: Client, book: Book) -> None:
        with pooled_statements() as found:
            answer = client.get("/api/async-all")
        assert [each["title"] for each in answer.json()] == ["One", "Two"]
        assert found == []


def test_it_shows_what_no_statement_shows_by_instances(book: Book) -> None:
    async def ask() -> list[dict[str, Any]]:
        return await acompiled_rows(Book.objects.distinct(), BookOut)

    assert [row["title"] for row in on_a_loop(ask)] == ["One", "Two"]


@postgres
def test_it_leaves_no_session_behind(book: Book) -> None:
    connection.close()
    before = sessions("true")

    async def ask() -> int:
        with locked(PEOPLE):
            gathered = asyncio.gather(people(), people())
            await until(lambda: waiting() == 2)
        await gathered
        return await asyncio.to_thread(sessions, "true")

    assert on_a_loop(ask) >= before + 2
    asyncio.run(until(lambda: sessions("true") == before))
