"""How fast the project is, over HTTP: `monitoring_router`."""

from __future__ import annotations

from typing import Any, Final, Literal

from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import Field, Router, Schema
from ninja.errors import HttpError
from ninja.security import SessionAuth

from perfkit.monitoring.plain import as_dict
from perfkit.monitoring.summary import read_summary

FORBIDDEN: Final = 403


PERMISSION: Final = "perfkit.view_monitoring"
"""That of the admin's pages, too."""


class StaffAuth(SessionAuth):
    """Staff who may see the admin's pages of the same; a 401 for who is not logged in, a 403 for all others."""

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        """Return the user."""
        user = super().authenticate(request, key)
        if user is not None and not (getattr(user, "is_staff", False) and user.has_perm(PERMISSION)):
            raise HttpError(FORBIDDEN, f"Only staff with the permission {PERMISSION} may read this.")
        return user


class TimingOut(Schema):
    """How often something ran, and how long; seconds are null where it never ran."""

    count: int
    total_seconds: float
    mean_seconds: float | None
    p50_seconds: float | None = Field(description="Half of all took no longer; as all quantiles within 2 %.")
    p95_seconds: float | None
    p99_seconds: float | None


class RequestsOut(TimingOut):
    """Requests: errors, and what they asked of the database."""

    failed: int = Field(description="Answers with a status from 500 on.")
    refused: int = Field(description="Answers with a status from 400 to 499.")
    failed_share: float | None
    queries: int
    queries_each: float | None
    database_seconds: float
    database_share: float | None = Field(description="Share of the time that was spent in the database.")


class AllRequestsOut(RequestsOut):
    """All requests together."""

    per_second: float


class ViewOut(RequestsOut):
    """Requests of one view by one method."""

    method: str
    view: str = Field(description="The pattern of the address.")


class QueriesOut(TimingOut):
    """Statements."""

    slow: int = Field(description="Those that took as long as QUERY_SLOW_THRESHOLD.")
    slow_share: float | None
    failed: int


class VerbOut(QueriesOut):
    """Statements of one verb on one database."""

    alias: str
    verb: str


class StatementOut(QueriesOut):
    """One statement, and where it was seen first."""

    fingerprint: str
    alias: str
    text: str | None = Field(description="SQL without its values.")
    line: str | None
    view: str | None


class ReadsOut(Schema):
    """Cached reads."""

    hits: int
    misses: int
    hit_rate: float | None
    bypassed: int
    bypasses: dict[str, int] = Field(description="Reads that went past the cache, by the reason.")


class LabelOut(ReadsOut):
    """Cached reads of one model or function."""

    label: str


class TaskOut(TimingOut):
    """Runs of one task or job on one queue."""

    name: str
    queue: str
    outcomes: dict[str, int]
    retries: int


class WaitOut(TimingOut):
    """How long tasks waited in one queue."""

    queue: str


class TimedOut(TimingOut):
    """What `timed` measured under one name."""

    name: str
    failed: int


class ModelOut(TimingOut):
    """Requests to one language model."""

    name: str
    tokens: int


class LoopOut(Schema):
    """A loop of queries, and what to write instead."""

    kind: str
    name: str
    found: int
    queries: int
    lines: list[str]
    statement: str | None
    fix: str | None


class LimitOut(Schema):
    """Requests that a rate limit looked at."""

    rule: str
    outcome: str
    requests: int


class PoolUseOut(Schema):
    """A pool of connections, over all processes."""

    alias: str
    share: float | None = Field(description="Of the connections that it may have, those in use, on average.")
    in_use: int
    most: int
    waiting: int


class ConnectedOut(Schema):
    """Connections to a database that all processes have open, those of pools among them."""

    alias: str
    active: int = Field(description="With a statement under way.")
    in_transaction: int = Field(description="In a transaction, without one.")
    idle: int


class ProcessOut(Schema):
    """A process that measures."""

    role: str
    host: str
    pid: int
    begun: float
    moment: float
    active: int
    memory_bytes: int
    lost: int


class PointOut(Schema):
    """What happened in one stretch of time."""

    moment: float
    seconds: float
    requests: RequestsOut
    queries: QueriesOut
    cache: ReadsOut


class AlertOut(Schema):
    """What is worse than it should be."""

    name: str
    text: str
    advice: str


class SummaryOut(Schema):
    """What all processes measured in a stretch of time that ends now."""

    range: str
    since: str
    seconds: float
    is_shared: bool = Field(description="Whether the figures are of all processes, or of one alone.")
    is_away: bool = Field(description="Whether the cache server did not answer.")
    problem: str = Field(description="Why figures are missing; else empty.")
    alerts: list[AlertOut]
    requests: AllRequestsOut
    views: list[ViewOut] = Field(description="Those that took the most time first.")
    queries: QueriesOut
    by_verb: list[VerbOut]
    statements: list[StatementOut]
    cache: ReadsOut
    reads: list[LabelOut]
    outages: int
    tasks: list[TaskOut]
    waits: list[WaitOut]
    timed: list[TimedOut]
    models: list[ModelOut]
    loops: list[LoopOut]
    limits: list[LimitOut]
    pools: list[PoolUseOut]
    connections: list[ConnectedOut]
    processes: list[ProcessOut]
    points: list[PointOut] = Field(description="For charts, oldest first; where `points` asks for them.")


class ProblemOut(Schema):
    """What went wrong."""

    detail: str


def monitoring_router(*, auth: Any = None) -> Router:
    """Return a router with `GET summary?since=1h`: what `manage.py perfkit_stats --json` prints.

    For staff with a session and the permission `perfkit.view_monitoring`, as the admin's pages: others get a 401,
    or a 403 where they are logged in.
    What is asked for wrongly is a 422; while the cache server does not answer, a 503 has what there is.
    The answers are marked `no-store`.

    Args:
        auth: Any of ninja's authentications, in the place of this one.

    Example:
        api.add_router("/perfkit", monitoring_router())
    """
    router = Router(auth=StaffAuth() if auth is None else auth, tags=["monitoring"])

    @router.get(
        "summary",
        response={200: SummaryOut, 401: ProblemOut, 403: ProblemOut, 503: SummaryOut},
        url_name="perfkit-summary",
    )
    def summary(
        request: HttpRequest,
        response: HttpResponse,
        since: Literal["15m", "1h", "6h", "24h"] = "1h",
        points: bool = False,
    ) -> HttpResponse | dict[str, Any]:
        """Return how fast the project is, and what of it is worse than it should be."""
        found = read_summary(since, has_points=points)
        if found.is_away:
            return JsonResponse(as_dict(found), status=503, headers={"Cache-Control": "no-store"})
        response["Cache-Control"] = "no-store"
        return as_dict(found)

    return router
