"""PostgreSQL's COPY: what it tells outward, and when it leaves the work to INSERT."""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.bulk import (
    RowDataError,
    RowIntegrityError,
    bulk_insert,
    bulk_update,
    copy,
    foreign_keys,
    sending,
)
from perfkit.bulk.sending import OPEN_SECONDS, Sending
from perfkit.signals import rows_written
from tests.testapp.bulk import City, Country, Everything, Keyed, Subscriber

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgres,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="COPY is PostgreSQL's"),
]


@pytest.fixture
def announced():
    heard = []

    def hear(sender, **arguments):
        del arguments["signal"]
        heard.append((sender, arguments, sender.objects.count(), connection.in_atomic_block))

    rows_written.connect(hear)
    yield heard
    rows_written.disconnect(hear)


def test_it_announces_its_rows_once_inside_the_transaction(announced):
    bulk_insert(Country, [{"code": each} for each in "abcde"], chunk_rows=2)
    assert announced == [(Country, {"using": "default", "operation": "insert", "pks": None}, 5, True)]


def test_it_announces_them_again_in_another_transaction(announced):
    bulk_insert(Country, [{"code": each} for each in "abcde"], chunk_rows=2, on_error="report")
    assert [count for _, _, count, _ in announced] == [2, 4, 5]


@pytest.mark.parametrize("rows", [[], [{"code": "too long"}]])
def test_it_announces_nothing_where_nothing_was_written(announced, rows):
    if rows:
        with pytest.raises(RowDataError):
            bulk_insert(Country, rows)
    else:
        bulk_insert(Country, rows)
    assert announced == []


@pytest.mark.parametrize("count", [1, 50])
def test_it_asks_as_much_for_one_row_as_for_fifty(count):
    Country.objects.create(code="PE")
    rows = [{"name": str(each), "country_id": "PE"} for each in range(count)]
    with transaction.atomic(), CaptureQueriesContext(connection) as captured:
        bulk_insert(City, rows)
    asked = [query["sql"].split()[0] for query in captured.captured_queries]
    assert asked == ["SAVEPOINT", "SELECT", "COPY", "RELEASE"]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE testapp_keyed ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE testapp_keyed ALTER name TYPE char(10)",
        "CREATE RULE doubled AS ON INSERT TO testapp_keyed DO ALSO NOTHING",
    ],
)
def test_it_inserts_where_copy_does_not_serve_the_table(change):
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(change)
        assert bulk_insert(Keyed, [{"name": "a"}]).method == "insert"
        assert Keyed.objects.count() == 1
        transaction.set_rollback(True)


def test_it_follows_the_tables_real_types():
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE testapp_everything ALTER small TYPE bigint, ALTER short TYPE varchar(7)"
            )
        assert bulk_insert(Everything, [{"small": 2**40, "short": "seven77"}]).method == "copy"
        assert Everything.objects.values_list("small", "short").get() == (2**40, "seven77")
        transaction.set_rollback(True)


def test_it_leaves_the_connection_usable_after_a_failure_in_autocommit():
    with pytest.raises(RowDataError):
        bulk_insert(Everything, [{"text": "a"}, {"text": "nul\0"}])
    assert not connection.in_atomic_block
    assert bulk_insert(Everything, [{"text": "b"}]).rows == 1
    assert list(Everything.objects.values_list("text", flat=True)) == ["b"]


@pytest.fixture
def a_copy_for_each_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "FIRST_BYTES", 0)


def cities(count: int, **odd: dict[str, object]) -> Iterator[dict[str, object]]:
    for number in range(count):
        yield {"name": f"n{number}", "country_id": "PE", "population": 1} | odd.get(f"at_{number}", {})


@pytest.mark.parametrize(
    ("odd", "field", "value"),
    [
        ({"name": "n3"}, None, None),  # of a row after the first three
        ({"population": -1}, None, None),
        ({"country_id": "ZZ"}, "country", "a str of 2 characters"),
    ],
)
@pytest.mark.parametrize("at", [4, 4_999, 17_003, 29_999])
def test_a_row_that_is_refused_later_is_named_by_its_own_number(odd, field, value, at):
    Country.objects.create(code="PE")
    with pytest.raises(RowIntegrityError) as caught:
        bulk_insert(City, cities(30_000, **{f"at_{at}": odd}))
    assert (caught.value.row_number, caught.value.field, caught.value.value_summary) == (at, field, value)
    assert not City.objects.exists()


@pytest.mark.usefixtures("a_copy_for_each_chunk")
def test_the_callers_generator_may_use_the_connection_while_rows_are_under_way():
    Country.objects.create(code="PE")
    counts = []

    def rows():
        for number, row in enumerate(cities(5_000)):
            if number % 700 == 0:
                counts.append(City.objects.count())
                Country.objects.create(code=f"{number // 700}")
            yield row

    assert bulk_insert(City, rows(), chunk_rows=100).rows == 5_000
    assert counts == [number * 700 for number in range(8)]
    assert Country.objects.count() == 9


@pytest.mark.usefixtures("a_copy_for_each_chunk")
def test_rows_refused_under_way_are_told_though_the_generator_met_the_failed_transaction_first():
    Country.objects.create(code="PE")

    def rows():
        for number, row in enumerate(cities(1_000, at_7={"population": -1})):
            if number == 500:
                City.objects.count()
            yield row

    with pytest.raises(RowIntegrityError) as caught:
        bulk_insert(City, rows(), chunk_rows=500)
    assert caught.value.row_number == 7
    assert not City.objects.exists()


@pytest.mark.usefixtures("a_copy_for_each_chunk")
def test_an_error_of_the_generator_undoes_what_is_under_way():
    Country.objects.create(code="PE")

    def rows():
        yield from cities(2_000)
        raise RuntimeError("the source ended early")

    with pytest.raises(RuntimeError):
        bulk_insert(City, rows(), chunk_rows=500)
    assert not City.objects.exists()
    for thread in threading.enumerate():
        if thread.name == "perfkit-copy":
            thread.join(5)
            assert not thread.is_alive()


def delay(monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> None:
    """Have each COPY under way begin late."""
    begin = Sending._copy

    def late(self, cursor, statement):
        time.sleep(seconds)
        begin(self, cursor, statement)

    monkeypatch.setattr(Sending, "_copy", late)


@pytest.mark.usefixtures("a_copy_for_each_chunk")
@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
@pytest.mark.parametrize("is_outer", [True, False])
def test_a_thread_that_is_late_sends_nothing_after_the_rollback(monkeypatch, error, is_outer):
    delay(monkeypatch, seconds=0.3)

    def rows():
        yield from ({"code": str(number)} for number in range(20))
        raise error

    with transaction.atomic() if is_outer else nullcontext():
        with pytest.raises(error):
            bulk_insert(Subscriber, rows(), chunk_rows=10)
        Subscriber.objects.create(code="own")
    assert Subscriber.objects.get().code == "own"


def test_a_copy_that_is_abandoned_before_it_begins_never_begins(monkeypatch):
    started = []
    monkeypatch.setattr(Sending, "_copy", lambda *_: started.append(True))
    cursor = type("Cursor", (), {"connection": None})
    under_way = Sending(buffer=None, cursor=cursor, statement="", stays_open=True)
    under_way.abandon()
    under_way.start()
    under_way._is_done.wait()
    assert not started


@pytest.mark.usefixtures("a_copy_for_each_chunk")
def test_savepoints_that_the_generator_rolls_back_take_no_rows_with_them(monkeypatch):
    delay(monkeypatch, seconds=0.05)

    def rows():
        for number in range(40):
            with transaction.atomic():
                Country.objects.create(code=f"{number}")
                transaction.set_rollback(True)
            yield {"code": str(number)}

    assert bulk_insert(Subscriber, rows(), chunk_rows=10).rows == 40
    assert Subscriber.objects.count() == 40
    assert not Country.objects.exists()


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each COPY that began while rows were still read."""
    statements = []
    begin = Sending._copy

    def noted(self, cursor, statement):
        statements.append(statement)
        begin(self, cursor, statement)

    monkeypatch.setattr(Sending, "_copy", noted)
    return statements


def codes(count: int) -> Iterator[dict[str, object]]:
    return ({"code": str(number)} for number in range(count))


@pytest.fixture
def open_long(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a COPY end only because somebody has it end."""
    monkeypatch.setattr(sending, "OPEN_SECONDS", 60)
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 30, "nobody had the COPY end"


class QueryingEncoder(json.JSONEncoder):
    """Asks the database, as that of an API does of a queryset."""

    def default(self, o):
        return sorted(o.objects.values_list("pk", flat=True))


@pytest.mark.usefixtures("a_copy_for_each_chunk", "open_long")
class TestOpen:
    """A COPY that takes the chunks that follow."""

    def test_the_callers_encoder_may_use_the_connection(self, monkeypatch):
        monkeypatch.setattr(Everything._meta.get_field("encoded"), "encoder", QueryingEncoder)
        monkeypatch.setattr(foreign_keys, "LEAST_ROWS", 10**9)
        with transaction.atomic():
            rows = [{"encoded": {"n": n, "rows": Everything if n % 30 == 29 else 0}} for n in range(100)]
            assert bulk_insert(Everything, rows, chunk_rows=10).rows == 100
        there = [*Everything.objects.order_by("pk").values_list("encoded", flat=True)]
        assert [each["n"] for each in there] == [*range(100)]
        assert [len(each["rows"]) for each in there if each["rows"]], "the rows before it were there"

    def test_a_copy_that_has_failed_takes_no_more_rows(self):
        read = []

        def rows():
            for number in range(100_000):
                if number == 100:
                    connection.connection.close()
                if number > 100:
                    time.sleep(0.01)
                read.append(number)
                yield {"code": str(number)}

        with pytest.raises(DatabaseError):
            bulk_insert(Subscriber, rows(), chunk_rows=10)
        connection.close()
        assert len(read) < 2_000
        assert not Subscriber.objects.exists()

    def test_a_machine_without_threads_is_an_error(self, monkeypatch):
        def start(self):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start"):
            bulk_insert(Subscriber, codes(100), chunk_rows=10)
        assert not Subscriber.objects.exists()

    def test_rows_that_the_callers_code_may_read_were_told(self, announced):
        def rows():
            yield from codes(20)
            assert len(announced) == 1
            yield {"code": "last"}

        bulk_insert(Subscriber, rows(), chunk_rows=10)
        assert len(announced) == 1

    def test_bulk_calls_of_the_generator_end_it_and_go_on(self):
        def countries():
            for number in range(40):
                if number == 20:
                    assert (
                        bulk_insert(Country, ({"code": f"{n}"} for n in range(30)), chunk_rows=5).rows == 30
                    )
                    pks = [*Country.objects.values_list("pk", flat=True)]
                    assert bulk_update(Country, ((pk, {"name": "b"}) for pk in pks)).rows == 30
                yield {"code": str(number)}

        with transaction.atomic():
            assert bulk_insert(Subscriber, countries(), chunk_rows=5).rows == 40
        assert (Subscriber.objects.count(), Country.objects.filter(name="b").count()) == (40, 30)

    # Of an interrupt within a callback that Python runs by itself, such as a weak reference's, it only tells.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_an_interrupt_of_who_waits_for_it_leaves_the_connection_free(self, monkeypatch):
        """As Ctrl-C or the time limit of a task: by a signal, at any place."""

        told = []

        def interrupt(*_):
            told.append(True)
            raise KeyboardInterrupt

        def rows():
            for number in itertools.count():
                if number % 10 == 0:
                    Country.objects.exists()
                    if told:  # it came while Python ran what ignores it, a `__del__`
                        raise KeyboardInterrupt
                yield {"code": f"{number}"}

        monkeypatch.setattr(sending, "OPEN_SECONDS", 0.01)
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            for number in range(60):
                told.clear()
                with pytest.raises(KeyboardInterrupt):
                    signal.setitimer(signal.ITIMER_REAL, 0.005 + number * 0.0007)
                    bulk_insert(Subscriber, rows(), chunk_rows=10)
                assert not Subscriber.objects.exists()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def test_it_is_one_for_all_chunks(self, begun):
        assert bulk_insert(Subscriber, codes(5_000), chunk_rows=50).rows == 5_000
        assert len(begun) == 1
        assert [*Subscriber.objects.order_by("pk").values_list("code", flat=True)] == [
            *map(str, range(5_000))
        ]

    def test_it_is_one_in_the_callers_transaction_and_with_foreign_keys(self, begun):
        Country.objects.create(code="PE")
        with transaction.atomic():
            bulk_insert(City, cities(3_000), chunk_rows=50)
        assert len(begun) == 1
        assert City.objects.count() == 3_000

    def test_it_is_one_for_each_chunk_where_keys_are_checked_by_set(self, begun, monkeypatch):
        Country.objects.create(code="PE")
        bulk_insert(City, cities(3_000), chunk_rows=1_000)
        assert begun == []  # no other code may run while the triggers are silent
        City.objects.all().delete()
        monkeypatch.setattr(foreign_keys, "LEAST_ROWS", 2_000)
        bulk_insert(City, cities(3_000), chunk_rows=1_000)
        assert len(begun) == 3

    @given(data=st.data())
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
    def test_all_rows_are_there_in_their_order_whatever_ends_it(self, data, monkeypatch):
        monkeypatch.setattr(copy, "FIRST_BYTES", data.draw(st.sampled_from([0, 400, 2**17]), "enough"))
        monkeypatch.setattr(sending, "MOST_BYTES", data.draw(st.sampled_from([1, 40_000, 2**22]), "most"))
        monkeypatch.setattr(sending, "OPEN_SECONDS", data.draw(st.sampled_from([0, 0.001, 1]), "open"))
        asked_at = data.draw(st.sets(st.integers(0, 2_999), max_size=5), "asked at")
        other_columns_at = data.draw(st.sets(st.integers(0, 2_999), max_size=5), "other columns at")
        return_ids = data.draw(st.booleans(), "ids")
        Everything.objects.all().delete()

        def rows():
            for number in range(3_000):
                if number in asked_at:
                    Country.objects.exists()
                yield {"whole": number} | ({"small": 1} if number in other_columns_at else {})

        ids = bulk_insert(
            Everything, rows(), chunk_rows=data.draw(st.sampled_from([7, 500])), return_ids=return_ids
        ).ids
        there = Everything.objects.order_by("pk").values_list("pk", "whole", "small")
        assert [whole for _, whole, _ in there] == [*range(3_000)]
        assert {whole for _, whole, small in there if small == 1} == other_columns_at
        assert ids == ([pk for pk, *_ in there] if return_ids else None)

    def test_a_value_that_cannot_be_sent_is_named_and_undoes_all(self, begun):
        rows = [*codes(1_000)]
        rows[640]["note"] = "\0"
        with pytest.raises(RowDataError) as caught:
            bulk_insert(Subscriber, rows, fields=["code", "note"], chunk_rows=50)
        assert (caught.value.row_number, caught.value.field) == (640, "note")
        assert len(begun) == 1
        assert not Subscriber.objects.exists()

    def test_a_row_that_the_server_refuses_is_named_while_others_follow(self):
        def rows():
            for number in range(40_000):
                yield {"code": "twice" if number in {30, 31} else str(number)}

        with pytest.raises(RowIntegrityError) as caught:
            bulk_insert(Subscriber, rows(), chunk_rows=10)
        assert caught.value.row_number == 31
        assert not Subscriber.objects.exists()

    def test_another_thread_that_wants_the_connection_has_it_end(self):
        asked = []
        shared = connections["default"]

        def ask():
            with shared.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM testapp_subscriber")
                asked.append(cursor.fetchone())

        def rows():
            yield from codes(100)
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
            yield {"code": "last"}

        shared.inc_thread_sharing()
        try:
            assert bulk_insert(Subscriber, rows(), chunk_rows=50).rows == 101
        finally:
            shared.dec_thread_sharing()
        assert asked == [(100,)]

    def test_it_does_not_stay_open_while_no_rows_come(self, monkeypatch):
        """The server counts the time in which a COPY waits as the statement's."""
        monkeypatch.setattr(sending, "OPEN_SECONDS", OPEN_SECONDS)

        def rows():
            yield from codes(100)
            time.sleep(1.5)
            yield {"code": "last"}

        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout = '700ms'")
            assert bulk_insert(Subscriber, rows(), chunk_rows=50).rows == 101
        assert Subscriber.objects.count() == 101

    def test_the_connections_own_lock_is_back_after_it(self):
        connection.ensure_connection()
        own = connection.connection.lock
        for error in (None, KeyError):

            def rows(error=error):
                yield from codes(100)
                assert connection.connection.lock is not own
                if error is not None:
                    raise error

            with nullcontext() if error is None else pytest.raises(error):
                bulk_insert(Subscriber, rows(), chunk_rows=50)
            assert connection.connection.lock is own
            Subscriber.objects.all().delete()
