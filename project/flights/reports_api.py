"""What people write to the demo: reports about flights, read and written, and the log of who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, cast

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Body, Field, FilterLookup, Query, Router, Schema, Status
from ninja.decorators import decorate_view
from ninja.pagination import paginate
from ninja.security import django_auth, django_auth_is_staff

from perfkit.api import (
    Filters,
    KeysetPagination,
    PagePagination,
    after_response,
    bulk_body,
    bulk_create,
    idempotent,
    link_headers,
    partial_response,
    strict_query,
)
from perfkit.loading import eager
from project.flights.activity import log_activity
from project.flights.kept_answers import LIST_SECONDS, kept
from project.flights.models import ActivityLog, Flight, StatusReport
from project.flights.schemas import ErrorOut, FlightReportOut, ReportIn, ReportOut
from project.flights.tokens import TokenAuth

MOST_REPORTS = 1_000
MOST_BYTES = 1_000_000

# The token first: a session's cookie without its CSRF token is a 403 at once.
router = Router(auth=[TokenAuth(), django_auth])


class ReportRow(ReportIn):
    """A report, with the flight that it is about."""

    flight_id: int


class ReportFilters(Filters, model=StatusReport):
    """Which reports; all that are given must hold."""

    flight: Annotated[int | None, FilterLookup("flight_id")] = None
    kind: Annotated[StatusReport.Kind | None, FilterLookup("kind")] = None


class CreatedOut(Schema):
    """What was written of a list."""

    created: int
    ids: list[int]


class ActivityOut(Schema):
    """One thing that somebody did."""

    id: int
    user: str | None = Field(None, alias="user.username")
    action: str
    detail: dict[str, Any]
    created_at: datetime


@router.get("reports", response=list[FlightReportOut], auth=None, url_name="reports", tags=["reports"])
@kept(LIST_SECONDS)
@decorate_view(link_headers)
@strict_query
@partial_response
@paginate(KeysetPagination)
def list_reports(request: HttpRequest, filters: Query[ReportFilters]) -> QuerySet[StatusReport]:
    """List what people reported, by cursor, the latest first."""
    return filters.filter(StatusReport.objects.order_by("-created_at", "-pk"))


@router.post(
    "flights/{flight_id}/reports",
    response={201: ReportOut, 401: ErrorOut, 403: ErrorOut, 404: ErrorOut},
    url_name="flight-reports",
    tags=["reports"],
)
@strict_query
@idempotent
def report_status(request: HttpRequest, flight_id: int, report: ReportIn) -> Status[StatusReport]:
    """Report a delay, a gate change or a cancellation, as the user of the token or the session."""
    flight = get_object_or_404(Flight.objects.only("pk"), pk=flight_id)
    author = cast("User", request.user)
    created = StatusReport.objects.create(flight=flight, author=author, **report.model_dump())
    after_response(log_activity, author.pk, "report", flight=flight_id, report=created.pk)
    return Status(201, created)


@router.post(
    "flights/reports/bulk",
    response={201: CreatedOut, 401: ErrorOut, 403: ErrorOut, 411: ErrorOut, 413: ErrorOut},
    url_name="reports-bulk",
    tags=["reports"],
)
@strict_query
@bulk_body(max_bytes=MOST_BYTES)
@idempotent
def report_many(
    request: HttpRequest, reports: Annotated[list[ReportRow], Body(min_length=1, max_length=MOST_REPORTS)]
) -> Status[CreatedOut]:
    """Report about many flights at once, all of it or, where one report cannot be written, nothing.

    A 422 names each report that is wrong by its place, from 0, and the field.
    """
    author = cast("User", request.user)
    rows = [{**report.model_dump(), "author_id": author.pk} for report in reports]
    result = bulk_create(StatusReport, rows, return_ids=True)
    after_response(log_activity, author.pk, "report_many", reports=result.rows)
    return Status(201, CreatedOut(created=result.rows, ids=result.ids or []))


@router.get(
    "activity",
    response=list[ActivityOut],
    auth=[django_auth_is_staff],
    url_name="activity",
    tags=["activity"],
)
@strict_query
@paginate(PagePagination, count="cached")
def list_activity(request: HttpRequest) -> QuerySet[ActivityLog]:
    """List who did what, the latest first; for staff."""
    return eager(ActivityLog.objects.order_by("-created_at", "-pk"), "user")
