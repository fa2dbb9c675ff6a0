"""Puts a function around every statement that the process sends to a database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

Wrapper = Callable[[Callable[..., Any], Any, Any, bool, dict[str, Any]], Any]
"""What `connection.execute_wrapper` takes: it is called around a statement, and returns what `execute` does."""


def watch_connections(wrapper: Wrapper, *, name: str, is_inmost: bool = False) -> None:
    """Put `wrapper` onto every connection of this process: those of this thread, and each as it is opened.

    Called once more, it does nothing.
    A connection that another thread has open already gets it when it is opened the next time.

    Args:
        wrapper: Called around each statement, outside of the wrappers that are put on later.
        name: What `unwatch_connections` calls it by.
        is_inmost: Put it inside of all others of perfkit's: it changes the text, which they are to see as it was.

    Queries: none.
    """
    put_on = _put_inmost if is_inmost else watch_connection

    def watch_new(connection: BaseDatabaseWrapper, **_: Any) -> None:
        put_on(connection, wrapper)

    connection_created.connect(watch_new, weak=False, dispatch_uid=name)
    for connection in connections.all(initialized_only=True):
        put_on(connection, wrapper)


def is_perfkits(wrapper: object) -> bool:
    """Say whether an execute wrapper is one of perfkit's."""
    return str(getattr(wrapper, "__module__", "")).startswith("perfkit.")


def unwatch_connections(wrapper: Wrapper, *, name: str) -> None:
    """Take `wrapper` off the connections of this thread, and put it onto none that is opened from now on."""
    connection_created.disconnect(dispatch_uid=name)
    for connection in connections.all(initialized_only=True):
        if wrapper in connection.execute_wrappers:
            connection.execute_wrappers.remove(wrapper)


def watch_connection(connection: BaseDatabaseWrapper, wrapper: Wrapper) -> None:
    """Put `wrapper` onto a connection, unless it is there."""
    if wrapper not in connection.execute_wrappers:
        # At the front: `connection.execute_wrapper()` pops the last one at its end, which must be its own.
        connection.execute_wrappers.insert(0, wrapper)


def _put_inmost(connection: BaseDatabaseWrapper, wrapper: Wrapper) -> None:
    """Put it behind the last one of perfkit's, which all stand at the front, as do those that come later."""
    wrappers = connection.execute_wrappers
    if wrapper not in wrappers:
        places = [place for place, each in enumerate(wrappers) if is_perfkits(each)]
        wrappers.insert(places[-1] + 1 if places else 0, wrapper)
