"""How busy the database connections are of the process that answers; for staff."""

from __future__ import annotations

import os

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema
from ninja.security import django_auth_is_staff

from perfkit.postgres import PoolFigures, pool_figures

router = Router(auth=django_auth_is_staff, tags=["operations"])


class FiguresOut(Schema):
    """A pool: what it has at this moment, and what was asked of it since it was opened."""

    most: int
    size: int
    available: int
    in_use: int
    share_in_use: float
    waiting: int
    requests: int
    queued: int
    waited_seconds: float
    timeouts: int
    lost: int
    connected: int


class PoolOut(Schema):
    """The pool of one process; null on SQLite, and where DATABASE_POOL_SIZE is 0."""

    process: int
    pool: FiguresOut | None


@router.get("pool", response=PoolOut, url_name="pool")
def show_pool(request: HttpRequest, response: HttpResponse) -> dict[str, int | PoolFigures | None]:
    """Return how the pool of this process stands; each process has its own."""
    response["Cache-Control"] = "no-store"
    return {"process": os.getpid(), "pool": pool_figures()}
