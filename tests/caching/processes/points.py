"""The points of a cached read and of a write at which a process can be held up, or end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection

from perfkit.caching.coherence import outbox
from perfkit.caching.store import current_store
from perfkit.caching.writes import tracker_of

Passes = Callable[[str], None]


def put_points(passes: Passes) -> None:
    """Have `passes` called with "before …" and "after …" of each step on the way to the server and back.

    The steps: the store's `read` (a `recall` is one), `tokens`, `take`, `fill` (an `offer` is one), `mark` and
    `done`, the `put` of a notice into the outbox, and with the database those of `put_database_points`.
    """
    store = current_store()
    for name in ("read", "tokens", "take", "fill", "mark", "done"):
        setattr(store, name, between(passes, name, getattr(store, name)))
    store.recall = between(passes, "read", store.recall)  # type: ignore[method-assign,union-attr]
    store.offer = between(passes, "fill", store.offer)  # type: ignore[method-assign,union-attr]
    outbox.put_notice = between(passes, "put", outbox.put_notice)  # type: ignore[method-assign]
    put_database_points(passes)


def put_database_points(passes: Passes) -> None:
    """Do the same on the database connection of this thread: a `statement`, a `COMMIT`."""
    connection.ensure_connection()
    tracker = tracker_of(connection)
    assert tracker is not None
    tracker._django_commit = between(passes, "COMMIT", tracker._django_commit)
    connection.execute_wrappers.append(lambda execute, *args: between(passes, "statement", execute)(*args))


def between(passes: Passes, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        passes(f"before {name}")
        answer = function(*args, **kwargs)
        passes(f"after {name}")
        return answer

    return run
