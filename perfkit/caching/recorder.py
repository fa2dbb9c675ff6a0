"""Who wants to know what the code that runs now reads; see `named/recording.py`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching.memory import Tokens


class PartRead(NamedTuple):
    """What a statement reads of a table of which it reads a part.

    Args:
        sql: Its text.
        table: The tag of any write to the table.
        lasting: The tags that take its place, for an answer with rows.
        besides: Those that an answer without rows depends on besides.
    """

    sql: str
    table: str
    lasting: tuple[str, ...]
    besides: tuple[str, ...]


class Recorder(Protocol):
    """Is told of all that is read, before the database is asked."""

    def about_to_run(self, connection: BaseDatabaseWrapper, sql: str) -> None:
        """Note that a statement is about to be sent, and take the tokens of what it reads."""

    def read(self, tags: Sequence[str], tokens: Tokens, *, ends: float = math.inf) -> None:
        """Note what a cached read depends on, with the tokens that its answer was made with, one for each tag.

        Args:
            ends: When its answer is no longer to be shown, in seconds since 1970.
        """

    def refuse(self, reason: str) -> None:
        """Note that what is read cannot be told."""


_current: Final[ContextVar[Recorder | None]] = ContextVar("perfkit_recorder", default=None)

current_recorder: Final = _current.get


@contextmanager
def recorded_by(recorder: Recorder | None) -> Iterator[None]:
    """Tell `recorder` of what the block reads, and nobody else; None where somebody knows it already."""
    token = _current.set(recorder)
    try:
        yield
    finally:
        _current.reset(token)


_part: Final[ContextVar[PartRead | None]] = ContextVar("perfkit_part_read", default=None)

current_part: Final = _part.get


@contextmanager
def reading_part(part: PartRead) -> Iterator[None]:
    """Let the recorder know, when the block sends the statement, that it reads no more of the table than this."""
    token = _part.set(part)
    try:
        yield
    finally:
        _part.reset(token)
