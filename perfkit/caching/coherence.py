"""MARK, COMMIT, DONE: how a write tells every reader, whatever fails.

# Note [The order of a write]
MARK goes out immediately before COMMIT, DONE after it and before any hook of the project.
Between the two, readers go to the database and store nothing.
A writer that dies there, or does not learn how its COMMIT ended, never says DONE: its lease on the tags ends,
the tokens are gone, and every entry made before is void.
Where the server cannot be told, a notice of that goes into the outbox inside the same transaction.
See Note [Writing in silence] in `silence`.

# Note [A DONE that is not heard]
After MARK, a lease that ends voids all that was filled before COMMIT: but only if the MARK stood until then.
The server may have lost it (a flush, an eviction, a restart), or COMMIT may have taken longer than the lease.
What others have filled since would then stand.
So where DONE cannot be told, the tags go into the outbox after COMMIT, in a transaction of their own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable
from typing import ClassVar, Final

from django.core.signals import setting_changed
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching import tokens
from perfkit.caching.breaker import Breaker
from perfkit.caching.outbox import LOOK_EVERY_SECONDS, Outbox, OutboxMissingError
from perfkit.caching.scope import forget_all_everywhere, forget_everywhere
from perfkit.caching.silence import Silence
from perfkit.caching.store import Store, StoreError, current_store
from perfkit.conf import options
from perfkit.errors import CacheUnavailableError
from perfkit.signals import cache_outage

logger = logging.getLogger("perfkit.caching")


def _outage_changed(is_down: bool, problem: str) -> None:
    if is_down:
        logger.warning("The cache server does not answer, reads go to the database: %s", problem)
    else:
        logger.warning("The cache server answers again.")
    cache_outage.send(sender=Store, is_down=is_down, problem=problem)


breaker: Final = Breaker(retry_after_seconds=lambda: options.CACHE_RETRY_AFTER, on_change=_outage_changed)
silence: Final = Silence()
outbox: Final = Outbox(silence)


class Announcement:
    """A write that readers have been told of: MARK is out.

    Args:
        tags: Of the rows it changes.
        alias: Of the database it is written to.
        store: Where it was marked, None where nothing is cached.
    """

    must_be_kept: ClassVar[bool] = False
    """Whether something has to go into the outbox before COMMIT, in the same transaction."""

    def __init__(self, tags: tuple[str, ...], *, alias: str, writer: str, store: Store | None) -> None:
        self._tags = tags
        self._alias = alias
        self._writer = writer
        self._store = store

    def committed(self) -> bool:
        """Say that the write has ended; from now on its rows may be cached again.

        Returns:
            Whether it was heard. See Note [A DONE that is not heard].
        """
        is_heard = True
        if self._store is not None:
            try:
                self._store.done(self._tags, writer=self._writer)
            except StoreError as error:
                breaker.failed(str(error))
                is_heard = False
        forget_everywhere(self._tags)
        return is_heard

    def keep(self, connection: BaseDatabaseWrapper) -> None:
        """Put the tags into the outbox, in the transaction that is open on `connection`, for DONE was not heard.

        Where there is no outbox yet (its migration has not run) no reader trusts the cache, so none need be told.
        """
        try:
            outbox.put(connection, self._tags, writer=self._writer)
        except OutboxMissingError as error:
            logger.info("A write is told to nobody: %s", error)

    def was_kept(self) -> None:
        """Let others find what this process has just committed to the outbox, if writes wait for that."""
        outbox.look_again(self._alias)
        if options.CACHE_OUTAGE_WRITES != "bounded":
            time.sleep(LOOK_EVERY_SECONDS)

    def failed(self) -> None:
        """Say that the write has ended, and has changed nothing."""
        self.committed()

    def lost(self) -> None:
        """Leave it to the lease: nobody knows how the write has ended."""


class SilentWrite:
    """A write that the server could not be told of. See Note [Writing in silence] in `silence`.

    Args:
        tables: Their own tags, of all that it changes.
        lost_mark: The writer of a MARK that the server may yet hear of, empty where none was sent.
        tags: Of that MARK.
    """

    def __init__(
        self, tables: Collection[str], *, alias: str, lost_mark: str = "", tags: tuple[str, ...] = ()
    ) -> None:
        self._tables = tables
        self._alias = alias
        self._lost_mark = lost_mark
        self._tags = tags
        self._moment = silence.moment(alias)
        self._put = 0.0
        self._known_since = silence.rely(alias, tables)

    @property
    def must_be_kept(self) -> bool:
        """Whether something has to go into the outbox before COMMIT, in the same transaction."""
        return bool(self._tables) and (self._known_since is None or bool(self._lost_mark))

    def keep(self, connection: BaseDatabaseWrapper) -> None:
        """Put a notice into the outbox, in the transaction that is open on `connection`; and what a MARK was of.

        Where there is no outbox yet (its migration has not run) no reader trusts the cache, so none need be told.
        """
        put = silence.now()
        try:
            if self._lost_mark:
                outbox.put(connection, self._tags, writer=self._lost_mark)
            if self._known_since is None:
                outbox.put_notice(connection, self._tables, writer=silence.writer(self._alias))
        except OutboxMissingError as error:
            logger.info("A write is told to nobody: %s", error)
        else:
            self._put = put

    def committed(self) -> bool:
        """Note that others will know, and return True; where the setting wants it so, go on when they do."""
        if self._known_since is not None:
            silence.let_go(self._alias)
        elif self._put:
            silence.committed(self._alias, self._tables, put=self._put, moment=self._moment)
        outbox.look_again(self._alias)
        if options.CACHE_OUTAGE_WRITES == "wait":
            now = silence.now()
            since = now if self._known_since is None else self._known_since
            if now < since + LOOK_EVERY_SECONDS:  # a sleep of no time takes the tenth of a millisecond
                time.sleep(since + LOOK_EVERY_SECONDS - now)
        forget_all_everywhere()
        return True

    def was_kept(self) -> None:
        """Do nothing: that has been waited for."""

    def failed(self) -> None:
        """Note that the write has changed nothing, and that its notice is gone with it."""
        if self._known_since is not None:
            silence.let_go(self._alias)
        forget_all_everywhere()

    def lost(self) -> None:
        """Leave it to the end of the notice: nobody knows how the write has ended."""
        silence.lose(self._alias, is_relying=self._known_since is not None)


def announce(
    alias: str, *, tags: Callable[[], Iterable[str]], tables: Callable[[], Collection[str]]
) -> Announcement | SilentWrite:
    """Tell readers that rows are about to change.

    Call it before COMMIT, or before a statement that commits by itself.

    Args:
        tags: Those of the rows.
        tables: The own tags of their tables, which alone matter while the server cannot be told.

    Raises:
        CacheUnavailableError: The server was not told, and the setting refuses such writes.
    """
    store = current_store()
    problem, lost_mark = "it has not answered lately", ""
    sorted_tags: tuple[str, ...] = ()
    if store is None or breaker.allows():
        sorted_tags = tuple(sorted(tags()))
        forget_everywhere(sorted_tags)
        if store is None:
            return Announcement(sorted_tags, alias=alias, writer="", store=None)
        writer = tokens.new_writer()
        try:
            store.mark(sorted_tags, writer=writer)
        except StoreError as error:
            problem, lost_mark = str(error), writer
            breaker.failed(problem)
        else:
            breaker.succeeded()  # reads look into the outbox before they trust the cache again
            return Announcement(sorted_tags, alias=alias, writer=writer, store=store)
    if options.CACHE_OUTAGE_WRITES == "refuse":
        raise CacheUnavailableError(problem)
    forget_all_everywhere()
    return SilentWrite(tables(), alias=alias, lost_mark=lost_mark, tags=sorted_tags)


def leave_in_outbox(connection: BaseDatabaseWrapper, tags: Iterable[str]) -> None:
    """Have readers told of `tags` once the open transaction is committed, whoever does that and when.

    PREPARE TRANSACTION calls for it: until COMMIT PREPARED the tags are as invisible as what was written,
    and after it every process finds them at its next look.
    """
    if current_store() is None:
        return
    try:
        outbox.put(connection, tags, writer=tokens.new_writer())
    except OutboxMissingError as error:
        logger.info("A write is told to nobody: %s", error)


def empty_outbox(connection: BaseDatabaseWrapper) -> None:
    """Tell readers at once of what COMMIT PREPARED has made visible; what was prepared may come from others."""
    store = current_store()
    if store is None:
        return
    try:
        outbox.tell(connection, store)
    except OutboxMissingError:
        return  # no reader trusts the cache
    except (StoreError, Error) as error:
        if isinstance(error, StoreError):
            breaker.failed(str(error))
        outbox.look_again(connection.alias)
        if options.CACHE_OUTAGE_WRITES != "bounded":
            time.sleep(LOOK_EVERY_SECONDS)


def _settings_changed(*, setting: str, **_: object) -> None:
    if setting in {"CACHES", "PERFKIT"}:
        breaker.succeeded()  # another server: nothing is known of it yet


setting_changed.connect(_settings_changed, dispatch_uid="perfkit.caching.coherence")
