"""Which lines wait for what a thread does, as far as they were noted.

See Note [Lines that wait] in `perfkit.watching.following`.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NamedTuple

from asgiref.sync import SyncToAsync

if TYPE_CHECKING:
    from perfkit.watching.callers import Call

BEGINNING: Final = SyncToAsync.thread_handler.__code__
"""What a thread runs first of what somebody awaits."""


class AwaitedFrom(NamedTuple):
    """The lines that wait for a thread.

    Args:
        number: As that of a `Path`.
        calls: The project's own calls, innermost first, at most eight.
    """

    number: int
    calls: tuple[Call, ...]


_awaited_from: Final[ContextVar[AwaitedFrom | None]] = ContextVar("perfkit_awaited_from", default=None)


def awaited_from() -> AwaitedFrom | None:
    """Return the lines that wait for this thread, None where nobody was noted."""
    return _awaited_from.get()


def note_awaited_from(found: AwaitedFrom) -> None:
    """Note who waits for the thread that this code is about to give work to."""
    _awaited_from.set(found)
