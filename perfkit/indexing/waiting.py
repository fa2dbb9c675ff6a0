"""Runs statements that wait for locks: with timeouts of their own, and again where a lock was not to be had.

# Note [Timeouts behind a pooler]
A pooler in transaction mode gives each statement another session of the server, and CREATE INDEX CONCURRENTLY
cannot stand in a transaction. So settings of the session would meet somebody else's statements, and miss ours.
Behind a pooler none is set. What runs in a transaction has its timeouts by SET LOCAL, and for what cannot,
a second connection watches how long it waits for a lock, and cancels it: see `perfkit.indexing.watching`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from perfkit.errors import IndexLockedError
from perfkit.indexing.steps import Patience
from perfkit.indexing.watching import Watch
from perfkit.postgres.pools import goes_through_pooler
from perfkit.postgres.session import session_settings, sqlstate

logger = logging.getLogger("perfkit.indexing")

LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK_DETECTED = "40P01"
LOCK_FAILURES = frozenset({LOCK_NOT_AVAILABLE, DEADLOCK_DETECTED})


@dataclass
class Attempt:
    """One attempt at something that needs locks."""

    editor: BaseDatabaseSchemaEditor
    patience: Patience
    is_pooled: bool
    has_cancelled: bool = field(default=False, init=False)

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The connection that everything is done on, but for watching."""
        return self.editor.connection

    def concurrently(self, sql: str) -> None:
        """Run a statement that cannot stand in a transaction, and show how far it is where somebody looks."""
        watch = Watch(self.connection, self.patience, is_pooled=self.is_pooled)
        try:
            with watch:
                self.editor.execute(watch.marked(sql), params=None)
        finally:
            self.has_cancelled = self.has_cancelled or watch.has_cancelled

    def at_once(self, *statements: str) -> None:
        """Run statements in one transaction."""
        with self.transaction():
            for sql in statements:
                self.editor.execute(sql, params=None)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin a transaction, and wait in it no longer than is said."""
        with transaction.atomic(using=self.connection.alias):
            with self.connection.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
                    [self.patience.lock_timeout, self.patience.statement_timeout],
                )
            yield

    def is_lock_failure(self, error: OperationalError) -> bool:
        """Tell whether a statement has failed for a lock that others hold."""
        return self.has_cancelled or sqlstate(error) in LOCK_FAILURES


def patiently(
    editor: BaseDatabaseSchemaEditor, name: str, patience: Patience, attempt: Callable[[Attempt], int | None]
) -> None:
    """Call `attempt`, with the timeouts set, until it returns None and not a pid to wait for.

    Args:
        name: What is worked on, for messages.

    Raises:
        IndexLockedError: A lock was not to be had in all attempts.
    """
    connection = editor.connection
    problem, cause = "", None
    for pause in patience.pauses():
        if pause:
            logger.warning("%s: %s; trying again in %g s.", name, problem, pause)
            time.sleep(pause)
        this = Attempt(editor, patience, is_pooled=goes_through_pooler(connection))
        timeouts = {"lock_timeout": patience.lock_timeout, "statement_timeout": patience.statement_timeout}
        try:
            with nullcontext() if this.is_pooled else session_settings(connection, **timeouts):
                builder_pid = attempt(this)
        except OperationalError as error:
            if not this.is_lock_failure(error):
                raise
            problem, cause = str(error).strip().splitlines()[0], error
        else:
            if builder_pid is None:
                return
            problem, cause = f"the server's process {builder_pid} is still building it", None
    raise IndexLockedError(name, patience.attempts, problem) from cause
