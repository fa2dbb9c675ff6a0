"""How many queries a block of code takes, and how long the database is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection


@dataclass(slots=True)
class QueryFigures:
    """What was asked up to now."""

    queries: int = 0
    seconds: float = 0.0

    @property
    def milliseconds(self) -> float:
        """The time that the answers took, their way from the server included."""
        return self.seconds * 1000


@contextmanager
def query_figures() -> Iterator[QueryFigures]:
    """Count and time the queries of the block on the default database."""
    figures = QueryFigures()

    def timed(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            figures.queries += 1
            figures.seconds += time.perf_counter() - started

    with connection.execute_wrapper(timed):
        yield figures
