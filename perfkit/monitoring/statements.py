"""Measures every statement: how long it took, by what it is without its values; and logs the slow ones."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching.locks import fork_safe_lock
from perfkit.monitoring.boards import STATEMENTS, Seen, boards
from perfkit.monitoring.fingerprints import fingerprint_of
from perfkit.monitoring.generations import Generations
from perfkit.monitoring.ledgers.contract import OTHER
from perfkit.monitoring.recording import NANOSECONDS, recorder, switch
from perfkit.monitoring.series import VERBS, Series
from perfkit.monitoring.slow_plans import plan_text
from perfkit.monitoring.slow_queries import Parameters, log_slow
from perfkit.monitoring.work import work
from perfkit.signals import query_timed
from perfkit.watching import (
    as_text,
    calling_line,
    normalised,
    quoted_names,
    unwatch_connections,
    watch_connection,
    watch_connections,
)

logger: Final = logging.getLogger("perfkit.monitoring")

NAME: Final = "perfkit.monitoring.statements"
MOST_TEXTS: Final = 2_000
"""Texts of statements whose series is kept; those with their values written into them would be without end."""

LONGEST_TEXT: Final = 4_000
"""Longer texts, as those that insert many rows, are kept by a digest."""

MOST_FINGERPRINTS: Final = 500
"""Of one process, that it has used within a day; what comes beside these is counted as `other`."""


SAVEPOINT: Final = re.compile(r"((?:RELEASE |ROLLBACK TO )?SAVEPOINT )\S+")
"""Django gives each a name of its own."""

_known: Final[Generations[tuple[str, str], int]] = Generations(MOST_TEXTS)
"""Series by alias and text, or its digest."""

_lock: Final = fork_safe_lock()
_seen: Final[dict[str, set[int]]] = {}
"""Fingerprints, each with its series: of each database that it was sent to."""

_others: Final[set[int]] = set()
"""Series of statements without one of their own."""

_watches: Final[list[bool]] = []
"""Not empty while connections are measured."""


def install() -> None:
    """Measure on every connection of this process: those that are open, and each as it is opened.

    Called once more, it does nothing.

    Queries: none.
    """
    watch_connections(measure, name=NAME)
    _watches.append(True)
    query_timed.connect(_measured_elsewhere, dispatch_uid=NAME)
    if _forget not in recorder.at_retirement:
        recorder.at_retirement.append(_forget)


def uninstall() -> None:
    """Measure on no connection of this thread any more, nor on any that is opened from now on."""
    unwatch_connections(measure, name=NAME)
    _watches.clear()
    query_timed.disconnect(dispatch_uid=NAME)


def watch(connection: BaseDatabaseWrapper) -> None:
    """Measure on a connection, where connections are measured."""
    if _watches:
        watch_connection(connection, measure)


def measure(
    execute: Callable[..., Any],
    sql: Any,
    params: Any,
    many: bool,
    context: dict[str, Any],
) -> Any:
    """Run the statement, and count it; log it where it took at least `QUERY_SLOW_THRESHOLD`, also if it failed.

    Where this stands around a statement twice, that is counted once.
    On SQLite the time is that of the first row; the others are read as they are fetched.
    What is measured never changes what the statement does.
    """
    if NAME in context:  # it is one dict for all that stands around a statement
        return execute(sql, params, many, context)
    context[NAME] = True
    # Looked up before: now the processor has the statement at hand, and after the wait it does not.
    known = _known.young.get((context["connection"].alias, sql)) if type(sql) is str else None
    part_of = work.get()
    begun = perf_counter_ns()
    try:
        result = execute(sql, params, many, context)
    except BaseException:
        _note(sql, params, many, context["connection"], perf_counter_ns() - begun, has_failed=True)
        raise
    nanoseconds = perf_counter_ns() - begun
    if known is None or nanoseconds >= switch.plain_nanoseconds:
        _note(sql, params, many, context["connection"], nanoseconds, has_failed=False)
        return result
    if part_of is not None:
        part_of.queries += 1
        part_of.database_nanoseconds += nanoseconds
    try:
        segment = recorder.segment
        if segment is None:
            recorder.record(known, nanoseconds // 1000)
            return result
        try:  # what `record` does, without a call; the second and the third number are 0 already
            place = next(segment.places)
            segment.words[place + 1] = nanoseconds // 1000
            segment.words[place] = known
        except (IndexError, ValueError):  # it is full or sealed, and another one is begun
            recorder.record(known, nanoseconds // 1000)
    except Exception:  # what is measured never fails what it measures
        logger.exception("A statement could not be measured.")
    return result


def _measured_elsewhere(
    *, using: str, sql: str, seconds: float, has_failed: bool = False, **_: object
) -> None:
    """Count a statement that went past Django's connections; receiver of `query_timed`."""
    is_slow = seconds >= switch.slow_seconds
    _count(sql, using, int(seconds * NANOSECONDS), is_slow=is_slow, has_failed=has_failed)
    if is_slow:
        _log(sql, using, seconds)


def _note(sql: Any, params: Any, many: bool, connection: Any, nanoseconds: int, *, has_failed: bool) -> None:
    seconds = nanoseconds / NANOSECONDS
    is_slow = seconds >= switch.slow_seconds
    try:
        text = sql if type(sql) is str else as_text(sql, connection)
    except ValueError as error:  # only why: there is no text
        text, params = str(error), None
    _count(text, connection.alias, nanoseconds, is_slow=is_slow, has_failed=has_failed)
    if is_slow:
        plan = None if has_failed or many else partial(plan_text, connection, text, params)
        _log(text, connection.alias, seconds, parameters=Parameters(params, is_many=many), plan=plan)


def _count(sql: str, alias: str, nanoseconds: int, *, is_slow: bool, has_failed: bool) -> None:
    part_of = work.get()
    if part_of is not None:
        part_of.queries += 1
        part_of.database_nanoseconds += nanoseconds
        if is_slow:
            part_of.slow += 1
    if switch.is_on:
        try:
            name = (
                sql if len(sql) <= LONGEST_TEXT else hashlib.blake2b(sql.encode(), digest_size=16).hexdigest()
            )
            series = _known.get((alias, name)) or _learned(name, sql, alias)
            recorder.record(series, nanoseconds // 1000, is_slow, has_failed)
        except Exception:  # what is measured never fails what it measures
            logger.exception("A statement could not be measured.")


def _log(sql: str, alias: str, seconds: float, **told: Any) -> None:
    try:
        log_slow(sql, alias, seconds, **told)
    except Exception:  # what is logged never fails what it is logged of
        logger.exception("A slow query could not be logged.")


def _learned(name: str, sql: str, alias: str) -> int:
    """Return the series of a statement that was not seen before, and keep it under this name."""
    savepoint = SAVEPOINT.fullmatch(sql)
    if savepoint is not None:
        name = sql = f"{savepoint[1]}…"
        known = _known.get((alias, name))
        if known is not None:
            return known
    text = normalised(sql, names=quoted_names(alias))
    fingerprint = fingerprint_of(text)
    part_of = work.get()
    view, method = ("", "") if part_of is None else (part_of.name, part_of.method)
    seen = Seen(text, alias, view, calling_line(), method)
    with _lock:
        if fingerprint not in _seen:
            if len(_seen) >= MOST_FINGERPRINTS:
                fingerprint = OTHER
            else:
                _seen[fingerprint] = set()
                boards.note(STATEMENTS, fingerprint, seen)
    series = recorder.series("query", alias, verb_of(text), fingerprint)
    if fingerprint == OTHER:
        _others.add(series)
    else:
        with _lock:
            _seen.setdefault(fingerprint, set()).add(series)
    _known.put((alias, name), series)
    return series


def _forget(series: Series, number: int) -> None:
    """Forget a series that was not used for a day, and have those without one of their own look for its place."""
    if series.kind == "query":
        fingerprint = series.labels[-1]
        with _lock:
            used = _seen.get(fingerprint, set())
            used.discard(number)
            if not used:
                _seen.pop(fingerprint, None)
                boards.forget(STATEMENTS, fingerprint)
        _known.drop({number, *_others})
        _others.clear()


def verb_of(text: str) -> str:
    """Return the verb of a statement where it is one of the four that matter most, else `OTHER`.

    Example:
        >>> verb_of("select 1"), verb_of("WITH x AS (SELECT 1) SELECT * FROM x"), verb_of("VACUUM")
        ('SELECT', 'SELECT', 'OTHER')
    """
    verb = text.lstrip("( ").partition(" ")[0].upper()
    if verb == "WITH":  # what the whole does stands last
        words = text.upper().split()
        verb = next((word.strip("()") for word in reversed(words) if word.strip("()") in VERBS), "OTHER")
    return verb if verb in VERBS else "OTHER"
