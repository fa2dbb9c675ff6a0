"""The watch that code runs in, and what stands around each of its statements; every process loads it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from django.core.signals import request_started

from perfkit.making import own_of_a_run
from perfkit.watching import watch_connections

if TYPE_CHECKING:
    from perfkit.loading.guard.watch import Watch

NAME: Final = "perfkit.n_plus_one"

current: Final[ContextVar[Watch | None]] = own_of_a_run(ContextVar("perfkit_n_plus_one_watch", default=None))


def install() -> None:
    """Put the guard onto every connection; it does nothing outside of a watch."""
    watch_connections(watched, name=NAME)
    request_started.connect(_request_began, dispatch_uid=NAME)


def watched(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Send a statement, counted where a watch is on.

    Raises:
        NPlusOneError: See `Watch.run`.
    """
    watch = current.get()
    if watch is None or many:
        return execute(sql, params, many, context)
    return watch.run(execute, sql, params, context)


def is_watching() -> bool:
    """Say whether this code is watched."""
    return current.get() is not None


def _request_began(**_: Any) -> None:
    watch = current.get()
    if watch is not None:
        watch.begin_unit()
