"""A list of flights by cursor, which walks read to its ends."""

from __future__ import annotations

from typing import Final

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import path
from ninja import NinjaAPI, Query, Schema
from ninja.pagination import paginate

from perfkit.api import KeysetPagination, add_error_handlers, strict_query
from project.flights.api import FlightSorting
from project.flights.models import Flight

api = NinjaAPI(urls_namespace="walks")
add_error_handlers(api)


GUEST_YEAR: Final = 2113
"""Of flights that a writer inserts among the others, and deletes again."""


class FlightKey(Schema):
    """As little of a flight as tells it from others."""

    id: int


@api.get("flights", response=list[FlightKey])
@strict_query
@paginate(KeysetPagination)
def flights(request: HttpRequest, sorting: Query[FlightSorting], until: int = 0) -> QuerySet[Flight]:
    """List the flights up to a key, for walks over fewer, and those that come and go; or all."""
    some = Flight.objects.filter(Q(pk__lte=until) | Q(year=GUEST_YEAR))
    return sorting.apply(some if until else Flight.objects.all())


urlpatterns = [path("walks/", api.urls)]
