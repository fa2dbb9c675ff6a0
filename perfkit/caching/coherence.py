"""MARK, COMMIT, DONE: how a write tells every reader, whatever fails.

# Note [The order of a write]
MARK goes out immediately before COMMIT, DONE after it and before any hook of the project.
Between the two, readers go to the database and store nothing.
A writer that dies there, or does not learn how its COMMIT ended, never says DONE: its lease on the tags ends,
the tokens are gone, and every entry made before is void.
Where the server cannot be told, a notice of that goes into the outbox inside the same transaction.
See Note [Writing in silence] in `silence`.
What scopes of this process know is forgotten before the write, for whatever may interrupt it, and after it,
for what they have asked for meanwhile.

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
from typing import ClassVar, Final, NamedTuple

from django.core.signals import setting_changed
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching import tokens
from perfkit.caching.breaker import Breaker
from perfkit.caching.outbox import Outbox, OutboxMissingError
from perfkit.caching.scope import forget_all_everywhere, forget_everywhere
from perfkit.caching.silence import LOOK_EVERY_SECONDS, Silence
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
        try:
            if self._store is not None:
                self._store.done(self._tags, writer=self._writer)
        except StoreError as error:
            breaker.failed(str(error))
            return False
        finally:
            forget_everywhere(self._tags)
        return True

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
        forget_everywhere(self._tags)


class LostMark(NamedTuple):
    """A MARK that was not answered: the server may yet hear of it."""

    tags: tuple[str, ...]
    writer: str


class SilentWrite:
    """A write that the server could not be told of, and that relies on the notice of an earlier one.

    See Note [Writing in silence] in `silence`.

    Args:
        known_at: When others must have found that notice, on the monotonic clock; 0.0 where they have.
        others: Tags of no table, of which notices say nothing.
    """

    __slots__ = ("_alias", "_known_at", "_lost_mark", "_others")

    def __init__(
        self, alias: str, known_at: float, *, lost_mark: LostMark | None = None, others: Collection[str] = ()
    ) -> None:
        self._alias = alias
        self._known_at = known_at
        self._lost_mark = lost_mark
        self._others = others

    @property
    def must_be_kept(self) -> bool:
        """Whether something has to go into the outbox before COMMIT, in the same transaction."""
        return self._lost_mark is not None or bool(self._others)

    def keep(self, connection: BaseDatabaseWrapper) -> None:
        """Put into the outbox what others must find there, in the transaction that is open on `connection`.

        Where there is no outbox yet (its migration has not run) no reader trusts the cache, so none need be told.
        """
        try:
            if self._lost_mark is not None:
                outbox.put(connection, self._lost_mark.tags, writer=self._lost_mark.writer)
            elif self._others:
                outbox.put(connection, self._others, writer=tokens.new_writer())
            self._put_notice(connection)
        except OutboxMissingError as error:
            logger.info("A write is told to nobody: %s", error)

    def committed(self) -> bool:
        """Rely on the notice no longer, and return True; where the setting wants it so, go on when others know."""
        silence.let_go(self._alias)
        if self._others:
            outbox.look_again(self._alias)
            _await_others(silence.now() + LOOK_EVERY_SECONDS)
        elif self._known_at:
            _await_others(self._known_at)
        return True

    def was_kept(self) -> None:
        """Do nothing: that has been waited for."""

    def failed(self) -> None:
        """Note that the write has changed nothing."""
        silence.let_go(self._alias)

    def lost(self) -> None:
        """Leave it to the end of the notice: nobody knows how the write has ended."""
        silence.lose(self._alias, is_relying=True)

    def _put_notice(self, connection: BaseDatabaseWrapper) -> None:
        """Do nothing: the notice stands."""


class FirstSilentWrite(SilentWrite):
    """One that leaves the notice itself.

    Args:
        tables: Their own tags, of all that it changes.
    """

    __slots__ = ("_moment", "_put", "_tables")

    def __init__(
        self,
        alias: str,
        tables: Collection[str],
        *,
        lost_mark: LostMark | None = None,
        others: Collection[str] = (),
    ) -> None:
        super().__init__(alias, 0.0, lost_mark=lost_mark, others=others)
        self._tables = tables
        self._moment = silence.moment(alias)
        self._put = 0.0

    @property
    def must_be_kept(self) -> bool:
        """Whether it changes anything."""
        return bool(self._tables) or super().must_be_kept

    def committed(self) -> bool:
        """Note that others will know, and return True; where the setting wants it so, go on when they do."""
        try:
            if self._put:
                silence.committed(self._alias, self._tables, put=self._put, moment=self._moment)
            outbox.look_again(self._alias)
            _await_others(silence.now() + LOOK_EVERY_SECONDS)
        finally:
            forget_all_everywhere()
        return True

    def failed(self) -> None:
        """Note that the write has changed nothing, and that its notice is gone with it."""

    def lost(self) -> None:
        """Leave it to the end of the notice, if that was committed."""
        silence.lose(self._alias, is_relying=False)
        forget_all_everywhere()

    def _put_notice(self, connection: BaseDatabaseWrapper) -> None:
        if not self._tables:
            return
        put = silence.now()
        outbox.put_notice(connection, self._tables, writer=silence.writer(self._alias))
        self._put = put


def _await_others(known_at: float) -> None:
    """Wait, where the setting wants it so, until others must have found a notice in the outbox."""
    if options.CACHE_OUTAGE_WRITES == "wait":
        time.sleep(max(known_at - silence.now(), 0.0))


def silent_write(alias: str, tables: Collection[str]) -> SilentWrite | None:
    """Return the write where the server cannot be told, and others know already that its tables are written.

    It is to be ended in one of its three ways. In an outage most writes are of this kind.

    Args:
        tables: The own tags of all tables that it may change.
    """
    return _relying(alias, tables) if breaker.rests else None


def _relying(
    alias: str, tables: Collection[str], *, lost_mark: LostMark | None = None, others: Collection[str] = ()
) -> SilentWrite | None:
    """Return the write that relies on notices, None where it must leave one.

    What scopes know is forgotten before the write, and need not be after it:
    while it relies on the notice, no read of this process trusts the cache with these tables.
    """
    known_at = silence.rely(alias, tables)
    if known_at is None:
        return None
    forget_all_everywhere()
    return SilentWrite(alias, known_at, lost_mark=lost_mark, others=others)


def announce(
    alias: str,
    *,
    tags: Callable[[], Iterable[str]],
    tables: Callable[[], Collection[str]],
    others: Callable[[], Collection[str]] = tuple,
) -> Announcement | SilentWrite:
    """Tell readers that rows are about to change.

    Call it before COMMIT, or before a statement that commits by itself.

    Args:
        tags: Those of the rows.
        tables: The own tags of their tables, which alone matter while the server cannot be told.
        others: Those among `tags` that are of no table; these matter then too.

    Raises:
        CacheUnavailableError: The server was not told, and the setting refuses such writes.
    """
    store = current_store()
    problem = "it has not answered lately"
    lost_mark = None
    if store is None or breaker.allows():
        sorted_tags = tuple(sorted(tags()))
        forget_everywhere(sorted_tags)
        if store is None:
            return Announcement(sorted_tags, alias=alias, writer="", store=None)
        writer = tokens.new_writer()
        try:
            if breaker.is_open:
                store.probe()
            store.mark(sorted_tags, writer=writer)
        except StoreError as error:
            problem = str(error)
            lost_mark = LostMark(sorted_tags, writer)
            breaker.failed(problem)
        else:
            breaker.succeeded()  # reads look into the outbox before they trust the cache again
            return Announcement(sorted_tags, alias=alias, writer=writer, store=store)
    if options.CACHE_OUTAGE_WRITES == "refuse":
        raise CacheUnavailableError(problem)
    changed, besides = tables(), others()
    write = _relying(alias, changed, lost_mark=lost_mark, others=besides)
    if write is not None:
        return write
    forget_all_everywhere()
    return FirstSilentWrite(alias, changed, lost_mark=lost_mark, others=besides)


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
