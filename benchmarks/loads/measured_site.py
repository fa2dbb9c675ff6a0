"""The site of room monitoring: a page that sends twenty queries."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path

from project.flights.models import Airline, Airport, Flight, Plane, Weather

QUERIES: Final = 20
ROWS: Final = 20


class Site:
    """Whose database the page asks."""

    alias: str = "default"


def querysets() -> list[QuerySet[Any]]:
    """Return lists of rows, each in the order of another column."""
    return [
        QuerySet(model).filter(pk__isnull=False).order_by(field.name)[:ROWS]
        for model in (Airline, Airport, Plane, Flight, Weather)
        for field in model._meta.concrete_fields
    ][:QUERIES]


LISTS: Final = querysets()


def page(_: HttpRequest) -> HttpResponse:
    """Read all the lists."""
    for queryset in LISTS:
        list(queryset.using(Site.alias))
    return HttpResponse("read")


def numbered(_: HttpRequest, number: int) -> HttpResponse:
    """Answer at an address of its own, without a query."""
    return HttpResponse(str(number))


urlpatterns = [path("lists/", page), path("numbers/<int:number>/", numbered)]
