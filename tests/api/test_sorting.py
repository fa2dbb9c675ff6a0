from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client

from perfkit.api import Sorting
from perfkit.api.sorting import ordering
from perfkit.paging.columns import is_nullable
from project.flights.models import Flight, StatusReport
from tests.flights.factories import make_flights


class FlightSorting(Sorting):
    sort_by: Literal["scheduled", "dep_delay"] = "scheduled"
    paths: ClassVar = {"scheduled": "time_hour"}


@pytest.mark.parametrize(
    ("model", "path", "expected"),
    [
        (Flight, "distance", False),
        (Flight, "pk", False),
        (Flight, "dep_delay", True),
        (Flight, "airline__name", False),
        (Flight, "plane__seats", True),  # the plane may be missing
        (Flight, "airline_id", False),
        (StatusReport, "flight__dep_delay", True),
        (Flight, "reports__created_at", True),
        (Flight, "number_of_reports", True),
        (Flight, "distance__nonsense", True),
    ],
)
def test_it_knows_where_a_value_may_be_missing(model: type[Model], path: str, expected: bool) -> None:
    assert is_nullable(model, path) is expected


def test_it_says_nothing_of_nulls_where_there_are_none() -> None:
    assert ordering(Flight, "distance", descending=True).nulls_last is None
    assert ordering(Flight, "dep_delay", descending=True).nulls_last is True


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["dep_delay", "plane__seats", "plane__year"])
def test_it_puts_missing_values_last_in_both_directions(path: str) -> None:
    make_flights(2, dep_delay=1)
    make_flights(1, number=3, dep_delay=2)
    missing = {flight.pk for flight in make_flights(2, number=4, dep_delay=None, plane_id=None)}
    for descending in (True, False):
        rows = Flight.objects.order_by(ordering(Flight, path, descending=descending), "pk")
        assert {flight.pk for flight in list(rows)[3:]} == missing


@pytest.mark.django_db
def test_it_sorts_by_what_was_asked() -> None:
    make_flights(3)
    ascending = FlightSorting(sort_by="scheduled", sort_order="asc").apply(Flight.objects.all())
    assert [flight.number for flight in ascending] == [1, 2, 3]
    assert [flight.number for flight in FlightSorting().apply(Flight.objects.all())] == [3, 2, 1]


def test_it_refuses_a_subclass_without_a_whitelist() -> None:
    with pytest.raises(TypeError, match="Literal"):
        type("Anything", (Sorting,), {"__annotations__": {"sort_by": str}, "__module__": __name__})


def test_it_refuses_paths_that_cannot_be_asked_for() -> None:
    with pytest.raises(TypeError, match="secret"):

        class Wrong(Sorting):
            sort_by: Literal["scheduled"] = "scheduled"
            paths: ClassVar = {"secret": "password"}


@pytest.mark.urls("tests.api.views")
@pytest.mark.django_db
class TestOverHttp:
    @pytest.fixture(autouse=True)
    def groups(self) -> None:
        for index, group in enumerate(Group.objects.bulk_create(Group(name=name) for name in "abc")):
            group.user_set.add(*(User.objects.create(username=f"{group.name}{n}") for n in range(index % 2)))

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("", "cba"),
            ("?sort_order=asc", "abc"),
            ("?sort_by=members", "bca"),  # ties by primary key
            ("?sort_by=members&sort_order=asc", "acb"),
        ],
    )
    def test_it_sorts(self, client: Client, query: str, names: str) -> None:
        items = client.get(f"/api/sorted-groups{query}").json()["items"]
        assert "".join(item["name"] for item in items) == names

    @pytest.mark.parametrize(
        ("query", "allowed"),
        [("sort_by=id", "'name' or 'members'"), ("sort_order=random", "'asc' or 'desc'")],
    )
    def test_it_says_what_is_allowed(self, client: Client, query: str, allowed: str) -> None:
        response = client.get(f"/api/sorted-groups?{query}")
        assert response.status_code == 422
        (problem,) = response.json()["detail"]
        assert problem["loc"] == ["query", query.partition("=")[0]]
        assert allowed in problem["msg"]

    def test_its_paths_are_not_a_parameter(self, client: Client) -> None:
        response: Any = client.get("/api/sorted-groups?paths=x")
        assert response.status_code == 422
