"""Whether a connection has written to a table since a moment: what was read before may no longer be true."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Final, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from perfkit.signals import rows_written
from perfkit.watching.sql import as_text

MOST_KEPT: Final = 64
"""Writes that a connection remembers; beyond, anything may have been written."""

NO_WRITES: Final = (
    "SELECT",
    "SAVEPOINT",
    "RELEASE",
    "SHOW",
    "FETCH",
    "DECLARE",
    "CLOSE",
    "PRAGMA",
    "EXPLAIN",
)


class _Anything(str):
    """The text of a statement that may have written to any table."""

    __slots__ = ()

    def __contains__(self, _: object) -> bool:
        return True


ANYTHING: Final = _Anything()
"""Every name is `in` it."""


class Moment(NamedTuple):
    """A point in the life of a connection.

    Args:
        log: The connection's.
        writes: How many statements had written.
    """

    log: WriteLog
    writes: int


class WriteLog:
    """The statements by which one connection may have changed rows, the last of them with their text."""

    def __init__(self) -> None:
        self._writes = 0
        self._last: deque[str] = deque(maxlen=MOST_KEPT)

    def now(self) -> Moment:
        """Return this moment."""
        return Moment(self, self._writes)

    def has_written(self, tables: Iterable[str], since: Moment) -> bool:
        """Say whether rows of a table may have changed by this connection, also by a rollback.

        A statement that names one of the tables anywhere counts, so that none is missed.
        What another connection read is taken for changed.
        """
        if since.log is not self:
            return True
        count = self._writes - since.writes
        if not count:
            return False
        if count > len(self._last):
            return True
        recent = list(self._last)[len(self._last) - count :]
        return any(table in text for text in recent for table in tables)

    def note(self, text: str) -> None:
        """Note a statement that writes."""
        self._writes += 1
        self._last.append(text)


_logs: Final[weakref.WeakKeyDictionary[BaseDatabaseWrapper, WriteLog]] = weakref.WeakKeyDictionary()
_listeners: Final[list[Callable[[], None]]] = []


def write_log(alias: str) -> WriteLog:
    """Return what this thread's connection to a database has written since it was first asked for here."""
    connection: Any = connections[alias]
    log = _logs.get(connection)
    if log is None:
        log = _logs[connection] = WriteLog()
        rows_written.connect(_rows_were_written, dispatch_uid="perfkit.watching.written")
        watch_rollbacks(connection)
    if _noted not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _noted)
    return log


def on_rollback(listener: Callable[[], None]) -> None:
    """Call `listener` in the thread that has rolled back a transaction, or lost one with its connection."""
    if listener not in _listeners:
        _listeners.append(listener)


def watch_rollbacks(connection: BaseDatabaseWrapper) -> None:
    """Notice the rollbacks of a connection that go through no cursor; called once more, it does nothing.

    Django has no hook for them. That of a savepoint is a statement, and noticed as such.
    """
    watched: Any = connection
    for name in ("_rollback", "_close"):
        original = getattr(watched, name)
        if not hasattr(original, "perfkit_notices"):
            setattr(watched, name, _noticing(original, weakref.ref(connection)))


def _noticing(original: Callable[[], Any], connection: weakref.ref[BaseDatabaseWrapper]) -> Callable[[], Any]:
    @wraps(original)
    def rolling_back() -> Any:
        try:
            return original()
        finally:
            known = connection()
            log = None if known is None else _logs.get(known)
            if log is not None:
                log.note(ANYTHING)
            for listener in _listeners:
                listener()

    rolling_back.perfkit_notices = True  # type: ignore[attr-defined]
    return rolling_back


def written_text(sql: Any, connection: Any) -> str | None:
    """Return the text of a statement that may change rows, None where it changes none.

    A ROLLBACK, and a statement without a text, may have changed any: every name is `in` their text.
    """
    try:
        text = sql if type(sql) is str else as_text(sql, connection)
    except ValueError:
        return ANYTHING
    first = text.lstrip()[:10].upper()
    if first.startswith(NO_WRITES):
        return None
    return ANYTHING if first.startswith("ROLLBACK") else text


def _noted(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    connection = context["connection"]
    text = written_text(sql, connection)
    if text is not None:
        _logs[connection].note(text)
    return execute(sql, params, many, context)


def _rows_were_written(sender: type[Model], using: str, **_: Any) -> None:
    """Receiver of `rows_written`: a COPY does not go through a cursor."""
    log = _logs.get(connections[using])
    if log is not None:
        log.note(sender._meta.db_table)
