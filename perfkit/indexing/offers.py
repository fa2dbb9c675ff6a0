"""What lists let anybody sort and filter by: known here, so that a system check can look for their indexes."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from functools import reduce
from typing import Literal, NamedTuple, Protocol

from perfkit.indexing.declared import DeclaredIndex

Unindexed = Literal["warn", "refuse", "allow"]
"""What is done about choices that no index serves."""


class Unserved(NamedTuple):
    """Something that is offered, and that no declared index serves.

    Attributes:
        kind: `sort` or `filter`.
        name: As a request gives it.
        what: What no index serves, as a clause.
        advice: What to do.
    """

    kind: str
    name: str
    what: str
    advice: str


class Offer(Protocol):
    """A class that says what a list may be sorted or filtered by."""

    __name__: str
    __qualname__: str
    __module__: str

    def unserved(self) -> Iterator[Unserved]:
        """Yield what of it no declared index serves; nothing where that is as it should be."""

    def relied_on(self) -> Iterator[DeclaredIndex]:
        """Yield the declared indexes that serve the others, some perhaps more than once."""


_offers: weakref.WeakSet[Offer] = weakref.WeakSet()


def offer(kind: Offer) -> None:
    """Remember a class."""
    _offers.add(kind)


def unserved() -> list[tuple[str, Unserved]]:
    """Return what is offered without an index, with the name of its class, by the classes imported by now.

    One that its module does not have, as one that a function defines, is not the project's to check.
    """
    return [(kind.__qualname__, each) for kind in _known() for each in kind.unserved()]


def relied_on() -> list[tuple[str, DeclaredIndex]]:
    """Return the declared indexes by which lists are sorted or filtered, each with the name of one such class."""
    found = {index: kind.__qualname__ for kind in _known() for index in kind.relied_on()}
    return [(where, index) for index, where in found.items() if index.is_named]


def _known() -> list[Offer]:
    return sorted(filter(_is_in_module, _offers), key=lambda kind: (kind.__module__, kind.__qualname__))


def _is_in_module(kind: Offer) -> bool:
    module = sys.modules.get(kind.__module__)
    *around, _ = kind.__qualname__.split(".")
    place = reduce(lambda outer, name: getattr(outer, name, None), around, module)
    return any(each is kind for each in getattr(place, "__dict__", {}).values())
