"""The statements that shapes send, with their values in them; none is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

from benchmarks.advisor.filling import Sizes
from benchmarks.advisor.models import Order
from benchmarks.advisor.shape import Draw, Shape

SAMPLES: Final = 4


class CapturedError(Exception):
    """Ends a question at its first statement, which it carries."""

    def __init__(self, sql: str, params: Any) -> None:
        super().__init__(sql, params)
        self.sql = sql
        self.params = params


class SilentCallError(Exception):
    """A call that was to send a statement sent none."""


def shop_connection() -> BaseDatabaseWrapper:
    """Return the connection to the shop's database."""
    return connections[router.db_for_read(Order)]


def statements_of(shape: Shape, sizes: Sizes, *, samples: int = SAMPLES) -> tuple[str, ...]:
    """Return what a shape sends in so many calls, each with other values; equal ones once."""
    return tuple(dict.fromkeys(_statement(shape, Draw(shape.name, n, sizes)) for n in range(samples)))


def sent_by(ask: Callable[[], Any], connection: BaseDatabaseWrapper) -> str:
    """Return the first statement that a call sends, which is not run.

    Args:
        ask: Returns a queryset to be read, or asks by itself.

    Raises:
        SilentCallError: It sends none on this connection.
    """
    connection.ensure_connection()
    try:
        with connection.execute_wrapper(_capture):
            asked = ask()
            if isinstance(asked, QuerySet):
                list(asked)
    except CapturedError as captured:
        return str(connection.ops.compose_sql(captured.sql, captured.params))  # type: ignore[attr-defined]
    raise SilentCallError


def _statement(shape: Shape, draw: Draw) -> str:
    return sent_by(lambda: shape.ask(draw), shop_connection())


def _capture(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    raise CapturedError(sql, params)
