"""The demo's endpoints for texts about delays: a job asks a model, or a stream shows what it writes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from ninja import Field, Path, Router, Schema, Status
from ninja.errors import HttpError
from ninja.security import django_auth

from perfkit.api import strict_query
from perfkit.errors import UnknownJobError
from perfkit.jobs import JobStatus, job_status
from perfkit.models import JobState
from project.flights.api import AirportCode
from project.flights.description_events import aevents, events
from project.flights.descriptions import ASKED, Figures, digest_of, figures_of, has_flights, messages_for
from project.flights.jobs import describe_delays
from project.flights.models import Airport
from project.flights.schemas import ErrorOut, TrafficOut
from project.flights.tokens import TokenAuth
from project.model_server import model_name, models

EVENT_STREAM = "text/event-stream"

# A model costs money: not for everybody.
router = Router(auth=[TokenAuth(), django_auth], tags=["descriptions"])


class DelaysOut(Schema):
    """What a description was made from."""

    airport: str
    name: str
    departures: TrafficOut
    arrivals: TrafficOut


class DescriptionOut(Schema):
    """A text about an airport's delays."""

    airport: str
    text: str
    is_from_model: bool = Field(description="False where the site has no model; the text says so, too.")
    is_complete: bool = Field(description="False where it was cut for its length.")
    model: str
    figures: DelaysOut


class AskedOut(Schema):
    """A description that is being made, or was."""

    id: UUID
    state: str
    status: str = Field(description="Where staff see how it stands, with its progress.")
    answer: str = Field(description="Where the description is, once it is made.")


@router.post(
    "airports/{code}/descriptions",
    response={202: AskedOut, 401: ErrorOut, 403: ErrorOut, 404: ErrorOut},
    url_name="airport-descriptions",
)
@strict_query
def ask_for_description(request: HttpRequest, code: Path[AirportCode]) -> Status[AskedOut]:
    """Have a model describe an airport's delays; while its flights stay the same, it is one description."""
    figures = _figures(code)
    return Status(202, _asked(describe_delays.enqueue(code, digest_of(figures))))


@router.get(
    "descriptions/{description_id}",
    response={200: DescriptionOut, 202: AskedOut, 401: ErrorOut, 404: ErrorOut, 410: ErrorOut},
    url_name="description",
)
@strict_query
def get_description(request: HttpRequest, response: HttpResponse, description_id: UUID) -> Status[Any]:
    """Return a description; a 202 while it is being made, and a 410 where that has failed."""
    response["Cache-Control"] = "no-store"
    try:
        found = job_status(description_id)
    except UnknownJobError as error:
        raise HttpError(404, "There is no such description.") from error
    if found.name != describe_delays.name:
        raise HttpError(404, "There is no such description.")
    if found.state == JobState.DONE:
        return Status(200, found.result)
    if found.is_ended:
        raise HttpError(410, "It could not be made: ask for another one.")
    response["Retry-After"] = "1"
    return Status(202, _asked(found))


@router.get(
    "airports/{code}/descriptions/events",
    response={401: ErrorOut, 404: ErrorOut},
    url_name="airport-description-events",
    openapi_extra={
        "responses": {
            200: {
                "description": "Events `piece` with a `text`; at last `end` with the description, or `failed`.",
                "content": {EVENT_STREAM: {"schema": {"type": "string"}}},
            }
        }
    },
)
@strict_query
def stream_description(request: HttpRequest, code: Path[AirportCode]) -> StreamingHttpResponse:
    """Describe an airport's delays piece by piece, as the model writes; at once where the answer is kept."""
    figures = _figures(code)
    parts: Any
    if isinstance(request, ASGIRequest):
        parts = aevents(models().astream(messages_for(figures), model=model_name(), **ASKED), figures)
    else:
        parts = events(models().stream(messages_for(figures), model=model_name(), **ASKED), figures)
    # nginx would gather the parts.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(parts, content_type=EVENT_STREAM, headers=headers)


def _figures(code: str) -> Figures:
    try:
        figures = figures_of(Airport.objects.get(pk=code))
    except Airport.DoesNotExist as error:
        raise HttpError(404, f"No airport has the code {code}.") from error
    if not has_flights(figures):
        raise HttpError(404, f"No flight left {code} or went to it.")
    return figures


def _asked(job: JobStatus) -> AskedOut:
    return AskedOut(
        id=job.id,
        state=job.state,
        status=reverse("api:task-status", args=[job.id]),
        answer=reverse("api:description", args=[job.id]),
    )
