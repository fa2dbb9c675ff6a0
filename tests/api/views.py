"""An API of views as a project would write them, for the tests of the room."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, ClassVar, Literal

from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import path
from ninja import Field, FilterLookup, NinjaAPI, Query, Schema
from ninja.decorators import decorate_view
from ninja.pagination import paginate as paginated

from perfkit.api import (
    Filters,
    FromDay,
    In,
    KeysetPagination,
    PagePagination,
    Search,
    Sorting,
    add_error_handlers,
    link_headers,
    paginate,
    strict_query,
)
from perfkit.errors import PageError, TaskStatusUnavailableError
from project.flights.models import Flight, StatusReport

api = NinjaAPI(urls_namespace="tests-api")
add_error_handlers(api)


class GroupOut(Schema):
    id: int
    name: str


class GroupSorting(Sorting):
    sort_by: Literal["name", "members"] = "name"
    paths: ClassVar = {"members": "member_count"}


@api.get("groups", response=list[GroupOut])
@strict_query
@paginated(PagePagination)
def groups(request: HttpRequest, name: str = "") -> QuerySet[Group]:
    return Group.objects.filter(name__startswith=name)


@api.get("async-groups", response=list[GroupOut])
@strict_query
@paginated(PagePagination)
async def async_groups(request: HttpRequest, name: str = "") -> QuerySet[Group]:
    return Group.objects.filter(name__startswith=name)


@api.get("capped-groups", response=list[GroupOut])
@paginated(PagePagination, count="capped")
def capped_groups(request: HttpRequest) -> QuerySet[Group]:
    return Group.objects.order_by("name")


@api.get("async-capped-groups", response=list[GroupOut])
@paginated(PagePagination, count="capped")
async def async_capped_groups(request: HttpRequest) -> QuerySet[Group]:
    return Group.objects.order_by("name")


@api.get("keyset-groups", response=list[GroupOut])
@decorate_view(link_headers)
@strict_query
@paginated(KeysetPagination)
def keyset_groups(request: HttpRequest, name: str = "", order: str = "name") -> QuerySet[Group]:
    return Group.objects.filter(name__startswith=name).order_by(order)


@api.get("async-keyset-groups", response=list[GroupOut])
@decorate_view(link_headers)
@strict_query
@paginated(KeysetPagination)
async def async_keyset_groups(request: HttpRequest, name: str = "", order: str = "name") -> QuerySet[Group]:
    return Group.objects.filter(name__startswith=name).order_by(order)


@api.get("sorted-groups", response=list[GroupOut])
@strict_query
@paginated(PagePagination)
def sorted_groups(request: HttpRequest, sorting: Query[GroupSorting]) -> QuerySet[Group]:
    return sorting.apply(Group.objects.annotate(member_count=Count("user")))


class FlightOut(Schema):
    number: int


class FoundFlights(Filters, model=Flight, unindexed="allow"):
    airline: Annotated[list[str] | None, In("airline_id")] = None
    number: Annotated[list[int] | None, In("number", most=5)] = None
    cancelled: Annotated[bool | None, FilterLookup("dep_time__isnull")] = None
    min_delay: Annotated[int | None, FilterLookup("dep_delay__gte"), Field(ge=0, description="Minutes.")] = (
        None
    )
    max_delay: Annotated[int | None, FilterLookup("dep_delay__lte")] = None
    date_from: Annotated[dt.date | None, FromDay("time_hour")] = None
    to: Annotated[str | None, Search("destination__name")] = None
    kind: StatusReport.Kind | None = None

    def filter_kind(self, kind: StatusReport.Kind | None) -> Q:
        return Q(pk__in=StatusReport.objects.filter(kind=kind).values("flight"))


class SeveralKeys(Sorting, model=Flight, unindexed="refuse"):
    sort_by: list[Literal["scheduled", "airline", "delay", "number"]] = ["scheduled"]
    paths: ClassVar = {"scheduled": "time_hour", "airline": "airline_id", "delay": "dep_delay"}


@api.get("found-flights", response=list[FlightOut])
@strict_query
@paginated(PagePagination)
def found_flights(request: HttpRequest, filters: Query[FoundFlights]) -> QuerySet[Flight]:
    return filters.filter(Flight.objects.all())


@api.get("async-found-flights", response=list[FlightOut])
@strict_query
@paginated(PagePagination)
async def async_found_flights(request: HttpRequest, filters: Query[FoundFlights]) -> QuerySet[Flight]:
    return filters.filter(Flight.objects.all())


@api.get("sorted-flights", response=list[FlightOut])
@strict_query
@paginated(PagePagination)
def sorted_flights(request: HttpRequest, sorting: Query[SeveralKeys]) -> QuerySet[Flight]:
    return sorting.apply(Flight.objects.all())


@api.get("async-sorted-flights", response=list[FlightOut])
@strict_query
@paginated(KeysetPagination)
async def async_sorted_flights(request: HttpRequest, sorting: Query[SeveralKeys]) -> QuerySet[Flight]:
    return sorting.apply(Flight.objects.all())


@api.get("numbers", response=list[int])
@strict_query
@paginated(PagePagination)
def numbers(request: HttpRequest) -> list[int]:
    return list(range(1, 46))


@api.get("nothing", response=str)
@strict_query
def nothing(request: HttpRequest) -> str:
    return "nothing"


@api.get("by-hand", response=list[str])
def by_hand(request: HttpRequest, page: int) -> list[str]:
    return paginate(Permission.objects.values_list("codename", flat=True), page).items


@api.get("unavailable")
def unavailable(request: HttpRequest) -> Any:
    raise TaskStatusUnavailableError("4", "the secret address does not answer")


@api.get("asks-nonsense")
def asks_nonsense(request: HttpRequest) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(77)" if request.GET.get("lock") else "SELEC 1")
    return "never"


@api.get("page-error")
def page_error(request: HttpRequest) -> Any:
    raise PageError("page", 0, "is not between 1 and 2.")


urlpatterns = [path("api/", api.urls)]
