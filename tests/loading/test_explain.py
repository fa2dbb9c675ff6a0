"""What the database says of real querysets."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, models
from django.db.models.functions import RowNumber

from perfkit.bulk import bulk_insert
from perfkit.loading import ExplainQuerySetMixin, explain_report
from tests.testapp.bulk import City, Country
from tests.testapp.loading import Person, Publisher

pytestmark = pytest.mark.django_db(transaction=True)
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's")
on_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's")

MANY = 30_000


@pytest.fixture
def many() -> None:
    """Rows whose two columns say the same, which the planner cannot know."""
    Country.objects.create(code="PE")
    cities = (
        {"name": f"{number // 300:03}-{number}", "country_id": "PE", "population": number // 300}
        for number in range(MANY)
    )
    bulk_insert(City, cities)
    bulk_insert(Person, ({"name": f"p{number % 100}"} for number in range(MANY)))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("perfkit_explain", *arguments, stdout=out)
    return out.getvalue()


@on_postgresql
@pytest.mark.usefixtures("many")
class TestPostgreSQL:
    def test_it_tells_of_a_whole_table_that_is_read_for_a_few_rows(self) -> None:
        report = explain_report(Person.objects.filter(name="p7"))
        (warning,) = report.warnings
        assert warning.step == "Seq Scan on testapp_person"
        assert warning.problem == "30,000 rows are read and 300 are kept"
        assert "name" in warning.advice
        assert str(report).splitlines()[-1] == f"  {warning.advice}"

    def test_it_counts_what_came(self) -> None:
        report = explain_report(Person.objects.filter(name="p7"))
        assert report.plan is not None
        assert report.plan.root.rows == 300
        assert report.plan.root.hit_buffers + report.plan.root.read_buffers > 0
        head, line, *_ = report.lines
        assert head.split() == ["step", "rows", "expected", "loops", "ms", "pages", "(read)"]
        assert line.split()[:5] == ["Seq", "Scan", "on", "testapp_person", "300"]

    def test_it_says_nothing_of_a_first_page(self) -> None:
        assert explain_report(Person.objects.order_by("pk")[:20]).warnings == []
        assert explain_report(City.objects.select_related("country").order_by("pk")[:20]).warnings == []

    def test_it_tells_of_columns_that_depend_on_each_other(self) -> None:
        queryset = City.objects.filter(population=7, name__gte="007", name__lt="008")
        problems = [each.problem for each in explain_report(queryset).warnings]
        assert any("rows were expected and" in each for each in problems)

    def test_it_tells_of_a_sort_on_disk(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET work_mem = '64kB'")
            try:
                (warning,) = explain_report(Person.objects.order_by("name")).warnings
            finally:
                cursor.execute("RESET work_mem")
        assert "spilled" in warning.problem
        assert warning.advice.startswith("Index the order (name)")

    def test_it_does_not_run_what_is_not_to_be_run(self) -> None:
        def listen(execute: Any, sql: str, *arguments: Any) -> Any:
            statements.append(sql)
            return execute(sql, *arguments)

        statements: list[str] = []
        with connection.execute_wrapper(listen):
            report = explain_report(Person.objects.filter(name="p7"), analyze=False)
        assert "ANALYZE false" in statements[0]
        assert report.warnings == []
        assert "never" not in str(report)

    def test_the_command_prints_it(self) -> None:
        told = command("testapp.Person", "--filter", "name=p7")
        assert "! Seq Scan on testapp_person: 30,000 rows are read and 300 are kept." in told
        told = command(
            "testapp.City",
            *("--filter", 'name__in=["n1", "n2"]', "--exclude", "population=5"),
            *("--relations", "country", "--order=-population", "--limit", "3"),
        )
        assert told.startswith("step ")
        assert "testapp_country" in told
        assert "planned in" in told
        assert "planned in" not in command("testapp.Person", "--no-analyze")


@on_sqlite
class TestSQLite:
    def test_it_tells_of_whole_tables_and_sorts(self) -> None:
        report = explain_report(Publisher.objects.order_by("name"))
        assert [each.problem for each in report.warnings] == [
            "the whole table is read",
            "all rows are sorted",
        ]
        assert explain_report(Person.objects.filter(pk=1)).warnings == []

    def test_it_shows_what_is_below(self) -> None:
        queryset = City.objects.filter(country__in=Country.objects.filter(name="x").values("pk")[:3])
        assert any(line.startswith("  ") for line in explain_report(queryset).lines)


def test_it_explains_filters_on_windows() -> None:
    rank = models.Window(RowNumber(), order_by="pk")
    assert explain_report(Person.objects.annotate(rank=rank).filter(rank__lt=3)).lines


def test_it_explains_what_is_combined() -> None:
    assert explain_report(Person.objects.filter(pk=1).union(Person.objects.filter(pk=2))).lines


def test_it_keeps_no_lock() -> None:
    assert explain_report(Person.objects.select_for_update()).lines
    assert not connection.in_atomic_block


def test_it_leaves_the_queryset_as_it_was() -> None:
    queryset = Person.objects.filter(name="%s 100%")
    assert explain_report(queryset).lines
    assert queryset._result_cache is None
    assert explain_report(queryset.values("name").annotate(models.Count("pk"))).lines


@pytest.mark.parametrize("queryset", [Person.objects.none(), Person.objects.filter(pk__in=[])])
def test_it_knows_what_asks_nothing(queryset: models.QuerySet[Person]) -> None:
    assert str(explain_report(queryset)) == "The database is not asked: nothing can match."


def test_a_queryset_may_have_it_as_a_method() -> None:
    class Explained(ExplainQuerySetMixin, models.QuerySet[Person]):
        pass

    assert Explained(Person).explain_report(analyze=False).lines


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["testapp.Persn"], "There is no model 'testapp.Persn'. Did you mean 'testapp.Person'?"),
        (["testapp.Person", "--filter", "nme=x"], "Cannot resolve keyword 'nme'"),
        (["testapp.Person", "--filter", "pk=x"], "expected a number"),
        (["testapp.Person", "--filter", "x"], "not LOOKUP=VALUE"),
        (["testapp.Person", "--relations", "mentr"], "has no relation 'mentr'"),
        (["testapp.Person", "--filter", "name__in=JFK"], "that needs JSON"),
        (["testapp.Person", "--limit", "-1"], "--limit must not be negative"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        command(*arguments)
