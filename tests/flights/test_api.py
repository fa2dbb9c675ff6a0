from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
import requests
from django.contrib.auth import get_user_model
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client, RequestFactory, override_settings

from perfkit.api.pages import window
from perfkit.conf import configured
from project.api import api
from project.flights.api import FlightSorting
from project.flights.measures import Measure
from project.flights.models import Flight, StatusReport
from project.views import HomeView
from tests.flights.factories import make_flights, make_reference_rows, make_reports
from tests.flights.many import make_many_flights

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_rate_limit() -> Any:
    with override_settings(PERFKIT={**configured(), "RATE_LIMIT_ENABLED": False}):
        yield


def numbers(client: Client, query: str = "") -> list[int]:
    response = client.get(f"/api/flights{query}")
    assert response.status_code == 200, response.content
    return [flight["number"] for flight in response.json()["items"]]


def problems(client: Client, url: str) -> dict[str, str]:
    response = client.get(url)
    assert response.status_code == 422, response.content
    return {problem["loc"][-1]: problem["msg"] for problem in response.json()["detail"]}


class TestFlights:
    def test_it_answers_a_page_with_the_envelope_and_the_relations(self, client: Client) -> None:
        make_flights(3)
        answer = client.get("/api/flights?page_size=2").json()
        items = answer.pop("items")
        assert answer == {
            "total": 3,
            "page": 1,
            "page_size": 2,
            "total_pages": 2,
            "has_next": True,
            "has_prev": False,
        }
        assert [item["number"] for item in items] == [3, 2]  # the latest first
        assert items[0]["airline"] == {"code": "UA", "name": "United Air Lines Inc."}
        assert items[0]["origin"] == {"code": "EWR", "name": "Newark Liberty Intl"}
        assert items[0]["destination"] == {"code": "IAH", "name": "Houston"}
        assert items[0]["plane"]["model"] == "737-824"
        assert items[0]["time_hour"] == "2013-01-01T12:00:00Z"

    def test_it_says_null_where_the_reference_tables_lack_plane_and_destination(self, client: Client) -> None:
        make_flights(1, plane_id=None, tailnum="N999", destination_id=None, dest_code="BQN")
        (item,) = client.get("/api/flights").json()["items"]
        assert (item["plane"], item["tailnum"]) == (None, "N999")
        assert (item["destination"], item["dest_code"]) == (None, "BQN")

    @pytest.mark.parametrize("rows", [1, 50])
    def test_it_takes_two_queries_however_many_rows(
        self, client: Client, django_assert_num_queries: Any, rows: int
    ) -> None:
        make_flights(rows)
        with django_assert_num_queries(2):
            assert len(client.get("/api/flights?page_size=100").json()["items"]) == rows

    def test_it_filters(self, client: Client) -> None:
        make_flights(1, number=1)
        make_flights(1, number=2, airline_id="AA", origin_id="JFK")
        make_flights(1, number=3, dep_time=None, dep_delay=None)
        make_flights(1, number=4, dep_delay=120, dest_code="EWR", destination_id="EWR")
        assert numbers(client, "?airline=AA") == [2]
        assert numbers(client, "?origin=JFK") == [2]
        assert numbers(client, "?destination=EWR") == [4]
        assert numbers(client, "?min_delay=120") == [4]
        assert numbers(client, "?cancelled=true") == [3]
        assert sorted(numbers(client, "?cancelled=false")) == [1, 2, 4]
        assert sorted(numbers(client, "?max_delay=119&min_delay=0")) == [1, 2]
        assert numbers(client, "?airline=AA&origin=EWR") == []
        assert sorted(numbers(client, "?airline=AA,UA")) == [1, 2, 3, 4]

    def test_it_filters_by_days_of_new_york(self, client: Client) -> None:
        make_flights(1, number=1, time_hour=datetime(2013, 1, 2, 4, tzinfo=UTC))  # the 1st, 23:00 there
        make_flights(1, number=2, time_hour=datetime(2013, 1, 2, 5, tzinfo=UTC))  # the 2nd, 0:00
        make_flights(1, number=3, time_hour=datetime(2013, 7, 4, 3, tzinfo=UTC))  # the 3rd, 23:00
        assert numbers(client, "?date_to=2013-01-01") == [1]
        assert numbers(client, "?date_from=2013-01-02&date_to=2013-01-02") == [2]
        assert numbers(client, "?date_from=2013-07-03&date_to=2013-07-03") == [3]

    def test_it_sorts_with_missing_values_last(self, client: Client) -> None:
        make_flights(1, number=1, dep_delay=5)
        make_flights(1, number=2, dep_delay=None)
        make_flights(1, number=3, dep_delay=-5)
        assert numbers(client, "?sort_by=dep_delay") == [1, 3, 2]

    def test_it_sorts_in_both_directions(self, client: Client) -> None:
        make_flights(3)
        assert numbers(client, "?sort_by=number") == [3, 2, 1]
        assert numbers(client, "?sort_by=number&sort_order=asc") == [1, 2, 3]
        assert numbers(client, "?sort_by=-number") == [3, 2, 1]
        assert numbers(client, "?sort_by=airline,-time_hour") == [3, 2, 1]

    @pytest.mark.postgres
    @pytest.mark.parametrize(
        "query",
        FlightSorting._orders(),
    )
    def test_an_index_serves_each_order_that_anybody_may_ask_for(self, query: str) -> None:
        make_many_flights()
        if "airline" in query:  # two airlines are too few to read an index for; the real ones are sixteen
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL enable_seqscan = off")
        sorting = FlightSorting(**dict(parse_qsl(query)))
        plan = window(sorting.apply(Flight.objects.all()), 1, 20).explain()
        assert "Index Scan" in plan
        assert "Seq Scan" not in plan
        assert "Incremental Sort" in plan or "Sort" not in plan

    def test_it_refuses_the_direction_that_no_index_serves(self, client: Client) -> None:
        (problem,) = problems(client, "/api/flights?sort_by=dep_delay&sort_order=asc").values()
        assert problem.startswith("No index sorts by sort_by=dep_delay&sort_order=asc. Allowed: ")
        assert "sort_by=dep_delay&sort_order=desc" in problem
        assert "sort_by=airline,-time_hour" in problem

    @pytest.mark.parametrize("name", ["arr_delay", "air_time", "distance"])
    def test_it_does_not_sort_by_what_no_index_serves(self, client: Client, name: str) -> None:
        assert list(problems(client, f"/api/flights?sort_by={name}")) == ["sort_by"]

    def test_its_pages_hold_each_of_many_ties_once(self, client: Client) -> None:
        make_flights(60)
        pages = [numbers(client, f"?sort_by=airline&page_size=7&page={page}") for page in range(1, 10)]
        assert sorted(number for page in pages for number in page) == list(range(1, 61))

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("page=0", "page"),
            (f"page={10**21}", "page"),
            ("page=first", "page"),
            ("page_size=0", "page_size"),
            ("page_size=-1", "page_size"),
            ("page_size=101", "page_size"),
            ("page_size=1000000", "page_size"),
            ("airline=%00%00", "airline"),
            ("origin=jfk", "origin"),
            ("min_delay=99999999999999999999", "min_delay"),
            ("date_from=yesterday", "date_from"),
            ("date_to=9999-12-31", "date_to"),
            ("cancelled=perhaps", "cancelled"),
        ],
    )
    def test_it_refuses_a_bad_value_and_names_the_field(self, client: Client, query: str, field: str) -> None:
        assert list(problems(client, f"/api/flights?{query}")) == [field]

    def test_it_refuses_a_range_that_ends_before_it_begins(self, client: Client) -> None:
        (problem,) = problems(client, "/api/flights?date_from=2013-02-01&date_to=2013-01-01").values()
        assert "date_from is after date_to" in problem

    def test_it_says_what_can_be_sorted_by(self, client: Client) -> None:
        problem = problems(client, "/api/flights?sort_by=plane__seats")["sort_by"]
        assert "'time_hour'" in problem
        assert "'number'" in problem
        assert "'asc' or 'desc'" in problems(client, "/api/flights?sort_order=up")["sort_order"]

    def test_it_says_which_parameters_there_are(self, client: Client) -> None:
        problem = problems(client, "/api/flights?carrier=UA")["carrier"]
        for name in ("airline", "date_from", "page_size", "sort_order"):
            assert name in problem

    def test_it_answers_past_the_end_with_the_true_total(self, client: Client) -> None:
        make_flights(3)
        answer = client.get("/api/flights?page=99999").json()
        assert (answer["items"], answer["total"], answer["has_next"]) == ([], 3, False)


class TestWalk:
    def test_its_links_lead_to_the_end_and_back(self, client: Client) -> None:
        make_flights(7)
        make_flights(1, number=99, airline_id="AA")
        there = list(walk(client, "/api/flights/walk?airline=UA&page_size=3&fields=number", "next"))
        assert [numbers for _, numbers in there] == [[7, 6, 5], [4, 3, 2], [1]]
        back = list(walk(client, there[-1][0], "prev"))
        assert [numbers for _, numbers in back] == [[1], [4, 3, 2], [7, 6, 5]]

    def test_its_answer_has_the_cursors_of_the_links(self, client: Client) -> None:
        make_flights(3)
        response = client.get("/api/flights/walk?page_size=2")
        answer = response.json()
        assert (answer["has_next"], answer["has_prev"], answer["previous"]) == (True, False, None)
        assert urlencode({"cursor": answer["next"]}) in response["Link"]
        assert answer["items"] == client.get("/api/flights?page_size=2").json()["items"]

    def test_a_cursor_of_other_filters_or_another_order_is_refused(self, client: Client) -> None:
        make_flights(3)
        cursor = client.get("/api/flights/walk?page_size=2").json()["next"]
        for query in ("airline=UA", "sort_by=number"):
            problem = problems(client, f"/api/flights/walk?{query}&{urlencode({'cursor': cursor})}")
            assert "not one that this list has given" in problem["cursor"]

    @pytest.mark.parametrize("rows", [1, 50])
    def test_it_takes_one_query_however_many_rows(
        self, client: Client, django_assert_num_queries: Any, rows: int
    ) -> None:
        make_flights(rows)
        with django_assert_num_queries(1):
            assert len(client.get("/api/flights/walk?page_size=100").json()["items"]) == rows


def walk(client: Client, url: str, relation: str) -> Iterator[tuple[str, list[int]]]:
    """Follow the links of one direction, and yield each address with the numbers of its flights."""
    while url:
        response = client.get(url)
        assert response.status_code == 200, response.content
        yield url, [flight["number"] for flight in response.json()["items"]]
        links = requests.utils.parse_header_links(response.get("Link", ""))
        url = next((link["url"] for link in links if link.get("rel") == relation), "")


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("airlines?fields=name", [{"name": "American Airlines Inc."}, {"name": "United Air Lines Inc."}]),
        ("airlines/UA?fields=code", {"code": "UA"}),
        ("airports/EWR?fields=code,departure_count", {"code": "EWR", "departure_count": 2}),
        ("airports?fields=code&page_size=1", [{"code": "EWR"}]),
        ("flights?fields=number,plane.seats&page_size=1", [{"number": 2, "plane": {"seats": 149}}]),
    ],
)
def test_it_answers_with_the_fields_that_are_asked_for(client: Client, url: str, part: Any) -> None:
    make_flights(2)
    answer = client.get(f"/api/{url}").json()
    assert (answer if isinstance(answer, list) else answer.get("items", answer)) == part
    assert list(problems(client, f"/api/{url.partition('?')[0]}?fields=password")) == ["fields"]


class TestStatistics:
    def test_it_tells_how_punctual_the_flights_were_that_are_asked_for(self, client: Client) -> None:
        make_flights(3)
        make_flights(1, number=9, dep_time=None, dep_delay=None, arr_delay=None)
        make_flights(2, number=10, dep_delay=40, airline_id="AA")
        assert client.get("/api/flights/stats").json() == {
            "flights": 6,
            "cancelled": 1,
            "late": 2,
            "mean_delay_minutes": 17.2,
        }
        assert client.get("/api/flights/stats?airline=AA&date_from=2013-01-01").json() == {
            "flights": 2,
            "cancelled": 0,
            "late": 2,
            "mean_delay_minutes": 40.0,
        }
        assert client.get("/api/flights/stats?airline=DL").json()["mean_delay_minutes"] is None

    def test_it_refuses_what_the_list_refuses(self, client: Client) -> None:
        assert list(problems(client, "/api/flights/stats?min_delay=soon")) == ["min_delay"]
        assert list(problems(client, "/api/flights/stats?page=1")) == ["page"]


class TestFlight:
    def test_its_reports_are_the_latest_first(self, client: Client) -> None:
        (flight,) = make_flights(1)
        reports = make_reports(flight, 3)
        StatusReport.objects.filter(pk=reports[0].pk).update(created_at=datetime(2030, 1, 1, tzinfo=UTC))
        StatusReport.objects.exclude(pk=reports[0].pk).update(created_at=datetime(2029, 1, 1, tzinfo=UTC))
        assert client_sees(client, flight) == [reports[0].pk, reports[2].pk, reports[1].pk]

    def test_it_answers_with_some_of_the_fields(self, client: Client) -> None:
        (flight,) = make_flights(1)
        make_reports(flight, 1)
        answer = client.get(f"/api/flights/{flight.pk}?fields=number,airline.name,reports.kind").json()
        assert answer == {
            "number": 1,
            "airline": {"name": "United Air Lines Inc."},
            "reports": [{"kind": "delay"}],
        }

    @pytest.mark.parametrize("rows", [1, 50])
    def test_it_answers_with_reports_and_authors_in_two_queries(
        self, client: Client, django_assert_num_queries: Any, rows: int
    ) -> None:
        (flight,) = make_flights(1)
        make_reports(flight, rows)
        with django_assert_num_queries(2):
            answer = client.get(f"/api/flights/{flight.pk}").json()
        assert len(answer["reports"]) == rows
        assert answer["reports"][0]["author"].startswith("reporter-")
        assert answer["airline"]["code"] == "UA"

    @pytest.mark.parametrize("flight_id", [1, 10**21])
    def test_it_answers_404_in_json(self, client: Client, flight_id: int) -> None:
        response = client.get(f"/api/flights/{flight_id}")
        assert response.status_code == 404
        assert response.json() == {"detail": "Not Found"}

    @pytest.mark.parametrize("flight_id", ["abc", "1.5", "%00"])
    def test_it_refuses_what_is_no_id_and_names_the_field(self, client: Client, flight_id: str) -> None:
        assert list(problems(client, f"/api/flights/{flight_id}")) == ["flight_id"]


class TestAirlines:
    def test_it_lists_them_by_code_in_one_query(self, client: Client, django_assert_num_queries: Any) -> None:
        make_reference_rows()
        with django_assert_num_queries(1):
            airlines = client.get("/api/airlines").json()
        assert airlines == [
            {"code": "AA", "name": "American Airlines Inc."},
            {"code": "UA", "name": "United Air Lines Inc."},
        ]

    def test_it_answers_one(self, client: Client) -> None:
        make_reference_rows()
        assert client.get("/api/airlines/UA").json() == {"code": "UA", "name": "United Air Lines Inc."}
        assert client.get("/api/airlines/XX").status_code == 404
        assert list(problems(client, "/api/airlines/united")) == ["code"]


class TestAirports:
    def test_it_tells_how_many_flights_left_and_went_to_each(self, client: Client) -> None:
        make_flights(3)
        make_flights(2, number=9, origin_id="JFK", destination_id="EWR", dest_code="EWR")
        counts = {
            airport["code"]: (airport["departure_count"], airport["arrival_count"])
            for airport in client.get("/api/airports").json()["items"]
        }
        assert counts == {"EWR": (3, 2), "IAH": (0, 3), "JFK": (2, 0)}
        answer = client.get("/api/airports/EWR").json()
        assert (answer["departure_count"], answer["arrival_count"]) == (3, 2)

    def test_it_lists_them_by_code(self, client: Client) -> None:
        make_reference_rows()
        answer = client.get("/api/airports?page_size=2").json()
        assert [airport["code"] for airport in answer["items"]] == ["EWR", "IAH"]
        assert answer["total"] == 3

    def test_it_finds_them_by_a_part_of_the_name(self, client: Client) -> None:
        make_reference_rows()
        for search, codes in [("LIBERTY", ["EWR"]), ("n ken", []), ("f ken", ["JFK"]), ("ous", ["IAH"])]:
            answer = client.get("/api/airports", {"search": search}).json()
            assert [airport["code"] for airport in answer["items"]] == codes
        assert list(problems(client, "/api/airports?search=ew")) == ["search"]

    def test_it_answers_one(self, client: Client) -> None:
        make_reference_rows()
        answer = client.get("/api/airports/JFK").json()
        assert answer["name"] == "John F Kennedy Intl"
        assert answer["latitude"] == 40.6

    def test_it_answers_404_in_json(self, client: Client) -> None:
        response = client.get("/api/airports/XXX")
        assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})
        with override_settings(DEBUG=True):
            answer = client.get("/api/airports/XXX").json()
        assert answer == {"detail": "Not Found: No Airport matches the given query."}

    def test_it_refuses_what_is_no_code(self, client: Client) -> None:
        assert list(problems(client, "/api/airports/%00")) == ["code"]

    def test_it_tells_how_punctual_one_was(self, client: Client) -> None:
        make_flights(3)
        make_flights(1, number=9, dep_time=None, dep_delay=None, arr_delay=None)
        make_flights(1, number=10, dep_delay=40, arr_delay=30)
        assert client.get("/api/airports/EWR/stats").json() == {
            "departures": {"flights": 5, "cancelled": 1, "late": 1, "mean_delay_minutes": 11.5},
            "arrivals": {"flights": 0, "cancelled": 0, "late": 0, "mean_delay_minutes": None},
        }
        assert client.get("/api/airports/IAH/stats").json()["arrivals"] == {
            "flights": 5,
            "cancelled": 1,
            "late": 1,
            "mean_delay_minutes": 15.8,
        }
        assert client.get("/api/airlines/UA/stats").json() == {
            "flights": 5,
            "cancelled": 1,
            "late": 1,
            "mean_delay_minutes": 11.5,
        }

    @pytest.mark.parametrize("path", ["airports/XXX", "airlines/XX"])
    def test_it_tells_nothing_of_those_that_are_not(self, client: Client, path: str) -> None:
        assert client.get(f"/api/{path}/stats").status_code == 404


class TestReports:
    @pytest.fixture
    def flight(self) -> Flight:
        return make_flights(1)[0]

    @pytest.fixture
    def reporter(self, client: Client) -> Client:
        client.force_login(get_user_model().objects.create_user("ann"))
        return client

    def post(self, client: Client, flight: int, **report: Any) -> Any:
        return client.post(f"/api/flights/{flight}/reports", report, content_type="application/json")

    def test_it_writes_what_the_user_reports(self, reporter: Client, flight: Flight) -> None:
        response = self.post(reporter, flight.pk, kind="delay", delay_minutes=30, note="De-icing")
        assert response.status_code == 201
        assert response.json()["author"] == "ann"
        (report,) = StatusReport.objects.all()
        assert (report.flight, report.kind, report.delay_minutes, report.author.get_username()) == (
            flight,
            "delay",
            30,
            "ann",
        )
        assert client_sees(reporter, flight) == [report.pk]

    def test_it_refuses_a_stranger(self, client: Client, flight: Flight) -> None:
        assert self.post(client, flight.pk, kind="cancellation").status_code == 401
        assert not StatusReport.objects.exists()

    def test_it_refuses_a_session_without_a_csrf_token(self, flight: Flight) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(get_user_model().objects.create_user("ann"))
        assert self.post(client, flight.pk, kind="cancellation").status_code == 403
        assert not StatusReport.objects.exists()

    @pytest.mark.parametrize(
        "report",
        [
            {},
            {"kind": "lost"},
            {"kind": "delay"},
            {"kind": "delay", "delay_minutes": 0},
            {"kind": "delay", "delay_minutes": 10**21},
            {"kind": "gate"},
            {"kind": "gate", "gate": "much too long"},
            {"kind": "cancellation", "note": "a\x00b"},
            {"kind": "cancellation", "note": "\ud800"},
            {"kind": "cancellation", "note": "x" * 2001},
        ],
    )
    def test_it_refuses_a_bad_report(self, reporter: Client, flight: Flight, report: dict[str, Any]) -> None:
        assert self.post(reporter, flight.pk, **report).status_code == 422
        assert not StatusReport.objects.exists()

    def test_it_answers_404_where_there_is_no_flight(self, reporter: Client, flight: Flight) -> None:
        assert self.post(reporter, flight.pk + 1, kind="cancellation").status_code == 404

    def test_it_refuses_what_is_no_id_and_names_the_field(self, reporter: Client) -> None:
        response = reporter.post(
            "/api/flights/abc/reports", {"kind": "cancellation"}, content_type="application/json"
        )
        assert response.status_code == 422
        assert [problem["loc"] for problem in response.json()["detail"]] == [["path", "flight_id"]]


def client_sees(client: Client, flight: Flight) -> list[int]:
    return [report["id"] for report in client.get(f"/api/flights/{flight.pk}").json()["reports"]]


class TestSchema:
    def test_it_shows_the_envelope(self) -> None:
        schema = api.get_openapi_schema()
        page = schema["components"]["schemas"]["PagedFlightOut"]
        types = {name: field["type"] for name, field in page["properties"].items()}
        assert types == {
            "items": "array",
            "total": "integer",
            "page": "integer",
            "page_size": "integer",
            "total_pages": "integer",
            "has_next": "boolean",
            "has_prev": "boolean",
        }
        assert page["properties"]["items"]["items"] == {"$ref": "#/components/schemas/FlightOut"}
        assert sorted(page["required"]) == sorted(types)

    def test_every_documented_parameter_is_accepted(self, client: Client) -> None:
        examples = {
            "airline": "UA",
            "origin": "JFK",
            "destination": "IAH",
            "date_from": "2013-01-01",
            "date_to": "2013-01-01",
            "min_delay": "1",
            "max_delay": "2",
            "cancelled": "true",
            "sort_by": "number",
            "sort_order": "asc",
            "page": "1",
            "page_size": "100",
            "fields": "id",
        }
        parameters = api.get_openapi_schema()["paths"]["/api/flights"]["get"]["parameters"]
        assert {parameter["name"] for parameter in parameters} == set(examples)
        assert client.get("/api/flights", examples).status_code == 200

    def test_it_says_what_is_for_everybody_and_what_is_not(self) -> None:
        operations = {
            (method, path): bool(operation.get("security"))
            for path, methods in api.get_openapi_schema()["paths"].items()
            for method, operation in methods.items()
        }
        assert operations == {
            ("get", "/api/flights"): False,
            ("get", "/api/flights/walk"): False,
            ("get", "/api/flights/stats"): False,
            ("get", "/api/flights/{flight_id}"): False,
            ("get", "/api/reports"): False,
            ("post", "/api/flights/{flight_id}/reports"): True,
            ("post", "/api/flights/reports/bulk"): True,
            ("get", "/api/activity"): True,
            ("get", "/api/pool"): True,
            ("get", "/api/perfkit/summary"): True,
            ("get", "/api/airports"): False,
            ("get", "/api/airports/{code}"): False,
            ("get", "/api/airports/{code}/stats"): False,
            ("post", "/api/airports/{code}/descriptions"): True,
            ("get", "/api/airports/{code}/descriptions/events"): True,
            ("get", "/api/descriptions/{description_id}"): True,
            ("get", "/api/airlines"): False,
            ("get", "/api/airlines/{code}"): False,
            ("get", "/api/airlines/{code}/stats"): False,
            ("get", "/api/task-status/{task_id}"): True,
            ("get", "/api/task-status/{task_id}/events"): True,
        }


class TestPages:
    def test_the_landing_page_leads_to_pages_that_answer(self, client: Client) -> None:
        html = client.get("/").content.decode()
        links = [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]+)"', html)]
        assert {"/api/docs", "/admin/"} < set(links)
        for link in links:
            if link.startswith("/static/"):
                assert finders.find(link.removeprefix("/static/")), link
            else:
                assert client.get(link, follow=True).status_code == 200, link

    def test_the_landing_page_loads_only_local_files_and_runs_nothing(self, client: Client) -> None:
        html = client.get("/").content.decode()
        assert not re.search(r"<script|<style|\bstyle=|\bon\w+=|\bsrc=|https?://", html)
        assert all(link.startswith("/static/") for link in re.findall(r'<link[^>]*href="([^"]+)"', html))

    def test_the_landing_page_shows_what_was_measured(self, rf: RequestFactory, tmp_path: Path) -> None:
        view = HomeView.as_view(report=tmp_path / "report.json")
        assert "Nothing is measured yet" in view(rf.get("/")).render().content.decode()

        row = Measure("write 5,000 flights", "save()", 1500.4, "bulk_insert()", 30000.0, "rows/s")
        environment = {"flights": 336776, "database": "PostgreSQL 18.6", "django": "5.2", "python": "3.11"}
        (tmp_path / "report.json").write_text(
            json.dumps({"environment": environment, "measures": [row.as_dict()]}), encoding="utf-8"
        )
        html = view(rf.get("/")).render().content.decode()
        for shown in (
            "336,776 flights",
            "write 5,000 flights",
            "30,000 rows/s",
            "20.0 \N{MULTIPLICATION SIGN}",
        ):
            assert shown in html

    def test_the_documentation_loads_only_local_files(self, client: Client) -> None:
        html = client.get("/api/docs").content.decode()
        assets = re.findall(r'<(?:script|link|img)[^>]*?(?:src|href)="([^"]+)"', html)
        assert len(assets) >= 3
        for asset in assets:
            assert asset.startswith("/static/"), asset
            assert finders.find(asset.removeprefix("/static/")), asset
        assert "/api/openapi.json" in html
        assert client.get("/api/openapi.json").json()["info"]["title"] == "Flights out of New York"

    def test_the_documentation_is_whole_over_real_http(self, live_server: Any) -> None:
        html = requests.get(f"{live_server.url}/api/docs", timeout=10).text
        assets = re.findall(r'<(?:script|link)[^>]*?(?:src|href)="([^"]+)"', html)
        for url in [*assets, "/api/openapi.json"]:
            response = requests.get(live_server.url + url, timeout=10)
            assert response.status_code == 200, url
            assert response.content, url

    def test_the_documentation_can_send_the_token_that_reports_need(self, client: Client) -> None:
        html = client.get("/api/docs").content.decode()
        assert re.search(r'data-csrf-token="\w{64}"', html)


def test_it_admits_a_hundred_requests_a_minute_and_says_what_is_left(client: Client) -> None:
    own = {**configured(), "RATE_LIMIT_ENABLED": True, "CACHE_KEY_PREFIX": "limited", "CACHE_TIMEOUT": 5.0}
    caches = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    with override_settings(PERFKIT=own, CACHES=caches):
        answers = [client.get("/api/airports/ZZZ") for _ in range(101)]
    assert [answer.status_code for answer in answers] == [404] * 100 + [429]
    assert answers[0]["RateLimit"] == '"100/minute";r=99;t=60'
    assert answers[-1]["RateLimit-Remaining"] == "0"
    assert 1 <= int(answers[-1]["Retry-After"]) <= 60
