"""What the demo's API answers and is told: its schemas."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from ninja import Field, Schema
from pydantic import model_validator

from perfkit.loading import RelatedRows
from project.flights.models import StatusReport

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
    departure_count: int = Field(description="Flights of the year that left it.")
    arrival_count: int = Field(description="Flights of the year that went to it.")


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


class FlightReportOut(ReportOut):
    """A report in a list of those about all flights."""

    flight_id: int


class FlightDetail(FlightOut):
    """A flight with what people reported about it, newest first."""

    reports: Annotated[list[ReportOut], RelatedRows("reports", order_by=("-created_at", "-id"))]


class ErrorOut(Schema):
    """What went wrong."""

    detail: str


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
