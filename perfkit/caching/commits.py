"""Runs what commits on a connection between MARK and DONE, and says how it ended.

See Note [The order of a write] in `coherence`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any, Final

from django.db import DatabaseError, Error, OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching.coherence import Announcement, SilentWrite, announce, empty_outbox
from perfkit.caching.named.names import is_named_tag
from perfkit.caching.statements import MOST_ROW_TAGS
from perfkit.caching.tags import coarsened, tables_of
from perfkit.caching.visibility import driver_is_in_transaction
from perfkit.errors import CacheUnavailableError

logger: Final = logging.getLogger("perfkit.caching")

CONNECTION_TROUBLE: Final = ("08", "57P", "58", "XX")
"""Classes of SQLSTATE after which the outcome of a COMMIT is not known."""

ANY_PREPARED: Final = "p:prepared"
"""A tag that nothing depends on: COMMIT PREPARED, too, asks first whether the server can be told."""


class Commits:
    """What commits on one connection.

    Args:
        commit: The connection's own, as Django made it.
        rollback: Likewise.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper, *, commit: Callable[[], None], rollback: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._django_commit = commit
        self._django_rollback = rollback

    def statement(
        self,
        execute: Callable[[], Any],
        *,
        tags: Callable[[], Iterable[str]],
        tables: Callable[[], Collection[str]],
    ) -> Any:
        """Run a statement that commits by itself.

        Where the server cannot be told, the statement and the outbox's row commit together.

        Args:
            tags: As `announce` has them, and `tables` too.
        """
        announcement = announce(self._connection.alias, tags=tags, tables=tables)
        if not announcement.must_be_kept:
            return self.ended(announcement, execute)

        def keep_and_execute() -> Any:
            with transaction.atomic(using=self._connection.alias):
                announcement.keep(self._connection)
                return execute()

        return self.ended(announcement, keep_and_execute)

    def transaction(self, tags: Iterable[str], commit: Callable[[], Any]) -> Any:
        """Run what commits the open transaction.

        Raises:
            CacheUnavailableError: The setting refuses it; the transaction is rolled back.
        """
        coarse = coarsened(tags, most_rows=MOST_ROW_TAGS)
        try:
            announcement = announce(
                self._connection.alias,
                tags=lambda: coarse,
                tables=lambda: tables_of(coarse),
                others=lambda: [tag for tag in coarse if is_named_tag(tag)],
            )
        except CacheUnavailableError:
            self._connection.rollback()
            raise

        def keep_and_commit() -> Any:
            if announcement.must_be_kept:
                announcement.keep(self._connection)
            return commit()

        return self.ended(announcement, keep_and_commit)

    def prepared(self, commit: Callable[[], Any]) -> Any:
        """Run COMMIT PREPARED, and tell what that transaction has left in the outbox before the caller goes on."""
        announcement = announce(self._connection.alias, tags=lambda: [ANY_PREPARED], tables=tuple)
        answer = self.ended(announcement, commit, is_depended_on=False)
        if isinstance(announcement, Announcement):
            empty_outbox(self._connection)
        return answer

    def ended(
        self,
        announcement: Announcement | SilentWrite,
        write: Callable[..., Any],
        *arguments: Any,
        is_depended_on: bool = True,
    ) -> Any:
        """Run what ends the write, and say how it did, unless nobody knows whether it was committed.

        Args:
            write: Is called with `arguments`.
            is_depended_on: Whether any answer depends on its tags.
        """
        try:
            answer = write(*arguments)
        except BaseException as error:
            if isinstance(error, DatabaseError) and _is_known_to_have_failed(error):
                announcement.failed()
            else:
                announcement.lost()
            raise
        if not announcement.committed() and is_depended_on:
            self._keep_late(announcement)
        return answer

    def _keep_late(self, announcement: Announcement | SilentWrite) -> None:
        """Put into the outbox what is committed already. See Note [A DONE that is not heard] in `coherence`."""
        if driver_is_in_transaction(self._connection):
            return  # after COMMIT AND CHAIN; the next transaction is not ours to commit
        try:
            announcement.keep(self._connection)
            self._django_commit()
        except Error:
            # The write itself is committed, and its caller must not hear that it failed.
            logger.exception("A write is committed of whose end the cache server may not have heard.")
            with suppress(Error):  # where the connection is lost
                self._django_rollback()
        else:
            announcement.was_kept()


def _is_known_to_have_failed(error: DatabaseError) -> bool:
    """Say whether the database told that it wrote nothing; a lost connection tells nothing."""
    if not isinstance(error, OperationalError):
        return True
    state = getattr(error.__cause__, "sqlstate", None)
    return state is not None and not str(state).startswith(CONNECTION_TROUBLE)
