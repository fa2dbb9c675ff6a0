"""The rows that were read together, and what was loaded for all of them.

# Note [What autoload promises]
What a row is given is what its own query would have answered at the moment when that of all rows ran.
A relation to one row stays on the instance, as Django keeps it.
Of related rows and their number Django keeps nothing, and asks at each access; so an answer is handed out once,
and not at all where this connection has since written to one of the tables: the row then asks by itself,
and so does every row after it for this relation, for what is written in a loop would be loaded anew for each.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model

from perfkit.conf import options
from perfkit.loading.autoloading.modes import DJANGOS_MODE, FETCH_MODE
from perfkit.watching import Moment, write_log

ATTRIBUTE: Final = "autoload_peer"
"""Where a row's `Peer` stands in the `__dict__` of its `_state`."""

MOST_ROWS: Final = 5_000
"""Rows for which a relation is loaded by one query at most; lists that are longer take several."""

MOST_AT_ONCE: Final = 4
"""How often a relation of many rows is loaded anew for all rows, before each asks by itself."""


def block_size(alias: str) -> int:
    """Return for how many rows a relation is loaded by one query; SQLite takes a condition of few values only."""
    most = connections[alias].features.max_query_params
    return min(MOST_ROWS, most // 2) if most else MOST_ROWS


class Answer(NamedTuple):
    """What one row's query would have answered.

    Attributes:
        value: Rows, a number, or whether there are any.
        asked_by: The database and the value by which the row was asked for.
        moment: When it was asked.
    """

    value: Any
    asked_by: tuple[Any, ...]
    moment: Moment


class Unmade(Protocol):
    """Rows of a group that were read, and are no instances yet."""

    def made(self) -> None:
        """Make instances of them, which are members of the group from now on."""


class Group:
    """Rows of one model that were read together. It does not keep them."""

    def __init__(self) -> None:
        self.members: list[weakref.ref[Model]] = []
        self.unmade: Unmade | None = None
        self.asked: Counter[str] = Counter()
        self.loaded: Counter[str] = Counter()
        self.refused: set[str] = set()

    def block_of(self, place: int, size: int) -> list[Any]:
        """Return the rows that are still there, of the block among which one stands; all are made by then."""
        if self.unmade is not None:
            unmade, self.unmade = self.unmade, None
            unmade.made()
        start = place - place % size
        block = self.members[start : start + size]
        return [row for member in block if (row := member()) is not None]

    def is_time_to_load(self, key: str) -> bool:
        """Count one more access, and say whether it is time to load for all rows."""
        self.asked[key] += 1
        return self.asked[key] >= options.AUTOLOAD_AFTER_ROWS and key not in self.refused

    def __reduce__(self) -> tuple[type[Group], tuple[()]]:
        # Rows of one pickle find each other again; one alone takes nobody with it.
        return Group, ()


class Peer:
    """What one row knows of the others; it hangs on the row's `_state`."""

    __slots__ = ("answers", "group", "place", "row")

    def __init__(self, row: Model, group: Group) -> None:
        self.row = weakref.ref(row)
        self.group = group
        self.place = len(group.members)
        self.answers: dict[str, list[Answer]] | None = None
        group.members.append(self.row)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return joined, (self.group, self.row())


def joined(group: Group, row: Model | None) -> Peer | None:
    """Return what a row that was unpickled knows of the others."""
    return None if row is None else Peer(row, group)


def peer_of(instance: Any) -> Peer | None:
    """Return what an instance knows of the rows it was read with; None where it was read alone, and of a copy."""
    peer: Peer | None = instance._state.__dict__.get(ATTRIBUTE)
    return peer if peer is not None and peer.row() is instance else None


_before_marking: Final[list[Callable[[type[Model]], None]]] = []


def before_marking(prepare: Callable[[type[Model]], None]) -> None:
    """Call `prepare` with the model of rows that are about to be marked, each time."""
    _before_marking.append(prepare)


def mark(rows: Sequence[Any], group: Group | None = None) -> None:
    """Have rows of one model, read together, load their relations for each other.

    Rows that belong to others already stay with them.

    Args:
        group: Others that they were read with; none where left out.
    """
    if not rows:
        return
    for prepare in _before_marking:
        prepare(type(rows[0]))
    if group is None:
        group = Group()
    for row in rows:
        state = row._state
        if ATTRIBUTE not in state.__dict__:
            state.__dict__[ATTRIBUTE] = Peer(row, group)
            if FETCH_MODE is not None and state.fetch_mode is DJANGOS_MODE:  # no other was asked for
                state.fetch_mode = FETCH_MODE


def peers_without(instance: Model, key: str, has_it: Callable[[Any], bool]) -> list[Any]:
    """Return the rows for which a relation to one row, or a deferred field, is to be loaded now.

    Empty where the instance has to ask by itself.
    """
    peer = peer_of(instance)
    if peer is None or not peer.group.is_time_to_load(key):
        return []
    db = instance._state.db
    size = block_size(db or DEFAULT_DB_ALIAS)
    rows = [row for row in peer.group.block_of(peer.place, size) if row._state.db == db and not has_it(row)]
    return rows if len(rows) > 1 else []


def take(
    instance: Model,
    key: str,
    *,
    asks_by: Callable[[Any], Any],
    tables: Callable[[], Sequence[str]],
    load: Callable[[list[Any]], Sequence[Any] | None],
) -> Answer | None:
    """Return one row's answer, loaded for all rows where it is not there; None where the row has to ask by itself.

    See Note [What autoload promises].

    Args:
        key: Names the question.
        asks_by: Returns the value by which a row is asked for, None where it has none.
        tables: Returns what the answer depends on.
        load: Returns the answers of rows, in their order; None where each row has to ask by itself.

    Queries:
        None, or those of `load`.
    """
    peer = peer_of(instance)
    if peer is None or key in peer.group.refused:
        return None
    db = instance._state.db or DEFAULT_DB_ALIAS
    waiting = None if peer.answers is None else peer.answers.get(key)
    if not waiting:
        is_time = peer.group.is_time_to_load(key)
        return _loaded_for_all(peer, instance, key, asks_by, load) if is_time else None
    answer = waiting.pop(0)
    if write_log(db).has_written(tables(), answer.moment):
        peer.group.refused.add(key)
        return None
    return answer if answer.asked_by == (db, asks_by(instance)) else None


def _loaded_for_all(
    peer: Peer,
    instance: Model,
    key: str,
    asks_by: Callable[[Any], Any],
    load: Callable[[list[Any]], Sequence[Any] | None],
) -> Answer | None:
    """Load the answers of all rows; return that of one, None where each has to ask by itself."""
    group, db = peer.group, instance._state.db or DEFAULT_DB_ALIAS
    size = block_size(db)
    rows = [
        row
        for row in group.block_of(peer.place, size)
        if row._state.db == instance._state.db and asks_by(row) is not None
    ]
    blocks = 1 + (len(group.members) - 1) // size
    if len(rows) < 2 or asks_by(instance) is None or group.loaded[key] >= MOST_AT_ONCE * blocks:  # noqa: PLR2004
        return None
    group.loaded[key] += 1
    moment = write_log(db).now()
    found = load(rows)
    if found is None:
        group.refused.add(key)
        return None
    own: Answer | None = None
    for row, value in zip(rows, found, strict=True):
        other: Peer = row._state.__dict__[ATTRIBUTE]
        answer = Answer(value, (db, asks_by(row)), moment)
        if other is peer:
            own = answer
        elif other.answers is None:
            other.answers = {key: [answer]}
        else:
            other.answers.setdefault(key, []).append(answer)
    return own
