"""The demo's endpoints for reading: flights, airlines and airports."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, ClassVar, Literal
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Field, FilterLookup, Path, Query, Router, Schema
from ninja.decorators import decorate_view
from ninja.pagination import paginate
from pydantic import model_validator

from perfkit.api import Filters, FromDay, In, PagePagination, Search, Sorting, ToDay, strict_query
from perfkit.caching import cache_response
from perfkit.loading import eager, needs
from project.flights.models import Airline, Airport, Flight, StatusReport
from project.flights.statistics import AirportStatistics, Traffic, airline_statistics, airport_statistics

router = Router()

NEW_YORK = ZoneInfo("America/New_York")
RELATIONS = ("airline", "plane", "origin", "destination")

AirlineCode = Annotated[str, Field(pattern=r"^[A-Z0-9]{2}$", description="Two-letter code, such as `UA`.")]
AirportCode = Annotated[str, Field(pattern=r"^[A-Z0-9]{3}$", description="FAA code, such as `JFK`.")]
Day = Annotated[date, Field(ge=date(1900, 1, 1), le=date(2100, 12, 31))]
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]


class AirlineOut(Schema):
    """An airline."""

    code: str
    name: str


class AirportBrief(Schema):
    """An airport, as far as a list of flights names it."""

    code: str
    name: str


class AirportOut(AirportBrief):
    """An airport."""

    latitude: float
    longitude: float
    altitude: int
    utc_offset: int
    tzone: str


class TrafficOut(Schema):
    """Some flights of the year."""

    flights: int
    cancelled: int
    late: int = Field(description="More than a quarter of an hour.")
    mean_delay_minutes: float | None


class AirportStatisticsOut(Schema):
    """How punctual an airport was."""

    departures: TrafficOut
    arrivals: TrafficOut


class PlaneOut(Schema):
    """An aeroplane."""

    tailnum: str
    year: int | None
    manufacturer: str
    model: str
    seats: int


class FlightOut(Schema):
    """A flight and what it refers to; plane and destination are null where the reference tables lack them."""

    id: int
    airline: AirlineOut
    number: int
    origin: AirportBrief
    destination: AirportBrief | None
    dest_code: str
    plane: PlaneOut | None
    tailnum: str
    time_hour: datetime
    sched_dep_time: int
    dep_time: int | None
    dep_delay: int | None
    sched_arr_time: int
    arr_time: int | None
    arr_delay: int | None
    air_time: int | None
    distance: int


class ReportOut(Schema):
    """What a person reported."""

    id: int
    kind: StatusReport.Kind
    delay_minutes: int | None
    gate: str
    note: str
    author: str = Field(alias="author.username")
    created_at: datetime


class FlightDetail(FlightOut):
    """A flight with what people reported about it, newest first."""

    reports: list[ReportOut]

    @staticmethod
    @needs("reports")
    def resolve_reports(flight: Flight) -> list[StatusReport]:
        """Order the loaded reports, without another query."""
        return sorted(flight.reports.all(), key=lambda report: (report.created_at, report.pk), reverse=True)


class ErrorOut(Schema):
    """What went wrong."""

    detail: str


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


class ReportIn(Schema):
    """What a person reports: a delay says how long, a gate change which gate."""

    kind: StatusReport.Kind
    delay_minutes: Annotated[int, Field(ge=1, le=10_000)] | None = None
    gate: Annotated[Text, Field(max_length=8)] = ""
    note: Annotated[Text, Field(max_length=2_000)] = ""

    @model_validator(mode="after")
    def check_kind(self) -> ReportIn:
        """Refuse a delay without its minutes and a gate change without the gate."""
        if self.kind == StatusReport.Kind.DELAY and self.delay_minutes is None:
            raise ValueError("A delay needs delay_minutes.")
        if self.kind == StatusReport.Kind.GATE_CHANGE and not self.gate:
            raise ValueError("A gate change needs gate.")
        return self


@router.get("flights", response=list[FlightOut], auth=None, url_name="flights", tags=["flights"])
@strict_query
@paginate(PagePagination)
def list_flights(
    request: HttpRequest, filters: Query[FlightFilters], sorting: Query[FlightSorting]
) -> QuerySet[Flight]:
    """List flights by page, with airline, plane and airports."""
    return sorting.apply(filters.filter(eager(Flight.objects.all(), *RELATIONS)))


@router.get(
    "flights/{flight_id}",
    response={200: FlightDetail, 404: ErrorOut},
    auth=None,
    url_name="flight",
    tags=["flights"],
)
@strict_query
def get_flight(request: HttpRequest, flight_id: int) -> Flight:
    """Return one flight with its reports and their authors."""
    return get_object_or_404(eager(Flight.objects.all(), *RELATIONS, "reports__author"), pk=flight_id)


@router.get("airports", response=list[AirportOut], auth=None, url_name="airports", tags=["airports"])
@decorate_view(cache_response(ignores=["REMOTE_ADDR", "X-Forwarded-For"]))  # what the throttle looks at
@strict_query
@paginate(PagePagination)
def list_airports(request: HttpRequest, filters: Query[AirportFilters]) -> QuerySet[Airport]:
    """List airports by page, by code."""
    return filters.filter(Airport.objects.order_by("code"))


@router.get(
    "airports/{code}",
    response={200: AirportOut, 404: ErrorOut},
    auth=None,
    url_name="airport",
    tags=["airports"],
)
@strict_query
def get_airport(request: HttpRequest, code: Path[AirportCode]) -> Airport:
    """Return one airport."""
    return _airport(code)


@router.get(
    "airports/{code}/stats",
    response={200: AirportStatisticsOut, 404: ErrorOut},
    auth=None,
    url_name="airport-stats",
    tags=["airports"],
)
@strict_query
def get_airport_statistics(request: HttpRequest, code: Path[AirportCode]) -> AirportStatistics:
    """Return how punctual an airport was in the year, out of New York."""
    return airport_statistics(_airport(code).pk)


@router.get(
    "airlines/{code}/stats",
    response={200: TrafficOut, 404: ErrorOut},
    auth=None,
    url_name="airline-stats",
    tags=["airlines"],
)
@strict_query
def get_airline_statistics(request: HttpRequest, code: Path[AirlineCode]) -> Traffic:
    """Return how punctual an airline left New York in the year."""
    try:
        return airline_statistics(Airline.objects.get(pk=code).pk)
    except Airline.DoesNotExist as error:
        raise Http404(f"No airline has the code {code}.") from error


def _airport(code: str) -> Airport:
    try:
        return Airport.objects.get(pk=code)
    except Airport.DoesNotExist as error:
        raise Http404(f"No airport has the code {code}.") from error
