"""Rows that are read while the server changes those before them: but for the time it takes nobody sees it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import psycopg
import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from psycopg.pq import TransactionStatus

from perfkit.bulk import RowDataError, RowIntegrityError, abulk_update, bulk_update, staging
from perfkit.errors import RowShapeError
from project import services
from tests.testapp.bulk import Country, Stock, Subscriber

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgres,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere it is a statement for each row"),
]

CHUNK_ROWS = 10
ROWS = 3 * CHUNK_ROWS

Pair = tuple[Any, dict[str, Any]]


@pytest.fixture(autouse=True)
def all_are_staged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "FEWEST_STAGED", 1)


@pytest.fixture
def keys() -> list[Any]:
    made = Subscriber.objects.bulk_create(
        [Subscriber(code=f"c{number}", email=f"e{number}") for number in range(ROWS)]
    )
    return [each.pk for each in made]


@pytest.fixture
def other() -> Iterator[psycopg.Connection[Any]]:
    """A second session, in a transaction."""
    with psycopg.connect(services.database_url(), dbname=str(connection.settings_dict["NAME"])) as session:
        yield session
        session.rollback()


def changes(keys: list[Any], **odd: dict[str, Any]) -> Iterator[Pair]:
    for number, key in enumerate(keys):
        yield key, {"amount": 1} | odd.get(f"at_{number}", {})


def update(rows: Any, **options: Any) -> Any:
    return bulk_update(Subscriber, rows, chunk_rows=CHUNK_ROWS, **options)


def amounts() -> list[int]:
    return list(Subscriber.objects.order_by("pk").values_list("amount", flat=True))


def nothing_goes_on() -> bool:
    driver = connection.connection
    return driver.closed or (
        isinstance(driver.lock, type(threading.Lock()))
        and driver.info.transaction_status in {TransactionStatus.IDLE, TransactionStatus.INTRANS}
    )


def test_the_next_rows_are_read_while_the_server_works(
    keys: list[Any], other: psycopg.Connection[Any]
) -> None:
    other.execute("UPDATE testapp_subscriber SET note = 'held' WHERE id = %s", [keys[0]])

    def rows() -> Iterator[Pair]:
        for number, pair in enumerate(changes(keys)):
            if number == CHUNK_ROWS:
                other.rollback()  # what the statement of the first rows waits for
            yield pair

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '20s'")  # an end, where they are not
        result = update(rows())
    assert (result.updated, result.method) == (ROWS, "staged")
    assert amounts() == [1] * ROWS


def test_no_more_than_one_chunk_is_read_ahead(keys: list[Any], other: psycopg.Connection[Any]) -> None:
    other.execute("UPDATE testapp_subscriber SET note = 'held' WHERE id = %s", [keys[0]])
    read: list[int] = []
    timer = threading.Timer(0.5, lambda: (read.append(-1), other.rollback()))

    def rows() -> Iterator[Pair]:
        timer.start()
        for number, pair in enumerate(changes(keys)):
            read.append(number)
            yield pair

    update(rows())
    assert read.index(-1) == 2 * CHUNK_ROWS


class TestTheCallersCode:
    def test_it_finds_the_rows_that_went_before(self, keys: list[Any]) -> None:
        found: list[int] = []

        def rows() -> Iterator[Pair]:
            for pair in changes(keys):
                found.append(Subscriber.objects.filter(amount=1).count())
                yield pair

        update(rows())
        assert found == [number // CHUNK_ROWS * CHUNK_ROWS for number in range(ROWS)]

    def test_it_may_write_and_roll_back_to_savepoints(self, keys: list[Any]) -> None:
        def rows() -> Iterator[Pair]:
            for number, pair in enumerate(changes(keys)):
                with transaction.atomic():
                    Country.objects.create(code=str(number))
                    transaction.set_rollback(number % 2 == 0)
                    yield pair

        assert update(rows()).updated == ROWS
        assert amounts() == [1] * ROWS
        assert Country.objects.count() == ROWS // 2

    def test_it_may_read_with_a_cursor_of_the_server(self, keys: list[Any]) -> None:
        with transaction.atomic():
            queryset = Subscriber.objects.order_by("pk").values_list("pk", flat=True)
            assert update((pk, {"amount": 1}) for pk in queryset.iterator(chunk_size=3)).updated == ROWS
        assert amounts() == [1] * ROWS

    def test_it_may_make_the_same_call(self, keys: list[Any]) -> None:
        def rows() -> Iterator[Pair]:
            for key in keys:
                update([(key, {"amount": 5, "note": "in"})])
                yield key, {"amount": 1}

        update(rows())
        assert set(Subscriber.objects.values_list("amount", "note")) == {(1, "in")}

    def test_it_finds_the_settings_as_they_were(self, keys: list[Any]) -> None:
        found: set[Any] = set()

        def rows() -> Iterator[Pair]:
            for pair in changes(keys):
                with connection.cursor() as cursor:
                    cursor.execute("SELECT current_setting('enable_hashjoin')")
                    found.add(cursor.fetchone())
                yield pair

        update(rows())
        assert found == {("on",)}

    def test_it_is_told_of_rows_that_are_there(self, keys: list[Any]) -> None:
        found: list[int] = []
        update(changes(keys), after_chunk=lambda _rows: found.append(sum(amounts())))
        assert found == [10, 20, 30]

    def test_what_listens_to_statements_hears_of_each_in_its_own_thread(self, keys: list[Any]) -> None:
        heard: list[tuple[str, str]] = []

        def listen(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            if sql.startswith("UPDATE"):
                heard.append((sql, threading.current_thread().name))
                sql += " -- of a test"
            return execute(sql, params, many, context)

        with connection.execute_wrapper(listen), CaptureQueriesContext(connection) as captured:
            assert update(changes(keys)).updated == ROWS
        assert {name for _, name in heard} == {threading.current_thread().name}
        logged = [each["sql"] for each in captured.captured_queries if each["sql"].startswith("UPDATE")]
        assert logged == [f"{sql} -- of a test" for sql, _ in heard]
        assert len(heard) == 3
        assert amounts() == [1] * ROWS


class TestRefusals:
    @pytest.mark.parametrize("at", [0, CHUNK_ROWS - 1, CHUNK_ROWS, ROWS - 1])
    @pytest.mark.parametrize(
        ("odd", "error", "field"),
        [
            ({"amount": None}, RowIntegrityError, "amount"),  # refused by the server
            ({"email": "other"}, RowIntegrityError, "email"),
            ({"note": "nul\0"}, RowDataError, None),  # by the server, as it is staged
            ({"note": "\ud800"}, RowDataError, "note"),  # as it is encoded
            ({"amount": 2**40}, RowDataError, "amount"),  # as it is prepared
        ],
    )
    def test_a_row_is_named_by_its_own_number(
        self, keys: list[Any], at: int, odd: dict[str, Any], error: type[Exception], field: str | None
    ) -> None:
        Subscriber.objects.create(code="other", email="other")
        rows = list(changes(keys, **{f"at_{number}": dict.fromkeys(odd) for number in range(ROWS)}))
        rows = [
            (key, {"amount": 1, "note": "", "email": f"n{number}"}) for number, (key, _) in enumerate(rows)
        ]
        rows[at][1].update(odd)
        with pytest.raises(error) as caught:
            update(iter(rows))
        assert (caught.value.row_number, caught.value.field) == (at, field)  # type: ignore[attr-defined]
        assert set(amounts()) == {0}
        assert nothing_goes_on()

    @pytest.mark.parametrize("later", ["shape", "value", "text", "generator"])
    def test_the_earlier_of_two_is_told(self, keys: list[Any], later: str) -> None:
        """The later is met first, for it is read while the server has the earlier."""

        def rows() -> Iterator[Any]:
            for number, (key, values) in enumerate(changes(keys, at_3={"amount": None})):
                if number != CHUNK_ROWS + 2:
                    yield key, values | {"note": ""}
                elif later == "generator":
                    raise KeyError(number)
                else:
                    odd = {"shape": {"nothing": 1}, "value": {"amount": 2**40}, "text": {"note": "\ud800"}}
                    yield key, values | {"note": ""} | odd[later]

        with pytest.raises(RowIntegrityError) as caught:
            update(rows())
        assert (caught.value.row_number, caught.value.field) == (3, "amount")
        assert set(amounts()) == {0}

    def test_the_later_is_told_where_there_is_no_other(self, keys: list[Any]) -> None:
        rows = [*changes(keys[:-1]), (keys[-1], {"nothing": 1})]
        with pytest.raises(RowShapeError, match=f"Row {ROWS - 1} "):
            update(rows)
        assert set(amounts()) == {0}

    def test_the_callers_code_does_not_meet_a_transaction_that_has_failed(self, keys: list[Any]) -> None:
        found: list[int] = []

        def rows() -> Iterator[Pair]:
            for number, pair in enumerate(changes(keys, at_3={"amount": None})):
                if number >= CHUNK_ROWS:
                    found.append(Subscriber.objects.filter(amount=1).count())
                yield pair

        with pytest.raises(RowIntegrityError) as caught:
            update(rows())
        assert caught.value.row_number == 3
        assert found == [0] * CHUNK_ROWS

    def test_they_are_reported(self, keys: list[Any]) -> None:
        odd = {"amount": None}
        result = update(changes(keys, at_3=odd, at_12=odd, at_29={"amount": 2**40}), on_error="report")
        assert [each.row_number for each in result.skipped] == [3, 12, 29]
        assert result.updated == ROWS - 3
        assert amounts() == [0 if number in {3, 12, 29} else 1 for number in range(ROWS)]


class TestAnEnd:
    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
    @pytest.mark.parametrize("is_outer", [True, False])
    @pytest.mark.parametrize("at", [CHUNK_ROWS, CHUNK_ROWS + 3, ROWS])
    def test_an_error_of_the_generator_leaves_nothing(
        self, keys: list[Any], error: type[BaseException], is_outer: bool, at: int
    ) -> None:
        def rows() -> Iterator[Pair]:
            yield from list(changes(keys))[:at]
            raise error

        with transaction.atomic() if is_outer else nullcontext():
            with pytest.raises(error):
                update(rows())
            assert nothing_goes_on()
            Subscriber.objects.create(code="own")
        assert set(amounts()) == {0}
        assert Subscriber.objects.filter(code="own").exists()

    @pytest.mark.parametrize("is_outer", [True, False])
    def test_an_interrupt_stops_a_statement_that_waits_for_others(
        self, keys: list[Any], other: psycopg.Connection[Any], is_outer: bool
    ) -> None:
        other.execute("UPDATE testapp_subscriber SET note = 'held' WHERE id = %s", [keys[0]])

        def rows() -> Iterator[Pair]:
            yield from list(changes(keys))[:CHUNK_ROWS]
            raise KeyboardInterrupt

        with transaction.atomic() if is_outer else nullcontext():
            with pytest.raises(KeyboardInterrupt):
                update(rows())
            assert nothing_goes_on()
            Subscriber.objects.create(code="own")
        assert set(amounts()) == {0}

    @pytest.mark.parametrize("unheard", [1, 3])
    def test_a_server_that_had_not_begun_is_told_to_stop_again(
        self,
        keys: list[Any],
        other: psycopg.Connection[Any],
        unheard: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """As PostgreSQL does, it takes no notice of being stopped while it is idle."""
        other.execute("UPDATE testapp_subscriber SET note = 'held' WHERE id = %s", [keys[0]])
        stop, told = psycopg.Connection.cancel_safe, []

        def stopped(driver: psycopg.Connection[Any], **kwargs: Any) -> None:
            told.append(driver)
            if len(told) > unheard:
                stop(driver, **kwargs)

        monkeypatch.setattr(psycopg.Connection, "cancel_safe", stopped)

        def rows() -> Iterator[Pair]:
            yield from list(changes(keys))[:CHUNK_ROWS]
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            update(rows())
        assert len(told) == unheard + 1
        assert nothing_goes_on()
        assert set(amounts()) == {0}

    def test_a_session_that_is_ended_is_told(self, keys: list[Any], other: psycopg.Connection[Any]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (own,) = cursor.fetchone()
        other.execute("UPDATE testapp_subscriber SET note = 'held' WHERE id = %s", [keys[0]])

        def rows() -> Iterator[Pair]:
            for number, pair in enumerate(changes(keys)):
                if number == CHUNK_ROWS:
                    other.execute("SELECT pg_terminate_backend(%s)", [own])
                yield pair

        with pytest.raises(OperationalError):
            update(rows())
        assert nothing_goes_on()
        other.rollback()
        connection.close()
        assert set(amounts()) == {0}

    def test_a_listener_that_forbids_the_statement_is_heard(self, keys: list[Any]) -> None:
        def forbid(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            if sql.startswith("UPDATE"):
                raise PermissionError("no writes here")
            return execute(sql, params, many, context)

        with connection.execute_wrapper(forbid), pytest.raises(PermissionError):
            update(changes(keys))
        assert set(amounts()) == {0}
        assert nothing_goes_on()


def test_rows_come_from_the_event_loop() -> None:
    made = Stock.objects.bulk_create([Stock(shop="A", sku=number) for number in range(1_200)])

    async def rows() -> Any:
        for each in made:
            yield each.pk, {"amount": each.sku}

    result = async_to_sync(abulk_update)(Stock, rows(), chunk_rows=100)
    assert (result.updated, result.method) == (1_200, "staged")
    assert all(sku == amount for sku, amount in Stock.objects.values_list("sku", "amount"))
    assert nothing_goes_on()
