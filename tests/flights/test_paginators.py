from __future__ import annotations

import pytest
from django.core.paginator import EmptyPage, PageNotAnInteger
from django.db import connection
from django.db.models import Count, QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext

from project.flights import paginators
from project.flights.models import Flight
from project.flights.paginators import EstimatingPaginator, RoughCount, is_whole_table
from tests.flights.factories import make_flights
from tests.flights.many import forget_estimate

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def small_limits(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paginators, "COUNTED_ROWS", 20)
    monkeypatch.setattr(paginators, "DEEP_ROWS", 10)
    forget_estimate()


def ordered() -> QuerySet[Flight]:
    return Flight.objects.order_by("-time_hour", "-id")


class TestCount:
    def test_it_counts_a_short_list_exactly(self) -> None:
        make_flights(20)
        assert EstimatingPaginator(ordered(), 5).count == 20
        assert str(EstimatingPaginator(ordered().filter(number__gt=3), 5).count) == "17"

    def test_it_counts_nothing(self) -> None:
        assert EstimatingPaginator(ordered(), 5).count == 0
        assert len(EstimatingPaginator(ordered(), 5).page(1)) == 0

    def test_it_stops_counting_a_long_list_and_says_so(self) -> None:
        make_flights(23)
        with CaptureQueriesContext(connection) as queries:
            count = EstimatingPaginator(ordered().filter(number__gt=1), 5).count
        assert isinstance(count, RoughCount)
        assert (count, str(count)) == (20, "more than 20")
        assert len(queries) == 1
        assert "LIMIT 21" in queries[0]["sql"]
        assert "ORDER BY" not in queries[0]["sql"]

    @pytest.mark.postgres
    def test_it_takes_the_estimate_for_a_whole_table(self, django_assert_num_queries: object) -> None:
        make_flights(30)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE flights_flight")
        with django_assert_num_queries(1):
            count = EstimatingPaginator(ordered().select_related("airline"), 5).count
        assert (count, str(count)) == (30, "about 30")

    @pytest.mark.postgres
    def test_it_counts_where_there_is_no_estimate(self) -> None:
        make_flights(30)
        assert str(EstimatingPaginator(ordered(), 5).count) == "more than 20"

    @pytest.mark.parametrize(
        ("queryset", "is_whole"),
        [
            (Flight.objects.all, True),
            (lambda: ordered().select_related("airline", "plane"), True),
            (lambda: ordered().filter(number=1), False),
            (lambda: ordered().exclude(number=1), False),
            (lambda: ordered().none(), False),
            (lambda: ordered()[:5], False),
            (lambda: Flight.objects.values("airline").distinct(), False),
            (lambda: Flight.objects.values("airline").annotate(n=Count("pk")), False),
            (lambda: Flight.objects.all().union(Flight.objects.all()), False),
        ],
    )
    def test_it_knows_a_whole_table(self, queryset: object, is_whole: bool) -> None:
        assert is_whole_table(queryset()) is is_whole


class TestPage:
    @pytest.mark.parametrize("number", [1, 2, 3, 4])
    def test_it_yields_the_same_rows_shallow_and_deep(self, number: int) -> None:
        make_flights(20)
        page = EstimatingPaginator(ordered(), 5).page(number)
        assert list(page) == list(ordered()[(number - 1) * 5 : number * 5])

    def test_it_finds_the_keys_of_a_deep_page_without_joins(self) -> None:
        make_flights(20)
        paginator = EstimatingPaginator(ordered().select_related("airline"), 5)
        assert paginator.count == 20
        with CaptureQueriesContext(connection) as queries:
            assert [flight.airline.code for flight in paginator.page(3)] == ["UA"] * 5
        assert len(queries) == 2
        assert "JOIN" not in queries[0]["sql"]

    def test_it_stays_a_queryset_for_the_admin(self) -> None:
        make_flights(20)
        assert isinstance(EstimatingPaginator(ordered(), 5).page(3).object_list, QuerySet)

    def test_it_ends_at_the_last_row_it_counted(self) -> None:
        make_flights(40)
        paginator = EstimatingPaginator(ordered().filter(number__gt=0), 5)
        assert paginator.num_pages == 4
        assert len(paginator.page(4)) == 5
        with pytest.raises(EmptyPage):
            paginator.page(5)

    @pytest.mark.parametrize("wrong", ["x", None, 1.5])
    def test_it_refuses_what_is_no_number(self, wrong: object) -> None:
        with pytest.raises(PageNotAnInteger):
            EstimatingPaginator(ordered(), 5).page(wrong)


@pytest.mark.postgres
class TestWrongEstimate:
    def paginator(self, estimate: int, *, rows: int) -> EstimatingPaginator:
        make_flights(rows)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE pg_class SET reltuples = %s WHERE relname = 'flights_flight'", [estimate])
        return EstimatingPaginator(ordered(), 5)

    def counts(self, paginator: EstimatingPaginator, number: int) -> tuple[list[Flight], int]:
        """Return the rows of a page, and how many statements counted."""
        with CaptureQueriesContext(connection) as queries:
            rows = list(paginator.page(number))
        return rows, sum("COUNT(*)" in query["sql"] for query in queries)

    @pytest.mark.parametrize("number", [5, 6, 7, 8])
    def test_it_reaches_rows_beyond_an_estimate_that_is_too_small(self, number: int) -> None:
        paginator = self.paginator(25, rows=38)
        assert paginator.num_pages == 5
        rows, counted = self.counts(paginator, number)
        assert rows == list(ordered()[(number - 1) * 5 : number * 5])
        assert (counted, str(paginator.count), paginator.num_pages) == (1, "38", 8)
        assert self.counts(paginator, 8)[1] == 0

    @pytest.mark.parametrize("number", [1, 2, 3, 4])
    def test_it_counts_nothing_before_the_end(self, number: int) -> None:
        paginator = self.paginator(25, rows=38)
        rows, counted = self.counts(paginator, number)
        assert (len(rows), counted, str(paginator.count)) == (5, 0, "about 25")

    def test_it_refuses_a_page_beyond_the_last_row(self) -> None:
        with pytest.raises(EmptyPage):
            self.paginator(25, rows=38).page(9)

    def test_it_corrects_an_estimate_that_is_too_large(self) -> None:
        paginator = self.paginator(100, rows=38)
        rows, counted = self.counts(paginator, 8)
        assert (len(rows), counted, paginator.num_pages) == (3, 1, 8)
        with pytest.raises(EmptyPage):
            EstimatingPaginator(ordered(), 5).page(15)

    def test_it_shows_the_admin_the_rows_beyond(self, admin_client: Client) -> None:
        self.paginator(150, rows=210)
        response = admin_client.get("/admin/flights/flight/", {"p": 5})
        assert response.status_code == 200
        assert len(response.context["cl"].result_list) == 10
