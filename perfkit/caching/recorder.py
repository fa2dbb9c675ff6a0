"""Who wants to know what the code that runs now reads; see `named/recording.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching.memory import Tokens


class Recorder(Protocol):
    """Is told of all that is read, before the database is asked."""

    def about_to_run(self, connection: BaseDatabaseWrapper, sql: str) -> None:
        """Note that a statement is about to be sent, and take the tokens of what it reads."""

    def read(self, tags: Sequence[str], tokens: Tokens) -> None:
        """Note what a cached read depends on, with the tokens that its answer was made with, one for each tag."""

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
