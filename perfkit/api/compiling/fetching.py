"""Asks for the rows of a statement, and runs it on the project's own connection.

# Note [Steps]
An answer takes one statement after the other, and what the next one is depends on the rows of the last.
So what makes an answer is a generator: it yields each statement, is sent its rows, and returns the answer.
It is the same for a thread and for the event loop; who drives it (`driving`) decides where statements run.

On PostgreSQL the statement is prepared, where the connection allows it: planning a list with its relations takes
longer than reading it. Execute wrappers, transactions, time limits and Django's log see it as any other.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.api.compiling.statements import Asked
from perfkit.caching.databases import tag_scope
from perfkit.caching.recorder import current_recorder, reading_part
from perfkit.postgres.prepared import may_prepare, plain_rows, prepared_rows

T = TypeVar("T")
Row = Sequence[Any]


Steps = Generator[Asked, list[Row], T]
"""What makes an answer; see Note [Steps]."""


def rows_of(asked: Asked) -> Steps[Iterable[Row]]:
    """Return the rows of a statement, each value as Django shows it.

    Queries: one.
    """
    rows = yield asked
    convert = asked.statement.converters
    return rows if convert is None else convert(rows, connections[asked.alias])


def fetched(asked: Asked) -> list[Row]:
    """Return the rows of a statement as the driver gives them, read by the connection of this thread.

    Who records what is read is told which part of its table it reads.

    Queries: one.
    """
    connection = connections[asked.alias]
    recorder = current_recorder()
    part = None if recorder is None else asked.part(tag_scope(connection))
    if recorder is None or part is None:
        return _sent(asked, connection)
    with reading_part(part):
        rows = _sent(asked, connection)
    if not rows and part.besides:
        recorder.read(part.besides, (None,) * len(part.besides))  # it knows their tokens from before
    return rows


def _sent(asked: Asked, connection: BaseDatabaseWrapper) -> list[Row]:
    if may_prepare(connection) and answers_the_same(asked, connection):
        return prepared_rows(connection, asked.sql, asked.values, is_binary=asked.statement.is_binary)
    return plain_rows(connection, asked.sql, asked.values)


def answers_the_same(asked: Asked, connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a statement may be prepared, and answers the same if it is; asks no database."""
    if not asked.statement.may_be_prepared:
        return False
    if connection.queries_logged:  # people want to see the values, and to ask for the plan of the text
        return False
    # Django gives a cursor a loader of its own for moments where the connection's is of another time zone.
    return connection.timezone_name == "UTC" or not asked.statement.has_moments
