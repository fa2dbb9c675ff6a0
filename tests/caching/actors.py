"""Threads with connections of their own, that do what a test says in turns, and machines made of them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, connection, connections, transaction
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from perfkit.caching.store import current_store

ACTORS = (0, 1) if connection.vendor == "postgresql" else (0,)  # SQLite has one writer at a time


class Actor:
    """A thread with a connection of its own, and the transactions it has open."""

    def __init__(self) -> None:
        self.blocks: list[transaction.Atomic] = []
        self._work: queue.Queue[Callable[[], Any] | None] = queue.Queue()
        self._answers: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        if connection.vendor == "postgresql":
            self.do(lambda: execute("SET lock_timeout = '10ms'"))

    def do(self, function: Callable[[], Any]) -> Any:
        self._work.put(function)
        outcome, value = self._answers.get(timeout=30)
        if outcome == "raised":
            raise value
        return value

    def begin(self) -> None:
        block = transaction.atomic()
        self.do(block.__enter__)
        self.blocks.append(block)

    def end(self, *, commit: bool) -> None:
        block = self.blocks.pop()
        error = None if commit else RuntimeError("roll back")
        self.do(lambda: block.__exit__(error and RuntimeError, error, None))

    def stop(self) -> None:
        while self.blocks:
            self.end(commit=False)
        self._work.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while function := self._work.get():
            try:
                self._answers.put(("returned", function()))
            except BaseException as error:  # noqa: BLE001  # raised in the other thread
                self._answers.put(("raised", error))
        connections.close_all()


def execute(sql: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)


MOST_BLOCKS = 3
actors = st.sampled_from(ACTORS)


class WritersMachine(RuleBasedStateMachine):
    """Two connections that write in turns, in transactions and outside, while the cache is lost now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.actors = [Actor() for _ in ACTORS]
        self.number = 0

    def teardown(self) -> None:
        for actor in self.actors:
            actor.stop()

    def write(self, actor: int, function: Callable[[str], object]) -> None:
        """Write a name that was never there; a row that the other has locked stays as it is."""
        self.number += 1
        name = f"write {self.number}"

        def attempt() -> None:
            if not connection.in_atomic_block:
                function(name)
                return
            with transaction.atomic():
                function(name)

        try:
            self.actors[actor].do(attempt)
        except DatabaseError:
            assert len(self.actors) > 1

    @rule(actor=actors)
    def begin(self, actor: int) -> None:
        if len(self.actors[actor].blocks) < MOST_BLOCKS:
            self.actors[actor].begin()

    @precondition(lambda self: any(actor.blocks for actor in self.actors))
    @rule(actor=actors, commit=st.booleans())
    def end(self, actor: int, commit: bool) -> None:
        if self.actors[actor].blocks:
            self.actors[actor].end(commit=commit)

    @rule()
    def lose_the_cache(self) -> None:
        current_store().clear()  # type: ignore[union-attr]
