from __future__ import annotations

import logging
from functools import cmp_to_key
from typing import Any, ClassVar, Literal

import pytest
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client, override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from perfkit.api import Sorting
from perfkit.api.sorting import ordering
from perfkit.errors import ListDeclarationError
from perfkit.paging.columns import is_nullable
from perfkit.paging.ordering import total_order
from project.flights.models import Flight, StatusReport
from tests.api.views import SeveralKeys, api
from tests.flights.factories import make_flights
from tests.testapp.models import Everything, Indexed


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
    for annotation in (str, list[str], list):
        with pytest.raises(TypeError, match="Literal"):
            type("Anything", (Sorting,), {"__annotations__": {"sort_by": annotation}, "__module__": __name__})


def test_it_refuses_paths_that_cannot_be_asked_for() -> None:
    with pytest.raises(TypeError, match="secret"):

        class Wrong(Sorting):
            sort_by: Literal["scheduled"] = "scheduled"
            paths: ClassVar = {"secret": "password"}


@pytest.mark.parametrize("default", [["c"], ["a", "-c"], ["a", "-a"], []])
def test_it_refuses_a_default_that_it_does_not_allow(default: list[str]) -> None:
    with pytest.raises(ListDeclarationError, match="default"):

        class Wrong(Sorting):
            sort_by: list[Literal["a", "b"]] = default


class EverythingSorting(Sorting):
    sort_by: list[Literal["whole", "text", "flag", "country"]] = ["whole"]
    paths: ClassVar = {"country": "country_id"}


NAMES = ["whole", "text", "flag", "country"]
keys = st.lists(
    st.tuples(st.sampled_from(NAMES), st.booleans()), min_size=1, max_size=4, unique_by=lambda key: key[0]
)


def as_query(keys: list[tuple[str, bool]], *, repeated: bool) -> dict[str, Any]:
    signed = [f"-{name}" if descending else name for name, descending in keys]
    if len(keys) == 1 and not keys[0][1]:
        return {"sort_by": signed[0], "sort_order": "asc"}
    return {"sort_by": signed if repeated else ", ".join(signed)}


class TestSeveralKeys:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
    @given(keys, st.booleans(), st.data())
    def test_it_sorts_as_python_does(
        self, db: None, keys: list[tuple[str, bool]], repeated: bool, data: st.DataObject
    ) -> None:
        values = {
            "whole": [None, 1, 2],
            "text": [None, "a", "b"],
            "flag": [None, True, False],
            "country_id": [None],
        }
        Everything.objects.all().delete()
        rows = Everything.objects.bulk_create(
            Everything(**{name: data.draw(st.sampled_from(column)) for name, column in values.items()})
            for _ in range(12)
        )
        sorting = EverythingSorting(**as_query(keys, repeated=repeated))

        def compare(one: Everything, other: Everything) -> int:
            for name, descending in [*keys, ("id", keys[-1][1])]:
                first, second = (
                    getattr(row, EverythingSorting.paths.get(name, name)) for row in (one, other)
                )
                if first != second:
                    if first is None or second is None:
                        return 1 if first is None else -1
                    return (1 if first > second else -1) * (-1 if descending else 1)
            return 0

        assert sorting.sort_keys == tuple(keys)
        found = total_order(sorting.apply(Everything.objects.all()))
        assert [row.pk for row in found] == [row.pk for row in sorted(rows, key=cmp_to_key(compare))]

    @given(keys, st.booleans())
    def test_its_terms_are_those_of_the_order_that_was_asked_for(
        self, keys: list[tuple[str, bool]], repeated: bool
    ) -> None:
        terms = EverythingSorting(**as_query(keys, repeated=repeated)).terms(Everything)
        assert [(term.expression.name, term.descending, term.nulls_last) for term in terms] == [
            (EverythingSorting.paths.get(name, name), descending, True) for name, descending in keys
        ]

    @pytest.mark.parametrize(
        ("query", "keys"),
        [
            ({}, [("whole", True)]),
            ({"sort_order": "asc"}, [("whole", False)]),
            ({"sort_by": "text"}, [("text", True)]),
            ({"sort_by": "-text"}, [("text", True)]),
            ({"sort_by": "text,flag"}, [("text", False), ("flag", False)]),
            ({"sort_by": ["-text", "flag,-whole"]}, [("text", True), ("flag", False), ("whole", True)]),
        ],
    )
    def test_its_directions(self, query: dict[str, Any], keys: list[tuple[str, bool]]) -> None:
        assert EverythingSorting(**query).sort_keys == tuple(keys)

    @pytest.mark.parametrize(
        ("query", "field", "problem"),
        [
            (
                {"sort_by": "secret"},
                "sort_by",
                "'secret': Input should be 'whole', 'text', 'flag' or 'country'",
            ),
            ({"sort_by": "whole,"}, "sort_by", "'': Input should be 'whole'"),
            ({"sort_by": ""}, "sort_by", "Input should be"),
            ({"sort_by": "--whole"}, "sort_by", "'--whole': Input should be"),
            (
                {"sort_by": "whole,-whole"},
                "sort_by",
                "'whole' is given more than once. Allowed, each once: whole, text",
            ),
            ({"sort_by": "whole,text", "sort_order": "asc"}, "sort_order", "write -name for descending"),
            ({"sort_by": "-whole", "sort_order": "desc"}, "sort_order", "write -name for descending"),
            ({"sort_order": "up"}, "sort_order", "'asc' or 'desc'"),
        ],
    )
    def test_it_refuses_and_lists_what_is_allowed(
        self, query: dict[str, Any], field: str, problem: str
    ) -> None:
        with pytest.raises(ValidationError) as refused:
            EverythingSorting(**query)
        (error,) = refused.value.errors()
        assert error["loc"] == (field,)
        assert problem in error["msg"]


class TestUnindexed:
    @pytest.mark.parametrize(
        "query",
        [
            "",
            "sort_order=asc",
            "sort_by=delay",
            "sort_by=airline,-scheduled",
            "sort_by=-airline&sort_by=scheduled",
        ],
    )
    @pytest.mark.urls("tests.api.views")
    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("path", ["sorted-flights", "async-sorted-flights"])
    def test_it_takes_what_an_index_serves(self, client: Client, path: str, query: str) -> None:
        make_flights(3)
        response = client.get(f"/api/{path}?{query}")
        assert response.status_code == 200, response.content
        assert sorted(item["number"] for item in response.json()["items"]) == [1, 2, 3]

    @pytest.mark.urls("tests.api.views")
    @pytest.mark.parametrize("path", ["sorted-flights", "async-sorted-flights"])
    @pytest.mark.parametrize(
        ("query", "order"),
        [
            ("sort_by=number,airline", "sort_by=number,airline"),
            ("sort_by=delay&sort_order=asc", "sort_by=delay&sort_order=asc"),
            ("sort_by=airline,scheduled", "sort_by=airline,scheduled"),
            ("sort_by=scheduled,airline", "sort_by=scheduled,airline"),
        ],
    )
    def test_it_refuses_what_none_serves_and_lists_the_others(
        self, client: Client, path: str, query: str, order: str
    ) -> None:
        response = client.get(f"/api/{path}?{query}")
        assert response.status_code == 422
        (problem,) = response.json()["detail"]
        assert problem["loc"] == ["query", "sort_by"]
        said, _, allowed = problem["msg"].partition(". Allowed: ")
        assert said == f"No index sorts by {order}"
        assert set(allowed.split("; ")) == {
            "sort_by=scheduled&sort_order=asc",
            "sort_by=scheduled&sort_order=desc",
            "sort_by=airline&sort_order=asc",
            "sort_by=airline&sort_order=desc",
            "sort_by=airline,-scheduled",
            "sort_by=-airline,scheduled",
            "sort_by=airline,number",
            "sort_by=-airline,-number",
            "sort_by=delay&sort_order=desc",
            "sort_by=number&sort_order=asc",
            "sort_by=number&sort_order=desc",
        }

    def test_each_order_that_it_lists_it_takes(self) -> None:
        for order in SeveralKeys._orders():
            SeveralKeys(**dict(part.split("=") for part in order.split("&")))

    @override_settings(DEBUG=True)
    def test_it_tells_once_in_development_which_index_would_serve(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Told(Sorting):
            sort_by: list[Literal["made", "bare", "width"]] = ["made"]

        with caplog.at_level(logging.WARNING, "perfkit.api"):
            Told().apply(Indexed.objects.all())
            Told(sort_by="width", sort_order="asc").apply(Indexed.objects.all())
            assert caplog.messages == []
            for _ in range(2):
                Told(sort_by="-bare,made").apply(Indexed.objects.all())
                Told(sort_by="width").apply(Indexed.objects.all())
        several, single = caplog.messages
        assert several == (
            "Told: no index of testapp.Indexed sorts by sort_by=-bare,made. "
            'Declare models.Index(fields=["-bare", "made"], name=…).'
        )
        assert single == (
            "Told: no index of testapp.Indexed sorts by sort_by=width&sort_order=desc. "
            'Declare PortableIndex(F("width").desc(nulls_last=True), name=…).'
        )

    def test_it_tells_nothing_in_production_or_where_that_is_allowed(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Silent(Sorting, unindexed="allow"):
            sort_by: Literal["bare"] = "bare"

        Silent().apply(Indexed.objects.all())
        with override_settings(DEBUG=True):
            Silent().apply(Indexed.objects.all())
        assert caplog.messages == []

    def test_it_refuses_to_refuse_without_a_model(self) -> None:
        with pytest.raises(ListDeclarationError, match="needs model"):

            class Wrong(Sorting, unindexed="refuse"):
                sort_by: Literal["bare"] = "bare"

    def test_it_knows_which_names_no_index_serves(self) -> None:
        class Warned(Sorting, model=Indexed):
            sort_by: Literal["made", "bare", "width", "member"] = "made"
            paths: ClassVar = {"member": "member__surname"}

        assert [(each.name, each.what, each.advice) for each in Warned.unserved()] == [
            ("bare", "bare", 'Declare models.Index(fields=["bare"], name=…).'),
            ("width", "width descending", 'Declare PortableIndex(F("width").desc(nulls_last=True), name=…).'),
            ("member", "member__surname", ""),
        ]

        class Refused(Warned, unindexed="refuse"):
            pass

        assert [each.name for each in Refused.unserved()] == ["bare", "member"]

        class Allowed(Warned, unindexed="allow"):
            pass

        assert list(Allowed.unserved()) == []


@pytest.mark.urls("tests.api.views")
def test_openapi_shows_one_key_and_several() -> None:
    paths = api.get_openapi_schema()["paths"]
    shown = {
        path: {each["name"]: each["schema"] for each in paths[f"/api/{path}"]["get"]["parameters"]}
        for path in ("sorted-groups", "sorted-flights")
    }
    assert shown["sorted-groups"]["sort_by"] == {
        "title": "Sort By",
        "type": "string",
        "enum": ["name", "members"],
        "default": "name",
    }
    assert shown["sorted-flights"]["sort_by"] == {
        "title": "Sort By",
        "type": "array",
        "items": {
            "type": "string",
            "enum": [
                "scheduled",
                "airline",
                "delay",
                "number",
                "-scheduled",
                "-airline",
                "-delay",
                "-number",
            ],
        },
        "minItems": 1,
        "maxItems": 4,
        "uniqueItems": True,
        "default": ["scheduled"],
    }
    assert shown["sorted-flights"]["sort_order"]["enum"] == ["asc", "desc"]


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
