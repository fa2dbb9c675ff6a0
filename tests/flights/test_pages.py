"""The page on which people browse flights, as it is answered; what it looks like, tests/project/test_pages.py."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django import forms
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.test.html import parse_html

from project.flights.models import Flight
from project.flights.pages import FlightFilterForm, PlainSelect, clock
from project.flights.query_figures import query_figures
from project.flights.statistics import flight_choices
from tests.flights.factories import make_flights, make_reference_rows

pytestmark = pytest.mark.django_db


def shown(html: str) -> list[int]:
    return [int(number) for number in re.findall(r'/api/flights/\d+">[A-Z0-9]{2} (\d+)</a>', html)]


def read(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_its_pages_hold_each_flight_once_there_and_back(client: Client) -> None:
    make_flights(45)
    make_flights(20, number=100, airline_id="AA")
    url, pages = "/flights/?airline=UA&day=", []
    while url:
        html = read(client, url)
        pages.append(shown(html))
        url = next(map(unescape, re.findall(r'rel="next" href="([^"]+)"', html)), "")
    assert pages == [list(range(45, 25, -1)), list(range(25, 5, -1)), list(range(5, 0, -1))]
    previous = unescape(re.findall(r'rel="prev" href="([^"]+)"', html)[0])
    assert shown(read(client, previous)) == pages[1]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [4, 3, 2, 1]),
        ("airline=AA", [2]),
        ("origin=JFK", [2]),
        ("destination=BQN", [3]),
        ("day=2013-07-04", [4]),
        ("min_delay=60", [3]),
        ("min_delay=60&airline=AA", []),
        ("airline=&origin=&destination=&day=&min_delay=", [4, 3, 2, 1]),
    ],
)
def test_it_filters(client: Client, query: str, numbers: list[int]) -> None:
    make_flights(4)
    Flight.objects.filter(number=2).update(airline="AA", origin="JFK")
    Flight.objects.filter(number=3).update(destination=None, dest_code="BQN", dep_delay=61)
    Flight.objects.filter(number=4).update(time_hour="2013-07-05T03:00Z")
    assert shown(read(client, f"/flights/?{query}")) == numbers


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("airline=XX", "airline"),
        ("origin=%00", "origin"),
        ("day=yesterday", "day"),
        ("day=9999-12-31", "day"),
        ("day=0001-01-01", "day"),
        ("min_delay=99999999999999999999", "min_delay"),
        ("min_delay=%F0%9F%98%80", "min_delay"),
    ],
)
def test_it_names_the_field_that_it_refuses(client: Client, query: str, field: str) -> None:
    make_flights(1)
    html = read(client, f"/flights/?{query}")
    assert re.findall(r'class="error" id="id_(\w+)_error"', html) == [field]
    assert shown(html) == []


def test_a_cursor_of_another_list_leads_to_the_first_page(client: Client) -> None:
    make_flights(21)
    html = read(client, "/flights/")
    (link,) = map(unescape, re.findall(r'rel="next" href="([^"]+)"', html))
    for url in (f"{link}&airline=UA", "/flights/?cursor=%00", "/flights/?cursor=" + "x" * 5000):
        assert "belongs to another list" in read(client, url)


def test_it_takes_one_query_however_many_rows(client: Client, django_assert_num_queries: Any) -> None:
    make_flights(1)
    for rows in (1, 20):
        make_flights(rows - 1, number=2)
        flight_choices()
        with django_assert_num_queries(1 + CHOICES):
            html = read(client, "/flights/")
        assert len(shown(html)) == rows
        assert "read in 1 query" in " ".join(html.split())


CHOICES = 5
"""Queries of what can be chosen, which are kept outside of transactions."""


def test_it_says_which_flights_were_cancelled_and_how_late_the_others_left(client: Client) -> None:
    make_flights(1, dep_time=None, dep_delay=None)
    make_flights(1, number=2, dep_delay=-3)
    cells = re.findall(r'<td class="number[^"]*">([^<]*)</td>', read(client, "/flights/"))
    assert sorted(cells) == ["", "-3 min", "5:17", "cancelled"]


def test_it_offers_what_flights_have(client: Client) -> None:
    make_reference_rows()
    make_flights(1)
    make_flights(1, number=2, destination_id=None, dest_code="BQN")
    form = FlightFilterForm({})
    assert [code for code, _ in form.fields["airline"].choices] == ["", "UA"]  # type: ignore[attr-defined]
    assert form.fields["destination"].choices == [  # type: ignore[attr-defined]
        ("", "Any"),
        ("BQN", "BQN"),
        ("IAH", "IAH Houston"),
    ]


@pytest.mark.parametrize("value", ["", "IAH", "XXX", None])
def test_its_choices_are_rendered_as_django_does(value: str | None) -> None:
    choices = [("", "Any"), ("IAH", "IAH <Houston> & more"), ("BQN", "BQN")]
    attributes = {"id": "id_destination", "aria-invalid": "true", "required": False}
    plain = PlainSelect(choices=choices).render("destination", value, attributes)
    assert parse_html(plain) == parse_html(
        forms.Select(choices=choices).render("destination", value, attributes)
    )


def test_a_list_that_is_shown_as_json_is_the_same(client: Client) -> None:
    make_flights(3)
    make_flights(2, number=9, airline_id="AA", dep_delay=30)
    html = read(client, "/flights/?airline=AA&min_delay=20&day=2013-01-01")
    (url,) = map(unescape, re.findall(r'href="(/api/flights/walk[^"]*)"', html))
    assert [flight["number"] for flight in client.get(url).json()["items"]] == shown(html) == [10, 9]


def test_it_may_load_nothing_from_elsewhere_and_run_nothing(client: Client) -> None:
    make_flights(21)
    response = client.get("/flights/")
    assert response["Content-Security-Policy"].startswith("default-src 'self';")
    assert not re.search(r"<script|<style|\bstyle=|\bon\w+=|https?://", response.content.decode())


def test_times_are_shown_as_people_write_them() -> None:
    assert [clock(517), clock(5), clock(1200), clock(2400)] == ["5:17", "0:05", "12:00", "24:00"]


def test_queries_are_counted_and_timed_also_where_they_fail() -> None:
    with transaction.atomic(), query_figures() as figures:
        assert Flight.objects.count() == 0
        with pytest.raises(DatabaseError):
            connection.cursor().execute("SELECT nothing")
        transaction.set_rollback(True)
    assert figures.queries == 2
    assert 0 < figures.seconds < 60
    assert figures.milliseconds == figures.seconds * 1000
    assert Flight.objects.count() == 0
    assert figures.queries == 2  # it looks no further
