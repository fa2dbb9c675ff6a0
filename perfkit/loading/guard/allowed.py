"""What is left alone: by name for the whole project, by a block for a piece of code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase
from typing import Final

from perfkit.conf import options

_allowed: Final[ContextVar[tuple[str, ...]]] = ContextVar("perfkit_n_plus_one_allowed", default=())


@contextmanager
def allow_n_plus_one(*names: str) -> Iterator[None]:
    """Leave loops of queries within the block alone.

    Args:
        names: Patterns as in `PERFKIT["N_PLUS_ONE_ALLOW"]`; every loop where none is given.

    Example:
        with allow_n_plus_one("flights.Flight.airline"):
            render(flights)
    """
    token = _allowed.set((*_allowed.get(), *(names or ("*",))))
    try:
        yield
    finally:
        _allowed.reset(token)


def allowed_here() -> tuple[str, ...]:
    """Return the patterns of the blocks that this code is in."""
    return _allowed.get()


def is_everything_allowed() -> bool:
    """Say whether this code is in a block that allows every loop."""
    return "*" in _allowed.get()


def is_allowed(name: str, functions: Sequence[str]) -> bool:
    """Say whether a loop is to be left alone.

    Args:
        name: `app.Model.relation` or `app.Model`; a pattern `app.Model` stands for its relations too.
        functions: Dotted names of the functions that led to it.
    """
    patterns = (*options.N_PLUS_ONE_ALLOW, *_allowed.get())
    subjects = [name, name.rpartition(".")[0] if name.count(".") > 1 else name, *functions]
    return any(fnmatchcase(subject, pattern) for pattern in patterns for subject in subjects if subject)
