"""The demo's endpoints for reading: flights, airlines and airports."""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar, Literal
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from ninja import Field, FilterLookup, Path, Query, Router
from ninja.decorators import decorate_view
from ninja.pagination import paginate

from perfkit.api import (
    Filters,
    FromDay,
    In,
    KeysetPagination,
    PagePagination,
    Search,
    Sorting,
    ToDay,
    compiled,
    link_headers,
    partial_response,
    strict_query,
)
from project.flights.kept_answers import DETAIL_SECONDS, LIST_SECONDS, STATISTICS_SECONDS, kept
from project.flights.models import Airline, Airport, Flight
from project.flights.schemas import (
    AirlineOut,
    AirportOut,
    AirportStatisticsOut,
    ErrorOut,
    FlightDetail,
    FlightOut,
    TrafficOut,
)
from project.flights.statistics import (
    AirportStatistics,
    Traffic,
    airline_statistics,
    airport_statistics,
    counted_airports,
    traffic,
)

router = Router()

NEW_YORK = ZoneInfo("America/New_York")

AirlineCode = Annotated[str, Field(pattern=r"^[A-Z0-9]{2}$", description="Two-letter code, such as `UA`.")]
AirportCode = Annotated[str, Field(pattern=r"^[A-Z0-9]{3}$", description="FAA code, such as `JFK`.")]
Day = Annotated[date, Field(ge=date(1900, 1, 1), le=date(2100, 12, 31))]


class FlightFilters(Filters, model=Flight):
    """Which flights; all that are given must hold."""

    airline: Annotated[
        list[AirlineCode] | None, In("airline_id"), Field(description="Two-letter codes, comma-separated.")
    ] = None
    origin: Annotated[AirportCode | None, FilterLookup("origin_id")] = None
    destination: Annotated[AirportCode | None, FilterLookup("dest_code")] = None
    date_from: Annotated[
        Day | None, FromDay("time_hour", NEW_YORK), Field(description="First day, New York time.")
    ] = None
    date_to: Annotated[
        Day | None, ToDay("time_hour", NEW_YORK), Field(description="Last day, New York time.")
    ] = None
    min_delay: Annotated[int | None, FilterLookup("dep_delay__gte"), Field(description="Minutes.")] = None
    max_delay: Annotated[int | None, FilterLookup("dep_delay__lte"), Field(description="Minutes.")] = None
    cancelled: Annotated[bool | None, FilterLookup("dep_time__isnull")] = None


class FlightSorting(Sorting, model=Flight, unindexed="refuse"):
    """How flights can be sorted: by what an index serves, since anybody may ask."""

    sort_by: list[Literal["time_hour", "dep_delay", "airline", "number"]] = Field(
        ["time_hour"],
        description="Comma-separated, with `-` for descending; of one without it `sort_order` says the direction.",
    )
    paths: ClassVar = {"airline": "airline_id"}


class AirportFilters(Filters, model=Airport):
    """Which airports."""

    search: Annotated[str | None, Search("name"), Field(description="A part of the name.")] = None


@router.get("flights", response=list[FlightOut], auth=None, url_name="flights", tags=["flights"])
@kept(LIST_SECONDS)
@strict_query
@partial_response
@paginate(PagePagination)
def list_flights(
    request: HttpRequest, filters: Query[FlightFilters], sorting: Query[FlightSorting]
) -> QuerySet[Flight]:
    """List flights by page, with airline, plane and airports, and how many there are."""
    return sorting.apply(filters.filter(Flight.objects.all()))


@router.get("flights/walk", response=list[FlightOut], auth=None, url_name="flights-walk", tags=["flights"])
@kept(LIST_SECONDS)
@decorate_view(link_headers)
@strict_query
@partial_response
@paginate(KeysetPagination)
def walk_flights(
    request: HttpRequest, filters: Query[FlightFilters], sorting: Query[FlightSorting]
) -> QuerySet[Flight]:
    """List flights by cursor: the last page costs what the first does. The `Link` header leads on."""
    return sorting.apply(filters.filter(Flight.objects.all()))


@router.get("flights/stats", response=TrafficOut, auth=None, url_name="flight-stats", tags=["flights"])
@kept(STATISTICS_SECONDS)
@strict_query
def get_flight_statistics(request: HttpRequest, filters: Query[FlightFilters]) -> Traffic:
    """Return how punctual flights left New York: all of the year, or those that the filters find."""
    return traffic(filters.filter(Flight.objects.all()), delay="dep_delay")


@router.get(
    "flights/{flight_id}",
    response={200: FlightDetail, 404: ErrorOut},
    auth=None,
    url_name="flight",
    tags=["flights"],
)
@kept(DETAIL_SECONDS)
@strict_query
@partial_response
@compiled
def get_flight(request: HttpRequest, flight_id: int) -> QuerySet[Flight]:
    """Return one flight with its reports and their authors."""
    return Flight.objects.filter(pk=flight_id)


@router.get("airports", response=list[AirportOut], auth=None, url_name="airports", tags=["airports"])
@kept(LIST_SECONDS)
@strict_query
@partial_response
@paginate(PagePagination)
def list_airports(request: HttpRequest, filters: Query[AirportFilters]) -> QuerySet[Airport]:
    """List airports by page, by code, with how many flights left them and went to them."""
    return filters.filter(counted_airports())


@router.get(
    "airports/{code}",
    response={200: AirportOut, 404: ErrorOut},
    auth=None,
    url_name="airport",
    tags=["airports"],
)
@kept(DETAIL_SECONDS)
@strict_query
@partial_response
@compiled
def get_airport(request: HttpRequest, code: Path[AirportCode]) -> QuerySet[Airport]:
    """Return one airport, with how many flights left it and went to it."""
    return counted_airports().filter(pk=code)


@router.get(
    "airports/{code}/stats",
    response={200: AirportStatisticsOut, 404: ErrorOut},
    auth=None,
    url_name="airport-stats",
    tags=["airports"],
)
@kept(STATISTICS_SECONDS)
@strict_query
def get_airport_statistics(request: HttpRequest, code: Path[AirportCode]) -> AirportStatistics:
    """Return how punctual an airport was in the year, out of New York."""
    try:
        return airport_statistics(Airport.objects.get(pk=code).pk)
    except Airport.DoesNotExist as error:
        raise Http404(f"No airport has the code {code}.") from error


@router.get("airlines", response=list[AirlineOut], auth=None, url_name="airlines", tags=["airlines"])
@kept(LIST_SECONDS)
@strict_query
@partial_response
@compiled
def list_airlines(request: HttpRequest) -> QuerySet[Airline]:
    """List all airlines, by code."""
    return Airline.objects.uncached().order_by("code")


@router.get(
    "airlines/{code}",
    response={200: AirlineOut, 404: ErrorOut},
    auth=None,
    url_name="airline",
    tags=["airlines"],
)
@kept(DETAIL_SECONDS)
@strict_query
@partial_response
@compiled
def get_airline(request: HttpRequest, code: Path[AirlineCode]) -> QuerySet[Airline]:
    """Return one airline."""
    return Airline.objects.uncached().filter(pk=code)


@router.get(
    "airlines/{code}/stats",
    response={200: TrafficOut, 404: ErrorOut},
    auth=None,
    url_name="airline-stats",
    tags=["airlines"],
)
@kept(STATISTICS_SECONDS)
@strict_query
def get_airline_statistics(request: HttpRequest, code: Path[AirlineCode]) -> Traffic:
    """Return how punctual an airline left New York in the year."""
    try:
        return airline_statistics(Airline.objects.get(pk=code).pk)
    except Airline.DoesNotExist as error:
        raise Http404(f"No airline has the code {code}.") from error
