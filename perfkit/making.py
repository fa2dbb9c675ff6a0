"""What is made to be kept for others, apart from what belongs to whoever has asked for it.

# Note [A run's own]
A request, a task or a job has things of its own: instances with what its code has set on them, counts of what it
did, what is to be done at its end. Context variables hold them, so that all it starts has them too.
Who makes a value that others are shown must not find what one run holds and nobody has stored, nor take an answer
from its memory without a statement that says what the value depends on.
And what goes on for others when the run is over must not add to what the run has done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

T = TypeVar("T")

surroundings: Final[list[Callable[[], AbstractContextManager[None]]]] = []
"""What is entered around each making, so that it finds nothing that is its asker's own."""

_making: Final[ContextVar[object | None]] = ContextVar("perfkit_making", default=None)
_own: Final[list[ContextVar[Any]]] = []

current_making: Final = _making.get
"""Returns what stands for the making that this code is part of, None where it makes nothing for others."""


@contextmanager
def making_for_others() -> Iterator[None]:
    """Make within the block what others will be shown. See Note [A run's own]."""
    token = _making.set(object())
    try:
        with ExitStack() as stack:
            for surround in surroundings:
                stack.enter_context(surround())
            yield
    finally:
        _making.reset(token)


def own_of_a_run(variable: ContextVar[T | None]) -> ContextVar[T | None]:
    """Return a variable as it is; `apart_from_run` knows of it from now on."""
    _own.append(variable)
    return variable


@contextmanager
def apart_from_run() -> Iterator[None]:
    """Do within the block, and what it starts, what is no part of the run that this code is in."""
    tokens = [(variable, variable.set(None)) for variable in _own]
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)
