from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from project.flights.models import ActivityLog, Flight, StatusReport
from tests.admin.tomes import links
from tests.flights.factories import FIRST_HOUR, make_flights, make_reports
from tests.flights.many import forget_estimate, make_many_flights

pytestmark = pytest.mark.django_db

FLIGHTS = "/admin/flights/flight/"
MODELS = ("activityday", "airline", "airport", "plane", "flight", "weather", "statusreport", "activitylog")
LISTS = (
    "",
    "?p=2",
    "?q=N14",
    "?q=UA7",
    "?q=7",
    "?q=IAH",
    "?q=UA",
    "?q=2013-01-02",
    "?q=UA+2013-01-02",
    "?origin=EWR",
    "?month=1",
    "?month=12",
    "?outcome=cancelled",
    "?outcome=late",
    "?airline__code__exact=UA",
    "?origin=JFK&outcome=late&month=1",
    "?o=1",
    "?o=-1",
    "?o=5",
    "?o=-5",
)


@pytest.fixture(autouse=True)
def _no_estimate(db: None) -> None:
    forget_estimate()


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser("staff"))
    return client


def queries_of(client: Client, url: str) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return [query["sql"] for query in queries]


def rows_read(client: Client, url: str) -> int:
    """Return how many flights the page reads, in their table or in one of its indexes."""

    def read() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_stat_get_xact_tuples_returned('flights_flight'::regclass)"
                " + sum(pg_stat_get_xact_tuples_returned(indexrelid))"
                " FROM pg_index WHERE indrelid = 'flights_flight'::regclass"
            )
            return int(cursor.fetchone()[0])

    before = read()
    assert client.get(url).status_code == 200
    return read() - before


def shown(client: Client, url: str) -> str:
    """Return the text of the list's page, without tags."""
    return re.sub(r"<[^>]+>", " ", client.get(url).content.decode())


class TestEveryModel:
    def test_it_registers_all_of_the_app(self) -> None:
        ours = {
            model._meta.model_name for model in admin.site._registry if model._meta.app_label == "flights"
        }
        assert ours == set(MODELS)

    @pytest.mark.postgres
    def test_a_large_table_that_was_emptied_is_an_empty_list(self, staff: Client) -> None:
        """The database's estimate is of the rows that were there."""
        ActivityLog.objects.create(action="gone").delete()
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE pg_class SET reltuples = 50000, relpages = 1 WHERE oid = 'flights_activitylog'::regclass"
            )
        response = staff.get(reverse("admin:flights_activitylog_changelist"))
        assert response.status_code == 200
        assert "0 activity log" in response.content.decode()

    @pytest.mark.parametrize("model", MODELS)
    def test_it_lists_and_searches(self, staff: Client, model: str) -> None:
        url = reverse(f"admin:flights_{model}_changelist")
        assert staff.get(url).status_code == 200
        assert staff.get(url, {"q": "x"}).status_code == 200

    @pytest.mark.parametrize("model", sorted(set(MODELS) - {"activityday", "activitylog"}))
    def test_it_opens_the_form_to_add(self, staff: Client, model: str) -> None:
        assert staff.get(reverse(f"admin:flights_{model}_add")).status_code == 200

    def test_it_only_shows_the_activity_log(self, staff: Client) -> None:
        entry = ActivityLog.objects.create(action="login")
        assert staff.get(reverse("admin:flights_activitylog_add")).status_code == 403
        assert staff.get(reverse("admin:flights_activitylog_change", args=[entry.pk])).status_code == 200
        assert staff.post(reverse("admin:flights_activitylog_delete", args=[entry.pk])).status_code == 403


class TestFlightList:
    @pytest.mark.parametrize("list_url", LISTS)
    def test_it_asks_as_often_for_many_rows_as_for_one(self, staff: Client, list_url: str) -> None:
        make_flights(51 if list_url == "?p=2" else 1)
        few = len(queries_of(staff, FLIGHTS + list_url))
        make_flights(49, number=100, airline_id="AA", dep_time=None, dep_delay=None)
        assert len(queries_of(staff, FLIGHTS + list_url)) == few <= 7

    @pytest.mark.parametrize("list_url", LISTS)
    def test_it_counts_no_more_than_it_says(self, staff: Client, list_url: str) -> None:
        make_flights(60)
        counts = [sql for sql in queries_of(staff, FLIGHTS + list_url) if "COUNT(*)" in sql]
        assert len(counts) == 1
        assert "LIMIT 10001" in counts[0]

    @pytest.mark.postgres
    @pytest.mark.parametrize("list_url", LISTS)
    def test_it_reads_no_table_from_end_to_end(self, staff: Client, list_url: str) -> None:
        make_many_flights()
        lists = [
            sql
            for sql in queries_of(staff, FLIGHTS + list_url)
            if 'FROM "flights_flight"' in sql and "COUNT(*)" not in sql
        ]
        assert len(lists) in {1, 2}  # the keys of a long list, and its rows
        for each in lists:
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN " + each.replace("%", "%%"), [])
                plan = "\n".join(row[0] for row in cursor.fetchall())
            assert "Seq Scan on flights_flight" not in plan

    @pytest.mark.postgres
    def test_it_says_about_how_many_there_are(self, staff: Client) -> None:
        make_many_flights()
        assert "about 20,000 flights" in shown(staff, FLIGHTS)
        assert "10,000+ flights" in shown(staff, FLIGHTS + "?airline__code__exact=UA")
        assert shown(staff, FLIGHTS + "?p=400").count(" UA United Air Lines Inc. ") > 40

    @pytest.mark.postgres
    def test_it_reads_as_many_rows_at_any_depth(self, staff: Client) -> None:
        make_many_flights()
        connection.check_constraints()
        with connection.cursor() as cursor:
            cursor.execute("REINDEX TABLE flights_flight")  # without the rows of tests that were taken back
        few = 20 * 50  # the keys of up to ten pages, the rows of one, and what the planner looks at
        assert 50 <= rows_read(staff, FLIGHTS) <= few
        assert rows_read(staff, f"{FLIGHTS}?p=380") > 379 * 50
        for text in ("377", "379", "381", "383", "last"):
            assert 50 <= rows_read(staff, FLIGHTS + links(staff.get(f"{FLIGHTS}?p=380"))[text]) <= few
        deep = staff.get(FLIGHTS + links(staff.get(f"{FLIGHTS}?p=380"))["383"])
        assert list(deep.context["cl"].result_list) == list(
            Flight.objects.order_by("-time_hour", "-id")[382 * 50 : 383 * 50]
        )

    def test_it_filters(self, staff: Client) -> None:
        make_flights(1, number=11)
        make_flights(1, number=22, dep_time=None, dep_delay=None)
        make_flights(1, number=33, dep_delay=75, origin_id="JFK")
        make_flights(1, number=44, time_hour=FIRST_HOUR.replace(month=7), airline_id="AA")

        def numbers(query: str) -> list[str]:
            return re.findall(r">(?:UA|AA)(\d+) 2013", staff.get(FLIGHTS + query).content.decode())

        assert sorted(numbers("")) == ["11", "22", "33", "44"]
        assert numbers("?outcome=cancelled") == ["22"]
        assert numbers("?outcome=late") == ["33"]
        assert numbers("?origin=JFK") == ["33"]
        assert numbers("?month=7") == ["44"]
        assert sorted(numbers("?month=13")) == ["11", "22", "33", "44"]
        assert numbers("?airline__code__exact=AA") == ["44"]
        assert numbers("?q=UA+EWR+22") == ["22"]
        assert numbers("?o=-5") == ["33", "44", "11", "22"]
        assert numbers("?o=5")[0] == "22"

    def test_it_offers_three_origins_and_no_more(self, staff: Client) -> None:
        make_flights(1)
        page = staff.get(FLIGHTS).content.decode()
        assert len(set(re.findall(r"\?origin=(\w+)", page))) == 3
        assert "destination" not in re.findall(r"\?(\w+)=", page)

    @pytest.mark.parametrize("wrong", ["?p=x", "?p=999", "?nowhere=1", "?q=%00"])
    def test_it_survives_a_wrong_address(self, staff: Client, wrong: str) -> None:
        make_flights(60)
        assert staff.get(FLIGHTS + wrong).status_code in {200, 302}


class TestFlightForm:
    def test_it_loads_no_list_of_airports(self, staff: Client) -> None:
        (flight,) = make_flights(1)
        page = staff.get(f"{FLIGHTS}{flight.pk}/change/").content.decode()
        assert "John F Kennedy" not in page
        assert page.count("admin-autocomplete") >= 4

    def test_it_asks_as_often_for_many_reports_as_for_one(self, staff: Client) -> None:
        few, many = make_flights(2)
        make_reports(few, 1)
        make_reports(many, 50)
        url = FLIGHTS + "{}/change/"
        staff.get(url.format(few.pk))  # learns the content types, once per process
        assert len(queries_of(staff, url.format(few.pk))) == len(queries_of(staff, url.format(many.pk)))

    def test_it_shows_the_latest_twenty_reports(self, staff: Client) -> None:
        (flight,) = make_flights(1)
        make_reports(flight, 25)
        response = staff.get(f"{FLIGHTS}{flight.pk}/change/")
        (formset,) = response.context["inline_admin_formsets"]
        latest = StatusReport.objects.order_by("-created_at", "-pk")[:20]
        assert {form.instance for form in formset.formset.forms} <= set(StatusReport.objects.all())
        assert len(formset.formset.forms) == len(latest) == 20

    def test_it_saves_and_leaves_the_reports_alone(self, staff: Client) -> None:
        (flight,) = make_flights(1)
        make_reports(flight, 3)
        url = f"{FLIGHTS}{flight.pk}/change/"
        initial = staff.get(url).context["adminform"].form.initial
        data = {name: "" if value is None else value for name, value in initial.items()}
        data |= {"time_hour_0": "2013-01-01", "time_hour_1": "10:00:00", "dep_delay": "33"}
        data |= {"reports-TOTAL_FORMS": "3", "reports-INITIAL_FORMS": "3"}
        response = staff.post(url, data)
        assert response.status_code == 302, response.context["errors"]
        assert Flight.objects.get(pk=flight.pk).dep_delay == 33
        assert StatusReport.objects.count() == 3


class TestAutocomplete:
    def ask(self, client: Client, field: str, term: str, model: str = "statusreport") -> list[str]:
        response = client.get(
            reverse("admin:autocomplete"),
            {"app_label": "flights", "model_name": model, "field_name": field, "term": term},
        )
        return [found["text"] for found in response.json()["results"]]

    def test_it_finds_a_flight(self, staff: Client) -> None:
        make_flights(3)
        assert self.ask(staff, "flight", "UA2") == ["UA2 2013-01-01"]
        assert len(self.ask(staff, "flight", "")) == 3

    def test_it_finds_an_airport_and_a_plane(self, staff: Client) -> None:
        make_flights(1)
        assert self.ask(staff, "destination", "iah", "flight") == ["IAH Houston"]
        assert self.ask(staff, "plane", "n142", "flight") == ["N14228"]


class TestReportList:
    def test_it_asks_as_often_for_many_rows_as_for_one(self, staff: Client) -> None:
        (flight,) = make_flights(1)
        make_reports(flight, 1)
        url = reverse("admin:flights_statusreport_changelist")
        few = len(queries_of(staff, url))
        (other,) = make_flights(1, number=50)
        make_reports(other, 49)
        assert len(queries_of(staff, url)) == few

    def test_it_finds_an_author(self, staff: Client) -> None:
        (flight,) = make_flights(1)
        make_reports(flight, 2)
        url = reverse("admin:flights_statusreport_changelist")
        assert "1 status report" in shown(staff, f"{url}?q=reporter-{flight.pk}-1")


class TestActivityList:
    def test_it_asks_as_often_for_many_rows_as_for_one(self, staff: Client) -> None:
        users = [get_user_model().objects.create_user(f"user-{n}") for n in range(50)]
        ActivityLog.objects.create(user=users[0], action="login")
        url = reverse("admin:flights_activitylog_changelist")
        few = len(queries_of(staff, url))
        ActivityLog.objects.bulk_create(ActivityLog(user=user, action="login") for user in users)
        assert len(queries_of(staff, url)) == few
