from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction
from django.utils import timezone

from perfkit.models import WorkloadCount, WorkloadSample, WorkloadShape
from perfkit.signals import query_timed
from perfkit.workload import capture as module
from perfkit.workload import clear_workload, flush_workload, store
from perfkit.workload.capture import Capture, capture, recording
from perfkit.workload.reading import read_capture
from perfkit.workload.samples import LONGEST_VALUE
from perfkit.workload.shapes import CAPTURE
from tests.plugins.nodes import wait_for
from tests.plugins.postgres import DisposablePostgres
from tests.testapp.bulk import City, Country
from tests.workload.conftest import Captured

CITIES = "testapp_city"


def cities(*found: str) -> list[str]:
    return list(City.objects.filter(name__in=found).values_list("name", flat=True))


def is_reached() -> bool:
    try:
        connection.ensure_connection()
    except DatabaseError:  # the pool has not yet noticed
        return False
    return True


class TestCounting:
    def test_it_counts_each_shape_once_with_all_of_its_calls(self, captured: Captured) -> None:
        for name in ("Lima", "Cusco", "Quito"):
            City.objects.filter(name=name).first()
        shape = captured.only(CITIES)
        assert shape.calls == 3
        assert 0 < shape.total_seconds < 60
        assert shape.sources == (CAPTURE,)
        assert "Lima" not in shape.fingerprint

    def test_it_adds_what_comes_later(self, captured: Captured) -> None:
        for _ in range(3):
            cities("Lima", "Cusco")
            captured.shapes()
        assert captured.only(CITIES).calls == 3

    def test_it_counts_all_four_verbs_and_nothing_else(self, captured: Captured) -> None:
        with transaction.atomic():
            country = Country.objects.create(code="PE")
            Country.objects.filter(code="PE").update(name="Peru")
            country.delete()
        with connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE brief (id integer)")
            cursor.execute("DROP TABLE brief")
        connection.introspection.table_names()
        verbs = [shape.fingerprint.split()[0] for shape in captured.shapes()]
        assert {"INSERT", "UPDATE", "DELETE"} <= set(verbs) <= {"INSERT", "UPDATE", "DELETE", "SELECT"}
        texts = "".join(shape.fingerprint for shape in captured.shapes())
        assert "sqlite_master" not in texts
        assert "pg_catalog" not in texts

    def test_it_counts_statements_that_fail(self, captured: Captured) -> None:
        with pytest.raises(DatabaseError), connection.cursor() as cursor:
            cursor.execute("SELECT missing FROM testapp_city")
        shape = captured.only("missing")
        assert shape.calls == 1
        assert shape.samples == ()

    def test_it_counts_each_of_many(self, captured: Captured) -> None:
        with connection.cursor() as cursor:
            cursor.executemany("UPDATE testapp_city SET name = %s WHERE id = %s", [["a", 1], ["b", 2]])
        assert captured.only("UPDATE").calls == 2

    def test_it_does_not_count_itself(self, captured: Captured) -> None:
        cities("Lima")
        captured.shapes()
        WorkloadShape.objects.count()
        assert [shape for shape in captured.shapes() if "perfkit_" in shape.fingerprint] == []

    def test_it_names_the_line_that_sent_it(self, captured: Captured) -> None:
        cities("Lima")
        (caller,) = captured.only(CITIES).callers
        assert caller.startswith("tests/workload/test_capture.py:")

    def test_it_counts_what_threads_send(self, captured: Captured) -> None:
        def send() -> None:
            for _ in range(20):
                cities("Lima")
            connections.close_all()

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert captured.only(CITIES).calls == 80

    def test_it_counts_what_async_code_sends(self, captured: Captured) -> None:
        async def send() -> None:
            assert [city async for city in City.objects.filter(name="Lima")] == []
            await sync_to_async(connections.close_all)()

        asyncio.run(send())
        assert captured.only(CITIES).calls == 1

    def test_it_counts_what_went_past_djangos_connections(self, captured: Captured) -> None:
        sql = "SELECT name FROM testapp_city WHERE name = %s"
        for name in ("Lima", "Cusco"):
            query_timed.send(None, using="default", sql=sql, seconds=0.5, values=(name,))
        shape = captured.only(CITIES)
        assert (shape.calls, shape.total_seconds) == (2, 1.0)
        assert {sample.split("= ")[1] for sample in shape.samples} <= {"'Lima'", "'Cusco'"}
        assert shape.samples

    def test_it_counts_nothing_while_it_is_off(self, captured: Captured) -> None:
        captured.set(WORKLOAD_ENABLED=False)
        cities("Lima")
        assert captured.shapes() == []

    def test_it_is_off_unless_asked_for(self, transactional_db: None) -> None:
        assert capture.around not in connection.execute_wrappers

    def test_it_changes_no_result_and_no_error(self, captured: Captured) -> None:
        Country.objects.create(code="PE")
        City.objects.create(name="Lima", country_id="PE")
        assert cities("Lima", "Cusco") == ["Lima"]
        with pytest.raises(City.DoesNotExist):
            City.objects.get(name="Cusco")

    def test_it_begins_anew_when_everything_was_cleared(self, captured: Captured) -> None:
        cities("Lima")
        captured.shapes()
        assert clear_workload() == 1
        assert captured.shapes() == []
        cities("Lima")
        assert captured.only(CITIES).calls == 1

    def test_it_records_a_block_whatever_the_settings_say(self, captured: Captured) -> None:
        captured.set(WORKLOAD_ENABLED=False, WORKLOAD_SAMPLE_RATE=0.0)
        with recording():
            cities("Lima")
            cities("Cusco")
        cities("Quito")
        shape = captured.only(CITIES)
        assert (shape.calls, len(shape.samples)) == (2, len({*shape.samples}))
        assert not capture.is_on


class TestSamples:
    def test_it_keeps_the_first_of_each_shape_and_others_by_chance(
        self, captured: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        captured.set(WORKLOAD_SAMPLE_RATE=0.25, WORKLOAD_SAMPLES=100)
        drawn = iter([0.3, 0.2, 0.9, 0.1])
        monkeypatch.setattr(capture, "draws", lambda: next(drawn))
        for number in range(5):
            City.objects.filter(name=f"city {number}").exists()
        samples = captured.only(CITIES).samples
        assert {number for number in range(5) if f"city {number}" in "".join(samples)} == {0, 2, 4}

    def test_it_keeps_no_more_than_so_many_and_the_newest_last(self, captured: Captured) -> None:
        captured.set(WORKLOAD_SAMPLES=3)
        for number in range(50):
            City.objects.filter(name=f"city {number:02}").exists()
            captured.shapes()
        samples = captured.only(CITIES).samples
        assert 1 <= len(samples) <= 3
        assert "city 49" in samples[-1]

    def test_it_keeps_each_statement_once(self, captured: Captured) -> None:
        for _ in range(20):
            City.objects.filter(name="Lima").exists()
            captured.shapes()
        assert len(captured.only(CITIES).samples) == 1

    def test_it_counts_how_often_a_statement_was_taken_in_its_place(self, captured: Captured) -> None:
        captured.set(WORKLOAD_SAMPLES=1)
        for name, takings in (("Lima", 1), ("Lima", 2), ("Cusco", 1), ("Cusco", 2), ("Cusco", 3)):
            City.objects.filter(name=name).exists()
            assert captured.only(CITIES).takings == takings
        for _ in range(4):  # within one interval
            City.objects.filter(name="Cusco").exists()
        assert captured.only(CITIES).takings == 7
        City.objects.filter(name="Lima").exists()
        City.objects.filter(name="Cusco").exists()
        assert captured.only(CITIES).takings == 8
        captured.set(WORKLOAD_VALUES="redacted")
        assert captured.only(CITIES).takings == 0

    def test_it_keeps_none_of_inserts(self, captured: Captured) -> None:
        Country.objects.create(code="PE", name="planted")
        assert captured.only("INSERT").samples == ()

    @pytest.mark.parametrize(
        "value", ["x" * (LONGEST_VALUE + 1), "Lima\ud800"], ids=["too long", "no character"]
    )
    def test_it_keeps_no_value_that_it_cannot(self, captured: Captured, value: str) -> None:
        query = City.objects.filter(name=value).exists
        if value.isascii():
            query()
        else:
            with pytest.raises(UnicodeEncodeError):
                query()
        assert captured.only(CITIES).samples == ()

    def test_it_keeps_no_statement_of_many_values(self, captured: Captured) -> None:
        list(City.objects.filter(name__in=[str(number) for number in range(600)]))
        assert captured.only(CITIES).samples == ()

    def test_it_keeps_one_of_many(self, captured: Captured) -> None:
        with connection.cursor() as cursor:
            cursor.executemany("UPDATE testapp_city SET name = %s WHERE id = %s", [["a", 1], ["b", 2]])
        assert captured.only("UPDATE").samples == ("UPDATE testapp_city SET name = 'a' WHERE id = 1",)


class TestSecrets:
    PLANTED = "s3cr3t-planted"

    def send(self) -> None:
        City.objects.filter(name=self.PLANTED).first()
        User.objects.filter(username=self.PLANTED).first()
        Session.objects.filter(session_key=self.PLANTED).first()
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM testapp_city WHERE name = '{self.PLANTED}' -- {self.PLANTED}")

    def test_it_never_keeps_values_where_they_are_to_be_redacted(
        self,
        captured: Captured,
        table_text: Callable[[], str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG, "perfkit")
        captured.set(WORKLOAD_VALUES="redacted")
        self.send()
        shapes = captured.shapes()
        assert len(shapes) == 4
        assert all(shape.callers and not shape.samples for shape in shapes)
        assert self.PLANTED not in table_text()
        assert self.PLANTED not in caplog.text

    def test_it_removes_values_once_they_are_to_be_redacted(
        self, captured: Captured, table_text: Callable[[], str]
    ) -> None:
        self.send()
        captured.shapes()
        assert self.PLANTED in table_text()
        captured.set(WORKLOAD_VALUES="redacted")
        assert all(not shape.samples for shape in read_capture().shapes)
        self.send()
        captured.shapes()
        assert self.PLANTED not in table_text()

    def test_it_forgets_what_waits_once_values_are_to_be_redacted(
        self, captured: Captured, table_text: Callable[[], str]
    ) -> None:
        self.send()
        captured.set(WORKLOAD_VALUES="redacted")
        captured.shapes()
        assert self.PLANTED not in table_text()

    def test_it_counts_what_is_excluded_without_values(
        self, captured: Captured, table_text: Callable[[], str]
    ) -> None:
        User.objects.filter(username=self.PLANTED).first()
        Session.objects.filter(session_key=self.PLANTED).first()
        User.objects.filter(username=self.PLANTED).update(password=self.PLANTED)
        assert [shape.samples for shape in captured.shapes()] == [(), (), ()]
        assert self.PLANTED not in table_text()

    def test_it_excludes_what_the_settings_name(
        self, captured: Captured, table_text: Callable[[], str]
    ) -> None:
        captured.set(WORKLOAD_EXCLUDE=["auth_*", "testapp_CITY"])
        Group.objects.filter(name=self.PLANTED).first()
        City.objects.filter(name=self.PLANTED).first()
        Country.objects.filter(name="shown").first()
        captured.shapes()
        assert self.PLANTED not in table_text()
        assert captured.only("testapp_country").samples

    def test_it_excludes_one_shape_in_a_process_that_was_told_later(
        self, captured: Captured, table_text: Callable[[], str]
    ) -> None:
        City.objects.filter(name="before").first()
        captured.set(WORKLOAD_EXCLUDE=["testapp_city"])
        City.objects.filter(name=self.PLANTED).first()
        captured.shapes()
        assert self.PLANTED not in table_text()

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="of texts in double quotes, which SQLite takes")
    def test_it_takes_a_text_in_double_quotes_for_a_value(
        self, captured: Captured, table_text: Callable[[], str]
    ) -> None:
        captured.set(WORKLOAD_VALUES="redacted")
        with connection.cursor() as cursor:
            for value in (self.PLANTED, f"{self.PLANTED}-2"):
                cursor.execute(f'SELECT "name" FROM testapp_city WHERE name = "{value}"')
        assert captured.only(CITIES).fingerprint == 'SELECT "name" FROM testapp_city WHERE name = ?'
        assert self.PLANTED not in table_text()

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="of texts in double quotes, which SQLite takes")
    def test_a_name_that_a_shape_does_not_show_is_excluded_too(
        self, captured: Captured, table_text: Callable[[], str]
    ) -> None:
        """Of a table that no model has, another column of which may be shown."""
        captured.set(WORKLOAD_EXCLUDE=["secret_*"])
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE legacy (tinge text, secret_tinge text)")
            try:
                # Several, for what is not shown takes the place of one.
                shown = [("tinge", f"shown {number}") for number in range(8)]
                for column, value in (*shown, ("secret_tinge", self.PLANTED)):
                    cursor.execute(f'SELECT 1 FROM legacy WHERE "{column}" = %s', [value])
                assert captured.only("legacy").fingerprint == "SELECT ? FROM legacy WHERE ? = %s"
            finally:
                cursor.execute("DROP TABLE legacy")
        assert "shown" in table_text()
        assert self.PLANTED not in table_text()


class TestBesideTheProject:
    def test_it_adds_no_query_to_those_of_the_project(
        self, captured: Captured, django_assert_num_queries: Callable[..., object]
    ) -> None:
        with django_assert_num_queries(1):
            cities("Lima")
            flush_workload()

    def test_it_is_no_part_of_the_projects_transaction(self, captured: Captured) -> None:
        with transaction.atomic():
            Country.objects.create(code="PE")
            # On SQLite one transaction writes at a time: what was counted waits for the end of this one.
            assert flush_workload() == (connection.vendor == "postgresql")
            transaction.set_rollback(True)
        assert captured.only("testapp_country").calls == 1
        assert not Country.objects.exists()

    def test_it_leaves_no_connection_open(self, captured: Captured) -> None:
        cities("Lima")
        before = set(map(id, connections.all(initialized_only=True)))
        assert flush_workload()
        assert set(map(id, connections.all(initialized_only=True))) == before

    def test_it_leaves_a_transaction_that_has_failed_as_it_is(self, captured: Captured) -> None:
        with (
            pytest.raises(DatabaseError, match="missing"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT missing FROM testapp_city")
        assert cities("Lima") == []

    def test_it_asks_nothing_of_a_project_without_the_tables(
        self, captured: Captured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("perfkit.workload.statements.SAMPLES", "perfkit_not_migrated")
        cities("Lima")
        assert not flush_workload()
        monkeypatch.undo()
        assert read_capture().shapes == ()
        assert caplog.records == []

    @pytest.mark.postgres
    def test_it_does_nothing_where_nothing_may_be_written(self, captured: Captured) -> None:
        options = connection.settings_dict["OPTIONS"]
        before = dict(options)
        options["options"] = "-c default_transaction_read_only=on"
        try:
            cities("Lima")
            assert not flush_workload()
        finally:
            options.clear()
            options.update(before)
        assert captured.shapes() == []

    def test_it_writes_down_by_itself(self, captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
        captured.set(WORKLOAD_INTERVAL=0.1)
        monkeypatch.setattr(capture, "has_thread", True)
        told = threading.Event()
        flush = capture.flush

        def flushed(**options: bool) -> bool:
            is_done = flush(**options)
            told.set()
            return is_done

        monkeypatch.setattr(capture, "flush", flushed)
        cities("Lima")
        assert told.wait(60)
        thread = capture._thread
        capture.forked()  # which ends it
        assert thread is not None
        thread.join(60)
        assert not thread.is_alive()
        assert len(read_capture().shapes) == 1


class TestOutage:
    @pytest.mark.postgres
    def test_it_keeps_what_it_counted_until_the_database_is_back(
        self, captured: Captured, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cities("Lima")
        monkeypatch.setitem(connection.settings_dict, "PORT", "1")
        caplog.clear()
        assert [flush_workload() for _ in range(3)] == [False] * 3
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        monkeypatch.undo()
        monkeypatch.setattr(capture, "has_thread", False)
        cities("Lima")
        assert captured.only(CITIES).calls == 2

    @pytest.mark.postgres
    def test_it_survives_a_server_that_is_killed(
        self, own_postgres: DisposablePostgres, settings: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(capture, "has_thread", False)
        found = Captured(settings)
        capture.forked()
        found.set(WORKLOAD_ENABLED=True)
        call_command("migrate", "perfkit", verbosity=0)
        capture.forked()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM (SELECT 1) AS kept")
            cursor.execute("CHECKPOINT")  # a server of tests writes its log late
        own_postgres.kill()
        assert not flush_workload()
        own_postgres.start()
        connection.close()
        wait_for(is_reached)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM (SELECT 1) AS kept")
        assert found.only("kept").calls == 2
        clear_workload()
        capture.forked()

    def test_it_counts_nothing_twice_where_the_end_of_a_transaction_is_not_known(
        self, captured: Captured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        cities("Lima")

        def add_and_break(own: object, cursor: object, additions: object) -> None:
            add(own, cursor, additions)
            own.connection.close()

        add = store._add
        monkeypatch.setattr(store, "_add", add_and_break)
        assert flush_workload()
        monkeypatch.undo()
        monkeypatch.setattr(capture, "has_thread", False)
        assert captured.shapes() == []
        assert "not known" in caplog.text


class TestBounds:
    def test_it_keeps_so_many_shapes_those_that_take_most_time(self, captured: Captured) -> None:
        captured.set(WORKLOAD_SHAPES=10)
        for number in range(10):
            query_timed.send(None, using="default", sql=f"SELECT 1 FROM cheap{number}x", seconds=0.001)
        captured.shapes()
        for number in range(8):
            query_timed.send(None, using="default", sql=f"SELECT 1 FROM dear{number}x", seconds=10.0)
        shapes = captured.shapes()
        assert len(shapes) == 10
        assert sum("dear" in shape.fingerprint for shape in shapes) == 8
        digests = set(WorkloadShape.objects.values_list("digest", flat=True))
        assert set(WorkloadCount.objects.values_list("shape_digest", flat=True)) == digests
        assert set(WorkloadSample.objects.values_list("shape_digest", flat=True)) <= digests

    def test_it_holds_so_many_shapes_in_the_process(self, captured: Captured) -> None:
        captured.set(WORKLOAD_SHAPES=10)
        with connection.cursor() as cursor:
            for number in range(40):
                cursor.execute(f"SELECT 1 AS column{number}x FROM testapp_city")
        assert len(capture._counters.take("default")) == 10

    def test_it_forgets_what_is_older_than_a_week(self, captured: Captured) -> None:
        cities("Lima")
        captured.shapes()
        WorkloadCount.objects.update(hour=1)
        User.objects.count()
        (shape,) = captured.shapes()
        assert "auth_user" in shape.fingerprint
        assert WorkloadShape.objects.count() == 1
        assert WorkloadSample.objects.count() == 1

    def test_it_keeps_so_many_characters(self, captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("perfkit.workload.store.MOST_SAMPLE_CHARACTERS", 1_000)
        for column in ("id", "name", "population"):
            list(City.objects.filter(name="x" * 700).values_list(column))
            captured.shapes()
        assert len([shape for shape in captured.shapes() if shape.samples]) == 1

    def test_it_drops_the_oldest_hours_where_there_are_too_many(
        self, captured: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("perfkit.workload.store.COUNTS_PER_SHAPE", 1)
        captured.set(WORKLOAD_SHAPES=10)
        cities("Lima")
        captured.shapes()
        row = WorkloadCount.objects.get()
        rows = [
            WorkloadCount(shape_digest=row.shape_digest, hour=row.hour - back, calls=1, microseconds=1)
            for back in range(1, 30)
        ]
        WorkloadCount.objects.bulk_create(rows)
        captured.shapes()
        cities("Lima")
        captured.shapes()
        assert 1 <= WorkloadCount.objects.count() <= 10
        assert WorkloadCount.objects.filter(hour=row.hour).exists()

    def test_it_tells_texts_apart_that_are_too_long_to_be_kept(self, captured: Captured) -> None:
        long = ", ".join(f"'{number}'" for number in range(1_500))
        with connection.cursor() as cursor:
            for _ in range(3):
                cursor.execute(f"SELECT 1 FROM testapp_city WHERE name IN ({long})")
        assert captured.only(CITIES).calls == 3
        assert all(len(text) <= module.LONGEST_TEXT for _, text in capture._known)


class TestFork:
    @pytest.mark.postgres
    def test_a_child_counts_what_it_sends_itself_and_nothing_of_its_parents(self, captured: Captured) -> None:
        cities("Lima")
        connection.close()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                cities("Lima")
                os.write(writer, b"1" if flush_workload() else b"0")
                connections.close_all()
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        assert os.waitpid(child, 0)[1] == 0
        assert os.read(reader, 1) == b"1"
        os.close(reader)
        assert captured.only(CITIES).calls == 2


def test_a_setting_that_is_wrong_keeps_no_values(captured: Captured, table_text: Callable[[], str]) -> None:
    captured.set(WORKLOAD_VALUES="all")
    cities("Lima")
    assert flush_workload()
    assert "Lima" not in table_text()
    captured.set(WORKLOAD_VALUES="kept")


def test_it_says_how_long_was_listened(captured: Captured) -> None:
    cities("Lima")
    captured.shapes()
    WorkloadShape.objects.update(first_at=timezone.now() - timezone.timedelta(hours=3))
    seconds = read_capture().seconds
    assert seconds is not None
    assert 3 * 3600 - 60 < seconds < 3 * 3600 + 60
    latest = read_capture(since=timezone.timedelta(hours=1)).seconds
    assert latest is not None
    assert latest <= 3600


def test_it_reads_what_was_captured_in_the_last_hours(captured: Captured) -> None:
    cities("Lima")
    captured.shapes()
    WorkloadCount.objects.update(hour=WorkloadCount.objects.get().hour - 5)
    cities("Lima")
    captured.shapes()
    assert [shape.calls for shape in read_capture(since=timezone.timedelta(hours=2)).shapes] == [1]
    assert [shape.calls for shape in read_capture().shapes] == [2]


def test_another_capture_knows_nothing_of_this_one() -> None:
    assert Capture(has_thread=False).flush()
