"""Logs the queries that take long: `SLOW QUERY`, on the logger `perfkit.queries`.

No line has a value in it, unless `QUERY_SLOW_PARAMETERS` says so.
Of all slow queries the share `QUERY_SLOW_SAMPLE_RATE` is logged, and at most `QUERY_SLOW_LOGS_PER_MINUTE` lines a
minute; the first line after such a minute says how many were left out.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from perfkit.caching.locks import fork_safe_lock
from perfkit.conf import options
from perfkit.monitoring.fingerprints import fingerprint_of
from perfkit.monitoring.work import work
from perfkit.tracing import request_id
from perfkit.watching import calling_line, normalised, quoted_names

logger = logging.getLogger("perfkit.queries")

MINUTE: Final = 60.0
LONGEST_VALUE: Final = 40
MOST_VALUES: Final = 20


class LineLimit:
    """How many lines there may be a minute.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = fork_safe_lock()
        self._begun = clock()
        self._lines = 0
        self._left_out = 0

    def admits(self, most: int) -> tuple[bool, int]:
        """Return whether there may be a line now, and how many were left out before it."""
        with self._lock:
            now = self._clock()
            left_out = 0
            if now - self._begun >= MINUTE:
                self._begun, self._lines = now, 0
                left_out, self._left_out = self._left_out, 0
            if self._lines < most:
                self._lines += 1
                return True, left_out
            self._left_out += 1
            return False, 0


class Parameters(NamedTuple):
    """The values that a statement was sent with.

    Args:
        values: A sequence or a mapping; of such where it `is_many`.
    """

    values: Any = None
    is_many: bool = False

    def __str__(self) -> str:
        """Shortened: the first values, and the first set of many."""
        if not self.is_many:
            return _values_text(self.values)
        if not isinstance(self.values, Sequence):  # an iterator has been used up
            return ""
        more = len(self.values) - 1
        first = _values_text(self.values[0]) if self.values else ""
        return f"{first} and {more:,} more" if more > 0 else first


limit: Final = LineLimit()
_is_logging: Final[ContextVar[bool]] = ContextVar("perfkit_is_logging", default=False)
"""Whether this is part of a line: a handler may write into a database."""


def log_slow(
    sql: str,
    alias: str,
    seconds: float,
    *,
    parameters: Parameters = Parameters(),  # noqa: B008  # it cannot be changed
    plan: Callable[[], str] | None = None,
    draw: Callable[[], float] = random.random,
) -> None:
    """Log a statement that was slow, and its plan on a second line where there is one.

    The line has the milliseconds, the alias of the database, the calling line, the fingerprint, the view or task
    where one is measured, the id of the request where it has one, and the SQL without any value.
    The same are attributes of the record, for logs in JSON: `milliseconds`, `alias`, `line`, `fingerprint`, `sql`,
    and where they are known `view`, `request_id` and `parameters`; of the second line `fingerprint` and `plan`.
    What a handler of the log sends to a database is not logged.

    Args:
        plan: Asks for the plan, once there is a line; an empty text is none.
        draw: Returns a number from 0 to 1, which says whether it is one of the share that is logged.
    """
    if _is_logging.get() or draw() >= options.QUERY_SLOW_SAMPLE_RATE:
        return
    token = _is_logging.set(True)
    try:
        admitted, left_out = limit.admits(options.QUERY_SLOW_LOGS_PER_MINUTE)
        if left_out:
            logger.warning("%d lines about slow queries were left out within a minute.", left_out)
        if admitted:
            _log(sql, alias, seconds, parameters, plan)
    finally:
        _is_logging.reset(token)


def _log(
    sql: str, alias: str, seconds: float, parameters: Parameters, plan: Callable[[], str] | None
) -> None:
    text = normalised(sql, names=quoted_names(alias))
    part_of = work.get()
    view = part_of.name if part_of is not None else ""
    fingerprint = fingerprint_of(text)
    values = str(parameters) if options.QUERY_SLOW_PARAMETERS else ""
    number = request_id()
    known = {"view": view, "request_id": number, "parameters": values}
    found: dict[str, Any] = {
        "milliseconds": round(seconds * 1000, 1),
        "alias": alias,
        "line": calling_line(),
        "fingerprint": fingerprint,
        "sql": text,
    }
    logger.warning(
        "SLOW QUERY %(milliseconds).1f ms %(alias)s %(line)s %(fingerprint)s %(view)s%(of)s %(sql)s%(with)s",
        {
            **found,
            "view": view or "-",
            "of": f" request={number}" if number else "",
            "with": f" with {values}" if values else "",
        },
        # What is not known is left to filters that know more.
        extra=found | {name: told for name, told in known.items() if told},
    )
    steps = plan() if plan is not None else ""
    if steps:
        logger.warning("PLAN %s %s", fingerprint, steps, extra={"fingerprint": fingerprint, "plan": steps})


def _values_text(values: Any) -> str:
    """Return the first values, each shortened.

    Example:
        >>> _values_text(["JFK", 3]), _values_text({"code": "JFK"}), _values_text(None)
        ("('JFK', 3)", "(code='JFK')", '')
    """
    if not values:
        return ""
    texts = list(_texts(values))
    more = [f"… {len(texts) - MOST_VALUES:,} more"] if len(texts) > MOST_VALUES else []
    return f"({', '.join([*texts[:MOST_VALUES], *more])})"


def _texts(values: Any) -> Iterator[str]:
    if isinstance(values, Mapping):
        yield from (f"{name}={_value(value)}" for name, value in values.items())
    else:
        yield from map(_value, values)


def _value(value: object) -> str:
    text = repr(value)
    cut = text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
    return cut if cut.isprintable() else "".join(each if each.isprintable() else "�" for each in cut)
