from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin

from perfkit.admin.shown_relations import shown_relations
from perfkit.errors import RelationPathError
from perfkit.loading import RelatedRows, needs
from project.flights.models import Flight
from tests.testapp.large import Tome

MARGINALS = RelatedRows("marginals", limit=2, to_attr="latest")


@needs("rack__label", "previous")
def by_function(tome: Tome) -> str:
    return f"{tome.rack} {tome.previous}"


class Shown(admin.ModelAdmin):
    @admin.display(ordering="rack")
    @needs("previous__rack__hall__name")
    def by_method(self, tome: Tome) -> str:
        return ""

    @needs("title")
    def of_column(self, tome: Tome) -> str:
        return ""

    @needs(MARGINALS)
    def of_rows(self, tome: Tome) -> str:
        return ""

    @needs("previous__previous__latest_marginals")
    def of_property(self, tome: Tome) -> str:
        return ""

    def undeclared(self, tome: Tome) -> str:
        return ""

    @needs("rac__label")
    def wrong(self, tome: Tome) -> str:
        return ""


def paths(*list_display: Any, model: Any = Tome) -> list[Any]:
    return shown_relations(Shown(model, admin.site), list_display)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("title", []),
        ("__str__", []),
        ("pk", []),
        ("rack_id", []),
        ("annotated", []),
        ("rack", ["rack", "rack__hall"]),  # its __str__ says that it needs the hall
        ("previous", ["previous"]),
        ("rack__label", ["rack"]),
        ("previous__rack", ["previous__rack", "previous__rack__hall"]),
        ("previous__rack__hall__name", ["previous__rack__hall"]),
        (by_function, ["rack", "previous"]),
        ("by_method", ["previous__rack__hall"]),
        ("of_column", []),
        ("of_rows", [MARGINALS]),
        ("undeclared", []),
        (lambda tome: "", []),
    ],
)
def test_it_knows_what_a_column_reads(column: Any, expected: list[Any]) -> None:
    assert paths(column) == expected


def test_it_names_each_relation_once() -> None:
    assert paths("rack", "rack__label", by_function) == ["rack", "rack__hall", "previous"]


def test_it_follows_what_a_property_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    @property
    @needs("rack__hall", RelatedRows("marginals", order_by="text"))
    def latest_marginals(self: Tome) -> str:
        return ""

    monkeypatch.setattr(Tome, "latest_marginals", latest_marginals, raising=False)
    assert paths("latest_marginals") == ["rack__hall", RelatedRows("marginals", order_by="text")]
    assert paths("of_property") == [
        "previous__previous",
        "previous__previous__rack__hall",
        RelatedRows("previous__previous__marginals", order_by="text"),
    ]


def test_it_follows_what_needs_itself_once(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = property(needs("previous__endless")(lambda self: ""))
    monkeypatch.setattr(Tome, "endless", endless, raising=False)
    assert paths("endless") == ["previous"]


def test_it_refuses_what_is_not_there() -> None:
    with pytest.raises(
        RelationPathError, match=r"has no relation 'rac' \(in the path 'rac__label'\).*'rack'"
    ):
        paths("wrong")


def test_it_looks_a_name_up_as_django_does() -> None:
    class Named(Shown):
        @needs("previous")
        def rack(self, tome: Tome) -> str:
            return ""

    assert shown_relations(Named(Tome, admin.site), ["rack"]) == ["rack", "rack__hall"]


def test_it_reads_nothing_where_a_text_needs_no_relation() -> None:
    assert paths("__str__", "time_hour", "airline", model=Flight) == ["airline"]
