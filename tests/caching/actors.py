"""Threads with connections of their own, that do what a test says in turns."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from django.db import connection, connections, transaction

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
