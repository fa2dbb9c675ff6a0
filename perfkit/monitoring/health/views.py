"""The views; the async ones have names that begin with `a`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from perfkit.monitoring.health.answers import ais_staff, answer, is_let_in, is_staff
from perfkit.monitoring.health.probes import Probe, acheck_health, check_health

View = Callable[[HttpRequest], HttpResponse]
AsyncView = Callable[[HttpRequest], Coroutine[Any, Any, HttpResponse]]
V = TypeVar("V", bound="Callable[..., Any]")

PROBES: Final[tuple[Probe, ...]] = ("live", "ready", "workers", "all")


def view_of(probe: Probe) -> View:
    """Return a view that answers a probe."""

    def view(request: HttpRequest) -> HttpResponse:
        report = check_health(probe)
        return answer(request, report, has_details=is_let_in(request) or is_staff(request, report))

    view.__name__ = view.__qualname__ = probe
    return _open(view)


def async_view_of(probe: Probe) -> AsyncView:
    """Do the same as a coroutine function, which waits on the event loop."""

    async def view(request: HttpRequest) -> HttpResponse:
        report = await acheck_health(probe)
        is_shown = is_let_in(request) or await ais_staff(request, report)
        return answer(request, report, has_details=is_shown)

    view.__name__ = view.__qualname__ = f"a{probe}"
    return _open(view)


def _open(view: V) -> V:
    """Let a view be asked by whoever is not logged in, and begin no transaction, which needs a database."""
    opened: V = login_not_required(require_safe(view))
    for alias in connections:
        opened = transaction.non_atomic_requests(using=alias)(opened)
    return opened
