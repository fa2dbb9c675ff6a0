"""Counts the statements that a piece of work sends, to any database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

from django.db import connections

from perfkit.signals import query_timed
from perfkit.watching import as_text, normalised, quoted_names

HARMLESS: Final = frozenset(
    {
        "SELECT",
        "WITH",
        "VALUES",
        "SHOW",
        "EXPLAIN",
        "SET",
        "PRAGMA",
        "BEGIN",
        "SAVEPOINT",
        "RELEASE",
        "ROLLBACK",
    }
)
"""First words of statements that change no rows."""


@dataclass
class Sent:
    """What was sent.

    Attributes:
        texts: The statements, without values.
        seconds: How long each took.
    """

    texts: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def writes(self) -> list[str]:
        """Those that may change rows."""
        return [text for text in self.texts if first_word(text) not in HARMLESS]

    def note(self, text: str, seconds: float) -> None:
        """Take one in."""
        self.texts.append(text)
        self.seconds.append(seconds)


def first_word(sql: str) -> str:
    """Return the word that a statement begins with, in capitals. Pure."""
    words = sql.lstrip("( \n\t").split(maxsplit=1)
    return words[0].upper() if words else ""


@contextmanager
def counted() -> Iterator[Sent]:
    """Count what this thread sends within the block, what goes past Django's connections included."""
    sent = Sent()

    def watch(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        begun = perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            sent.note(_shown(sql, context["connection"]), perf_counter() - begun)

    def past_django(*, sql: str, seconds: float, **_: object) -> None:
        sent.note(sql, seconds)

    query_timed.connect(past_django)
    try:
        with ExitStack() as stack:
            for connection in connections.all():
                stack.enter_context(connection.execute_wrapper(watch))
            yield sent
    finally:
        query_timed.disconnect(past_django)


def _shown(sql: Any, connection: Any) -> str:
    try:
        return normalised(as_text(sql, connection), names=quoted_names(connection.alias))
    except ValueError as error:
        return str(error)
