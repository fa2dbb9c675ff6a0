from __future__ import annotations

import datetime as dt

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from perfkit.postgres.statement_statistics import CountedStatement, statement_statistics
from perfkit.watching import fingerprint
from perfkit.workload import CAPTURE, STATISTICS, QueryShape, clear_workload, read_workload
from perfkit.workload import reading as module
from perfkit.workload.capture import capture
from perfkit.workload.merging import merged
from tests.testapp.bulk import City, Country, Everything
from tests.workload.conftest import Captured
from tests.workload.preloaded import PreloadedPostgres
from tests.workload.test_samples import QUERIES

POSTGRES = pytest.mark.postgres


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def make_tables() -> None:
    for model in (Country, City, Everything):
        run(f"DROP TABLE IF EXISTS {model._meta.db_table} CASCADE")
    with connection.schema_editor() as editor:
        for model in (Country, City, Everything):
            editor.create_model(model)


class TestReading:
    @POSTGRES
    def test_a_role_without_rights_reads_its_own_statements(self, plain: PreloadedPostgres) -> None:
        run("CREATE TABLE IF NOT EXISTS mine (id integer)", *["SELECT id FROM mine WHERE id = 7"] * 3)
        plain.run("SELECT id FROM mine WHERE id = 8", database="shop")
        found = statement_statistics(connection)
        assert found.problem == ""
        (mine,) = [each for each in found.statements if "FROM mine" in each.text]
        assert mine.text == "SELECT id FROM mine WHERE id = $1"
        assert (mine.calls, mine.rows) == (3, 0)
        assert 0 < mine.total_seconds < 60
        assert found.since is not None
        assert abs((dt.datetime.now(tz=dt.UTC) - found.since).total_seconds()) < 600

    @POSTGRES
    def test_it_reads_so_many_the_costliest_first(self, plain: PreloadedPostgres) -> None:
        run("SELECT 1 AS a", "SELECT pg_sleep(0.05)", "SELECT 1 AS b")
        found = statement_statistics(connection, most=1)
        assert ["pg_sleep" in each.text for each in found.statements] == [True]

    @POSTGRES
    def test_it_says_how_to_have_it_loaded(self, plain: PreloadedPostgres) -> None:
        plain.run("ALTER SYSTEM SET shared_preload_libraries = 'auto_explain'")
        connection.close()
        plain.restart()
        try:
            with transaction.atomic():
                found = statement_statistics(connection)
                run("SELECT 1")  # the transaction is still good
            assert found.statements == ()
            assert "shared_preload_libraries" in found.problem
            assert "restart" in found.problem
        finally:
            connection.close()
            plain.run("ALTER SYSTEM RESET shared_preload_libraries")
            plain.restart()

    @POSTGRES
    def test_it_says_how_to_create_it(self, transactional_db: None) -> None:
        with transaction.atomic():
            run("DROP EXTENSION pg_stat_statements")
            problem = statement_statistics(connection).problem
            transaction.set_rollback(True)
        assert "is not created" in problem
        assert "CREATE EXTENSION pg_stat_statements" in problem
        assert "shared_preload_libraries" in problem

    @POSTGRES
    def test_it_says_which_rights_are_missing(self, plain: PreloadedPostgres) -> None:
        plain.run("REVOKE SELECT ON pg_stat_statements FROM PUBLIC", database="shop")
        try:
            assert "GRANT" in statement_statistics(connection).problem
        finally:
            plain.run("GRANT SELECT ON pg_stat_statements TO PUBLIC", database="shop")

    @POSTGRES
    def test_it_finds_it_in_another_schema(self, plain: PreloadedPostgres) -> None:
        plain.run(
            'CREATE SCHEMA "Odd"',
            'GRANT USAGE ON SCHEMA "Odd" TO PUBLIC',
            'ALTER EXTENSION pg_stat_statements SET SCHEMA "Odd"',
            database="shop",
        )
        try:
            assert statement_statistics(connection).problem == ""
        finally:
            plain.run(
                "ALTER EXTENSION pg_stat_statements SET SCHEMA public", 'DROP SCHEMA "Odd"', database="shop"
            )

    @POSTGRES
    def test_an_old_version_of_the_extension_is_told(self, plain: PreloadedPostgres) -> None:
        plain.run(
            "DROP EXTENSION pg_stat_statements",
            "CREATE EXTENSION pg_stat_statements VERSION '1.7'",
            database="shop",
        )
        try:
            assert "ALTER EXTENSION pg_stat_statements UPDATE" in statement_statistics(connection).problem
        finally:
            plain.run("ALTER EXTENSION pg_stat_statements UPDATE", database="shop")

    @pytest.mark.django_db
    def test_other_databases_count_nothing(self) -> None:
        if connection.vendor == "sqlite":
            assert "Only PostgreSQL" in statement_statistics(connection).problem
        assert isinstance(read_workload().shapes, tuple)


class TestTogether:
    @POSTGRES
    def test_captured_shapes_and_counted_statements_are_one(
        self, plain: PreloadedPostgres, settings: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(capture, "has_thread", False)
        call_command("migrate", "perfkit", verbosity=0)
        make_tables()
        capture.forked()
        found = Captured(settings)
        found.set(WORKLOAD_ENABLED=True, WORKLOAD_SAMPLE_RATE=1.0)
        plain.run("SELECT pg_stat_statements_reset()", database="shop")
        try:
            for name in ("Lima", "Cusco"):
                City.objects.filter(name=name, population__gte=3).first()
                City.objects.filter(name__in=[name, "x", "y"]).exclude(country_id=None).exists()
            City.objects.filter(pk__in=[1]).update(name="Quito")
            City.objects.filter(pk__in=[1, 2]).delete()
            with connection.cursor() as cursor:
                cursor.execute("SELECT name FROM testapp_city WHERE true AND population = -1")
            found.shapes()
            found.set(WORKLOAD_ENABLED=False)
            City.objects.filter(name="Quito", population__gte=7).first()
            workload = read_workload()
            clear_workload()
        finally:
            found.set(WORKLOAD_ENABLED=False)
            capture.forked()
        ours = [shape for shape in workload.shapes if CAPTURE in shape.sources]
        assert len(ours) == 5
        assert [shape for shape in ours if STATISTICS not in shape.sources] == []
        first = next(shape for shape in ours if '"population" >= ' in shape.fingerprint)
        assert first.calls == 3  # one more than was captured
        assert len(first.samples) == 2
        others = [shape.fingerprint for shape in workload.shapes if CAPTURE not in shape.sources]
        assert [text for text in others if "testapp_city" in text] == []
        assert workload.seconds is not None

    @POSTGRES
    def test_statements_of_the_server_alone_are_shapes_without_samples(
        self, plain: PreloadedPostgres
    ) -> None:
        run("CREATE TABLE IF NOT EXISTS mine (id integer)", "SELECT id FROM mine WHERE id IN (7, 8)")
        (shape,) = [shape for shape in read_workload().shapes if "mine" in shape.fingerprint]
        assert shape.fingerprint == "SELECT id FROM mine WHERE id IN (…)"
        assert (shape.calls, shape.samples, shape.sources) == (1, (), (STATISTICS,))
        texts = [each.fingerprint for each in read_workload().shapes]
        assert [text for text in texts if "pg_stat_statements" in text or "CREATE" in text] == []

    @POSTGRES
    def test_the_last_hours_are_of_the_capture_alone(self, plain: PreloadedPostgres) -> None:
        run("SELECT 1 AS alone")
        assert read_workload().shapes
        assert read_workload(since=timezone.timedelta(hours=1)).shapes == ()


class TestMerging:
    CAPTURED = QueryShape(
        "SELECT a FROM t WHERE b = %s", 10, 1.0, ("SELECT a FROM t WHERE b = 1",), ("x:1",), (CAPTURE,), 4
    )

    def test_the_figures_are_of_who_has_seen_more(self) -> None:
        text = "SELECT a FROM t WHERE b = $1"
        (more,) = merged([self.CAPTURED], [CountedStatement(text, 20, 9.0, 1)])
        assert (more.calls, more.total_seconds) == (20, 9.0)
        assert more.sources == (CAPTURE, STATISTICS)
        assert (more.samples, more.takings) == (self.CAPTURED.samples, 4)
        (fewer,) = merged([self.CAPTURED], [CountedStatement(text, 5, 9.0, 1)])
        assert (fewer.calls, fewer.total_seconds) == (10, 1.0)

    def test_two_texts_of_one_shape_are_added(self) -> None:
        counted = [
            CountedStatement("SELECT a FROM t WHERE b IN ($1, $2)", 1, 0.5, 1),
            CountedStatement("SELECT a FROM t WHERE b IN ($1, $2, $3)", 2, 0.5, 1),
        ]
        (shape,) = merged([], counted)
        assert (shape.calls, shape.total_seconds, shape.sources) == (3, 1.0, (STATISTICS,))

    def test_lists_of_one_value_and_of_many_are_counted_once(self) -> None:
        one = QueryShape("SELECT a FROM t WHERE b IN (%s)", 3, 3.0, sources=(CAPTURE,))
        many = QueryShape("SELECT a FROM t WHERE b IN (…)", 2, 1.0, sources=(CAPTURE,))
        counted = [
            CountedStatement("SELECT a FROM t WHERE b IN ($1)", 5, 4.0, 1),
            CountedStatement("SELECT a FROM t WHERE b IN ($1, $2)", 2, 1.0, 1),
        ]
        shapes = merged([one, many], counted)
        assert [(shape.calls, shape.total_seconds) for shape in shapes] == [(5, 4.0), (2, 1.0)]
        assert [shape.sources for shape in shapes] == [(CAPTURE, STATISTICS)] * 2

    def test_the_most_expensive_comes_first(self) -> None:
        counted = [
            CountedStatement(f"SELECT {name} FROM t", 1, float(cost), 1)
            for name, cost in (("a", 1), ("b", 2))
        ]
        assert [shape.fingerprint for shape in merged([self.CAPTURED], counted)] == [
            "SELECT b FROM t",
            "SELECT a FROM t",
            self.CAPTURED.fingerprint,
        ]

    def test_a_parser_finds_what_the_text_does_not(self) -> None:
        naming = module.postgres_naming()
        assert naming is not None
        counted = [CountedStatement("select a from t where (b = $1)", 20, 9.0, 1)]
        assert len(merged([self.CAPTURED], counted)) == 2
        (shape,) = merged([self.CAPTURED], counted, naming=naming)
        assert shape.calls == 20

    def test_a_parser_is_not_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import sys

        monkeypatch.setitem(sys.modules, "pglast.parser", None)
        assert module.postgres_naming() is None


@POSTGRES
@pytest.mark.django_db
def test_every_kind_of_value_is_matched(plain: PreloadedPostgres) -> None:
    make_tables()
    plain.run("SELECT pg_stat_statements_reset()", database="shop")
    sent: dict[str, str] = {}
    for name, query in QUERIES.items():
        queryset = query().values_list("pk")
        sql, _ = queryset.query.get_compiler(connection=connection).as_sql()
        sent[fingerprint(sql)] = name
        list(queryset)
    shapes = merged(
        [QueryShape(text, 0, 0.0, sources=(CAPTURE,)) for text in sent],
        statement_statistics(connection).statements,
    )
    unmatched = [sent[shape.fingerprint] for shape in shapes if shape.fingerprint in sent and not shape.calls]
    assert unmatched == []
    assert len([shape for shape in shapes if "testapp" in shape.fingerprint]) == len(sent)
