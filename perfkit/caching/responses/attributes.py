"""Objects that tell which of their attributes are read: requests, and what they were resolved to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

_NOTE: Final = "_perfkit_note"

_OF_ITS_CLASS: Final = frozenset(
    {*("GET", "POST", "FILES", "body", "stream", "data", "auth"), "_current_scheme_host"}
)
"""What classes of requests have as properties, and keep of the request where nothing else is asked again."""


@contextmanager
def telling(thing: Any, note: Callable[[str], None], *, silent: frozenset[str]) -> Iterator[None]:
    """Have an object tell of each attribute that is read of it within the block, but for `silent` ones.

    Told are those that it has itself, or lacks; methods and properties of its class tell by what they read.
    """
    values = vars(thing)
    kind: Any = type(thing)
    former = values.get(_NOTE)
    values[_NOTE] = note
    if former is None:
        thing.__class__ = _telling_kind(kind, silent)
    try:
        yield
    finally:
        if former is None:
            del values[_NOTE]
            thing.__class__ = kind
        else:
            values[_NOTE] = former


MOST_KINDS: Final = 100


@lru_cache(MOST_KINDS)
def _telling_kind(kind: Any, silent: frozenset[str]) -> type:
    def get(self: Any, name: str) -> Any:
        values = object.__getattribute__(self, "__dict__")
        if name not in silent and (
            name in _OF_ITS_CLASS
            or (not name.startswith("_") and (name in values or not hasattr(kind, name)))
        ):
            values[_NOTE](name)
        return kind.__getattribute__(self, name)

    return type(kind.__name__, (kind,), {"__getattribute__": get, "__module__": kind.__module__})
