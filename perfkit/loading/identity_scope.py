"""The rows that a request or a task has asked for by their keys, until something may have changed them.

# Note [What the identity map promises]
Within a map, `get_or_load` returns the instance that it returned before, with what the code has set on it since.
It asks the database again for every row of a table once a statement of the map's code has named the table,
and after a rollback.
So it never shows what the own code has changed, or what was rolled back.
What others commit meanwhile it does not see, as a transaction that keeps its snapshot does not.
What is made to be kept for others has a map of its own, which is empty when it begins: nobody else is shown what
the code has set on an instance, and each row that the value was made from is asked for by a statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import RLock
from typing import Any, Final, TypeVar, cast

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from perfkit.loading.dependencies import tables_of
from perfkit.making import own_of_a_run, surroundings
from perfkit.signals import rows_written
from perfkit.watching import ANYTHING, on_rollback, watch_connections, watch_rollbacks, written_text

M = TypeVar("M", bound=models.Model)

NAME: Final = "perfkit.identity_map"


class IdentityMap:
    """The rows that one request or task has asked for, by database, model and key.

    Args:
        around: The map of the code that this one's is a part of: it forgets what this one does.
    """

    def __init__(self, around: IdentityMap | None = None) -> None:
        self._around = around
        self.lock: Final = RLock()  # two threads of one request that ask together get one instance
        self.is_open = True
        self._rows: dict[tuple[str, type[models.Model]], dict[Any, models.Model | None]] = {}

    def get(self, alias: str, model: type[M], key: Any) -> M | None:
        """Return the row with this key, None where there is none.

        Queries:
            One where it is not known.
        """
        with self.lock:
            rows = self._rows.get((alias, model), {})
            if key not in rows:
                row = model._default_manager.using(alias).filter(pk=key).first()
                rows = self._rows.setdefault((alias, model), {})  # what was written meanwhile is forgotten
                rows[key] = row
            return cast("M | None", rows[key])

    def forget(self, text: str) -> None:
        """Forget the rows of all tables that a statement names."""
        with self.lock:
            for place in list(self._rows):
                alias, model = place
                if any(table in text for table in tables_of(model, alias)):
                    del self._rows[place]
        if self._around is not None:
            self._around.forget(text)


_current: Final[ContextVar[IdentityMap | None]] = own_of_a_run(
    ContextVar("perfkit_identity_map", default=None)
)


def install() -> None:
    """Watch what is written on every connection, for the map that the writing code runs in."""
    watch_connections(_forgetting, name=NAME)
    connection_created.connect(_watch_rollbacks, dispatch_uid=NAME)
    for connection in connections.all(initialized_only=True):
        watch_rollbacks(connection)
    on_rollback(_forget_all)
    if _map_of_its_own not in surroundings:
        surroundings.append(_map_of_its_own)
    rows_written.connect(_rows_were_written, dispatch_uid=NAME)


@contextmanager
def identity_map() -> Iterator[None]:
    """Let `get_or_load` return one instance of each row within the block, for this thread and what it starts.

    A block within another belongs to that.
    """
    if current_map() is not None:
        yield
        return
    with _entered(IdentityMap()):
        yield


@contextmanager
def _map_of_its_own() -> Iterator[None]:
    """Let what is made for others have a map of its own, where there is one around it."""
    around = current_map()
    if around is None:
        yield
        return
    with _entered(IdentityMap(around)):
        yield


@contextmanager
def _entered(found: IdentityMap) -> Iterator[None]:
    token = _current.set(found)
    try:
        yield
    finally:
        found.is_open = False  # also for what the block has started and left running
        _current.reset(token)


def current_map() -> IdentityMap | None:
    """Return the map that this code runs in, None outside of any and after its end."""
    found = _current.get()
    return found if found is not None and found.is_open else None


def _forgetting(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    found = _current.get()
    if found is None:
        return execute(sql, params, many, context)
    text = written_text(sql, context["connection"])
    try:
        return execute(sql, params, many, context)
    finally:
        if text is not None:
            found.forget(text)


def _rows_were_written(sender: type[models.Model], **_: Any) -> None:
    """Receiver of `rows_written`: a COPY does not go through a cursor."""
    found = _current.get()
    if found is not None:
        found.forget(sender._meta.db_table)


def _watch_rollbacks(connection: BaseDatabaseWrapper, **_: Any) -> None:
    watch_rollbacks(connection)


def _forget_all() -> None:
    found = _current.get()
    if found is not None:
        found.forget(ANYTHING)
