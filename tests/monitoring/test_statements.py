from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction
from django.db.models.expressions import RawSQL
from ninja import Schema

from perfkit.api import acompiled_json
from perfkit.monitoring import statements
from perfkit.monitoring.boards import STATEMENTS, Seen, boards, boards_of, read_all
from perfkit.monitoring.figures import Pages, QueryFigures
from perfkit.monitoring.recording import recorder, switch
from perfkit.monitoring.series import FIVES, Series
from perfkit.monitoring.statements import install, measure, verb_of
from perfkit.monitoring.work import measured as measured_work
from perfkit.signals import query_timed
from tests.api.compiling.loops import on_a_loop, pooled_statements
from tests.monitoring.conftest import Measured
from tests.monitoring.held_up import hold_up
from tests.testapp.loading import Person

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _installed(db: None) -> None:
    install()
    connection.ensure_connection()


def verbs(measured: Measured) -> dict[str, tuple[int, int, int]]:
    """Return of each verb: statements, slow ones, failed ones."""
    return {each.verb: (each.timing.count, each.slow, each.failed) for each in measured.summary().by_verb}


def texts(measured: Measured) -> dict[str, QueryFigures]:
    return {each.seen.text if each.seen else "": each for each in measured.summary().statements}


def around(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    return execute(sql, params, many, context)


def test_a_statement_that_was_seen_before_is_only_counted(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(Group.objects.filter(name="a"))
    monkeypatch.setattr(statements, "_note", None)  # what looks at it more closely, and raises from now on
    with measured_work() as work:
        for name in "bcd":
            list(Group.objects.filter(name=name))
    assert work.queries == 3
    assert 0 < work.database_seconds < 60
    assert verbs(measured) == {"SELECT": (4, 0, 0)}


@pytest.mark.parametrize(
    ("is_on", "slow_seconds", "nanoseconds"),
    [(True, 0.25, 250_000_000), (True, 0, 0), (True, 86_400.0, 3_600 * 10**9), (False, 0.25, 0)],
)
def test_what_may_be_slow_is_looked_at_more_closely(
    measured: Measured,
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
    is_on: bool,
    slow_seconds: float,
    nanoseconds: int,
) -> None:
    count(1)
    settings.PERFKIT = {
        **settings.PERFKIT,
        "METRICS_ENABLED": is_on,
        "QUERY_SLOW_THRESHOLD": slow_seconds,
    }
    assert switch.plain_nanoseconds == nanoseconds
    recorder.tell()
    noted: list[object] = []
    monkeypatch.setattr(statements, "_note", lambda *told, **_: noted.append(told))
    count(1)
    assert len(noted) == (0 if nanoseconds else 1)


def count(times: int) -> None:
    for _ in range(times):
        measure(lambda *_: None, "SELECT 1", None, False, {"connection": connection})


def test_threads_lose_no_statement_while_it_is_told(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perfkit.monitoring.journal.Segment.__init__.__kwdefaults__", {"events": 100})
    own = connection
    ended = threading.Event()

    def tell() -> None:
        while not ended.is_set():
            recorder.tell()

    def work() -> None:
        for _ in range(5_000):
            measure(lambda *_: None, "SELECT 1", None, False, {"connection": own})

    teller = threading.Thread(target=tell)
    working = [threading.Thread(target=work) for _ in range(4)]
    for thread in (teller, *working):
        thread.start()
    for thread in working:
        thread.join()
    ended.set()
    teller.join()
    assert verbs(measured) == {"SELECT": (20_000, 0, 0)}


def test_a_statement_that_was_held_up_until_its_segment_was_gone_is_counted(measured: Measured) -> None:
    count(2)
    segment = hold_up(recorder)
    count(1)
    assert recorder.segment is not segment
    count(1)
    assert verbs(measured) == {"SELECT": (4, 0, 0)}


def test_it_counts_by_verb_and_by_text(measured: Measured) -> None:
    Group.objects.create(name="a")
    Group.objects.filter(name="a").update(name="b")
    Group.objects.filter(name__in=["b"]).exists()
    Group.objects.filter(name="c").exists()
    assert verbs(measured) == {"INSERT": (1, 0, 0), "UPDATE": (1, 0, 0), "SELECT": (2, 0, 0)}
    assert measured.summary().queries.timing.count == 4
    (update,) = [each for text, each in texts(measured).items() if text.startswith("UPDATE")]
    assert update.seen is not None
    assert update.seen.line.startswith("tests/monitoring/test_statements.py:")
    assert (update.alias, update.timing.count) == ("default", 1)


@pytest.mark.parametrize("others", [(measure,), (around,), (around, measure, around), (measure, measure)])
def test_whatever_stands_around_a_statement_it_is_counted_once(
    measured: Measured, others: tuple[Any, ...]
) -> None:
    before = list(connection.execute_wrappers)
    connection.execute_wrappers.extend(others)
    try:
        with measured_work() as work:
            Group.objects.count()
    finally:
        connection.execute_wrappers[:] = before
    assert verbs(measured) == {"SELECT": (1, 0, 0)}
    assert work.queries == 1


def test_a_wrapper_that_sends_its_own_has_it_counted_too(measured: Measured) -> None:
    def asking(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if "auth_group" in sql:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(asking):
        Group.objects.count()
    assert verbs(measured) == {"SELECT": (2, 0, 0)}


def test_many_at_once_are_one_statement(measured: Measured) -> None:
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO auth_group (name) VALUES (%s)", [("a",), ("b",), ("c",)])
    assert verbs(measured) == {"INSERT": (1, 0, 0)}
    assert Group.objects.count() == 3


def test_one_that_fails_is_counted_and_its_error_is_its_own(measured: Measured) -> None:
    with pytest.raises(DatabaseError, match="nowhere"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT nonsense FROM nowhere")
    assert verbs(measured)["SELECT"] == (1, 0, 1)


def test_slow_ones_are_counted_also_where_none_are_logged(measured: Measured, settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "QUERY_SLOW_THRESHOLD": 0.0, "QUERY_SLOW_LOGS_PER_MINUTE": 0}
    with measured_work() as work:
        Group.objects.count()
    assert verbs(measured) == {"SELECT": (1, 1, 0)}
    assert work.slow == 1
    assert measured.summary().queries.slow_share == 1.0


def test_savepoints_are_one_statement_whatever_they_are_called(measured: Measured) -> None:
    for number in range(3_000):
        with connection.cursor() as cursor:
            cursor.execute(f'SAVEPOINT "s140_x{number}"')
            cursor.execute(f'RELEASE SAVEPOINT "s140_x{number}"')
    for _ in range(2):
        with transaction.atomic():
            transaction.set_rollback(True)
    assert verbs(measured)["OTHER"] == (6_000 + 2 * 3, 0, 0)
    assert len(statements._known) == 3
    assert "s140_x" not in measured.text()


def test_texts_with_values_in_them_are_one_statement(measured: Measured) -> None:
    with connection.cursor() as cursor:
        for number in range(2_500):
            cursor.execute(f"SELECT {number} AS secret_number")
    (one,) = [each for text, each in texts(measured).items() if "secret_number" in text]
    assert one.timing.count == 2_500
    assert len(statements._known) <= statements.MOST_TEXTS


def test_long_texts_are_not_kept(measured: Measured) -> None:
    for number in range(2):
        Group.objects.bulk_create([Group(name=f"{number}-{each}") for each in range(2_000)])
    assert max(len(name) for _, name in statements._known) <= statements.LONGEST_TEXT
    assert verbs(measured)["INSERT"][0] >= 2


def test_fingerprints_without_end_are_bounded(measured: Measured) -> None:
    with connection.cursor() as cursor:
        for number in range(statements.MOST_FINGERPRINTS + 50):
            cursor.execute(f"SELECT 1 AS column_{number}_{'x' * number}")
    part = FIVES.part(time.time())
    assert measured.summary().queries.timing.count == statements.MOST_FINGERPRINTS + 50
    pages = Pages(*measured.ledger().sums([[FIVES.name(part), FIVES.name(part + 1)]]))
    found = pages.statements(most=1_000)
    (other,) = [each for each in found if each.fingerprint == "other"]
    assert other.timing.count == 50
    assert len(found) == statements.MOST_FINGERPRINTS + 1


def test_what_is_used_stays_known_however_many_others_there_are(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = []
    learn = statements._learned
    monkeypatch.setattr(statements, "_learned", lambda *told: learned.append(told[1]) or learn(*told))
    with connection.cursor() as cursor:
        for number in range(3 * statements.MOST_TEXTS):
            cursor.execute(f"SELECT {number} AS passing")
            if not number % 50:
                cursor.execute("SELECT 1 AS used")
    assert learned.count("SELECT 1 AS used") == 1
    assert len(statements._known) <= statements.MOST_TEXTS


def test_statements_that_were_not_used_for_a_day_make_room(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "MOST_FINGERPRINTS", 2)
    now = time.monotonic()
    with connection.cursor() as cursor:
        for name in ("idle", "busy", "without_room"):
            cursor.execute(f"SELECT 1 AS {name}")
        measured.ledger()
        for hours in (13, 26):
            monkeypatch.setattr(recorder, "_clock", lambda hours=hours: now + hours * 3_600)
            cursor.execute("SELECT 1 AS busy")
            measured.ledger()
        cursor.execute("SELECT 1 AS without_room")
    assert set(texts(measured)) >= {"SELECT ? AS busy", "SELECT ? AS without_room"}
    assert {seen.text for seen in boards.known(STATEMENTS).values()} == {
        "SELECT ? AS busy",
        "SELECT ? AS without_room",
    }
    monkeypatch.undo()


def test_the_async_pool_tells_of_its_own(measured: Measured, settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "QUERY_SLOW_THRESHOLD": 1.0}
    with measured_work() as work:
        query_timed.send(None, using="default", sql="SELECT 1 FROM pooled WHERE a = $1", seconds=0.5)
        query_timed.send(
            None, using="default", sql="SELECT 1 FROM pooled WHERE a = $1", seconds=2.0, has_failed=True
        )
    assert verbs(measured) == {"SELECT": (2, 1, 1)}
    assert (work.queries, work.slow, work.database_seconds) == (2, 1, 2.5)
    assert texts(measured)["SELECT ? FROM pooled WHERE a = $1"].timing.total_seconds == 2.5


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_what_the_async_pool_reads_is_counted(measured: Measured, settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "ASYNC_POOL_SIZE": 2}

    class NameOut(Schema):
        name: str

    Person.objects.create(name="secret")

    def read() -> Any:
        return acompiled_json(Person.objects.filter(name="secret"), NameOut)

    connection.close()
    with pooled_statements() as pooled:
        assert json.loads(on_a_loop(read)) == [{"name": "secret"}]
    assert len(pooled) == 1
    (statement,) = [each for text, each in texts(measured).items() if text.startswith("SELECT")]
    assert statement.timing.count == 1
    assert "secret" not in measured.text()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_what_fails_in_the_async_pool_is_counted_as_such(measured: Measured, settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "ASYNC_POOL_SIZE": 2}

    class QuotientOut(Schema):
        quotient: int

    Person.objects.create(name="one")
    rows = Person.objects.annotate(quotient=RawSQL("1 / (id - id)", ()))
    connection.close()
    with pooled_statements() as pooled, pytest.raises(DatabaseError):
        on_a_loop(lambda: acompiled_json(rows, QuotientOut))
    assert len(pooled) == 1
    (statement,) = [each for text, each in texts(measured).items() if "- id" in text]
    assert (statement.timing.count, statement.failed) == (1, 1)


def test_a_statement_that_cannot_be_recorded_answers(
    measured: Measured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the recorder is broken")

    monkeypatch.setattr(statements.recorder, "record", fail)
    assert Group.objects.count() == 0
    assert "A statement could not be measured." in caplog.text


def test_the_board_has_text_and_place_of_each(measured: Measured) -> None:
    Group.objects.filter(name="secret").exists()
    ledger, now = measured.ledger(), time.time()
    notes = read_all(ledger.posted(boards_of(STATEMENTS, now - 60, now)), Seen)
    seen = [note for note in notes.values() if note.line.endswith(f"test_statements.py:{_line()}")]
    assert [note.alias for note in seen] == ["default"]
    assert "secret" not in seen[0].text


def _line() -> int:
    code = test_the_board_has_text_and_place_of_each.__code__
    return code.co_firstlineno + 1


@pytest.mark.parametrize(
    ("sql", "verb"),
    [
        ("(SELECT 1) UNION (SELECT 2)", "SELECT"),
        ("WITH a AS (SELECT 1) UPDATE b SET c = ?", "UPDATE"),
        ("EXPLAIN SELECT 1", "OTHER"),
        ("", "OTHER"),
    ],
)
def test_it_knows_verbs(sql: str, verb: str) -> None:
    assert verb_of(sql) == verb


def test_a_statement_of_two_databases_is_known_while_one_of_them_uses_it(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "quoted_names", lambda _: None)  # there is one database only
    sql = "SELECT 1 FROM somewhere"
    for alias in ("default", "elsewhere"):
        query_timed.send(None, using=alias, sql=sql, seconds=0.001, values=())
    (fingerprint,) = [
        name for name, seen in boards.known(STATEMENTS).items() if seen.text == "SELECT ? FROM somewhere"
    ]

    def retire(alias: str) -> None:
        number = recorder.series("query", alias, "SELECT", fingerprint)
        for forget in recorder.at_retirement:
            forget(Series("query", (alias, "SELECT", fingerprint)), number)

    retire("elsewhere")
    assert fingerprint in boards.known(STATEMENTS)
    retire("default")
    assert fingerprint not in boards.known(STATEMENTS)
    query_timed.send(None, using="elsewhere", sql=sql, seconds=0.001, values=())
    assert boards.known(STATEMENTS)[fingerprint].alias == "elsewhere"
