"""Sees every write of a connection, and has it announced around COMMIT.

One `WriteTracker` sits on each connection: as an execute wrapper it reads the statements, and it stands around
the connection's own commit and rollback. What commits is run by `commits`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from threading import local
from typing import Any, Final
from weakref import ref

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching.coherence import breaker, leave_in_outbox, silent_write
from perfkit.caching.commits import Commits
from perfkit.caching.databases import connection_of_thread, connections_of_thread, is_watchable, tag_scope
from perfkit.caching.named.read_tables import forget_catalogue
from perfkit.caching.observed import facts_of, forget_columns, observed
from perfkit.caching.recorder import current_recorder
from perfkit.caching.registry import plain_table_name, tracked_tables
from perfkit.caching.sessions import may_commit, may_set, stands_alone
from perfkit.caching.sources import watched_tables
from perfkit.caching.statements import MOST_ROW_TAGS, Statement, statement_of, value_tags
from perfkit.caching.tags import coarsened
from perfkit.caching.visibility import Visibility, driver_is_in_transaction
from perfkit.errors import PreparedTransactionError

ATTRIBUTE: Final = "_perfkit_writes"
MOST_TAGS: Final = 10_000
"""Row tags that one transaction gathers before those of its most written tables become one each."""


class WriteTracker:
    """What the open transaction of one connection has written.

    Attributes:
        visibility: What its reads may see.
        pending: The tags of what the open transaction has written.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._django_commit: Callable[[], None] = connection._commit  # type: ignore[attr-defined]  # noqa: SLF001  # Django has no hook before COMMIT
        self._django_rollback: Callable[[], None] = connection._rollback  # type: ignore[attr-defined]  # noqa: SLF001  # likewise
        self._django_set_autocommit: Callable[[bool], None] = connection._set_autocommit  # type: ignore[attr-defined]  # noqa: SLF001  # likewise
        self._commits = Commits(connection, commit=self._django_commit, rollback=self._django_rollback)
        self._has_written = False
        self._coarsen_at = MOST_TAGS
        self.visibility = Visibility(connection)
        self.pending: set[str] = set()

    @property
    def has_written(self) -> bool:
        """Whether the open transaction may see rows that nobody else sees; what it reads must not be stored."""
        return self.visibility.in_transaction and self._has_written

    def reconnected(self) -> None:
        """Forget what belonged to the connection that is gone."""
        self._forget()
        self.visibility.reconnected()

    def wrote(self, tags: frozenset[str], *, is_own: bool = True) -> None:
        """Add tags of rows that the open transaction wrote past this wrapper.

        Args:
            is_own: Whether it may see what nobody else sees; tags that are voided with it alone change no row.
        """
        self.pending |= tags
        self._has_written |= is_own
        if len(self.pending) > self._coarsen_at:
            self.pending = coarsened(self.pending, most_rows=MOST_ROW_TAGS)
            self._coarsen_at = MOST_TAGS + 2 * len(self.pending)

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        """Run one statement, as an execute wrapper of Django's."""
        text = self._recorded_text(sql)
        if text.startswith("SELECT ") and ";" not in text and not may_set(text):
            return execute(sql, params, many, context)
        statement = statement_of(text, watched_tables())
        if statement.concerns_nobody:
            try:
                return execute(sql, params, many, context)
            finally:
                self._passed()
        if statement.only_writes:
            if breaker.is_open and not self.visibility.in_transaction:
                write = silent_write(self._connection.alias, statement.tables(tag_scope(self._connection)))
                if write is not None:
                    answer = self._commits.ended(write, execute, sql, params, many, context)
                    if driver_is_in_transaction(self._connection):  # it, or the driver, has begun one
                        self.wrote(self._tags_of(statement, params, many=many))
                    return answer
        else:
            self.visibility.note(statement.sets)
            if statement.changes_tables:
                forget_columns()
                forget_catalogue()
        cursor = context["cursor"].cursor
        if self._can_observe(statement, params, cursor, many=many):
            return self._observed(
                statement,
                lambda returning: execute(text + returning, params, many, context),
                params=params,
                cursor=cursor,
            )
        run = partial(execute, sql, params, many, context)
        if statement.is_read:
            return self._ended(statement, text, run)
        return self._written(statement, text, run, tags=partial(self._tags_of, statement, params, many=many))

    def _recorded_text(self, sql: Any) -> str:
        """Return a statement as text; who wants to know what is read is told of it."""
        text = sql if isinstance(sql, str) else _text_of(sql, self._connection)
        recorder = current_recorder()
        if recorder is not None:
            recorder.about_to_run(self._connection, text)
        return text

    def _written(
        self, statement: Statement, text: str, run: Callable[[], Any], *, tags: Callable[[], frozenset[str]]
    ) -> Any:
        """Run what may change rows."""
        if statement.prepares and (self.pending or tags()):
            return self._prepared(text, run)
        if statement.is_tracked and not self.visibility.in_transaction:
            return self._committing(statement, run, tags)
        self.wrote(tags())
        return self._ended(statement, text, run)

    def _committing(
        self, statement: Statement, run: Callable[[], Any], tags: Callable[[], frozenset[str]]
    ) -> Any:
        """Run a write that commits by itself."""
        answer = self._commits.statement(
            run, tags=tags, tables=lambda: statement.tables(tag_scope(self._connection))
        )
        if self.visibility.in_transaction:  # it, or the driver, has begun one
            self.wrote(tags())
        return answer

    def _ended(self, statement: Statement, text: str, run: Callable[[], Any]) -> Any:
        """Run a statement that may end the open transaction."""
        if statement.commits_prepared:
            return self._commits.prepared(run)
        ends = self.pending and self._may_commit(text)
        answer = self._commits.transaction(self.pending, run) if ends else run()
        if not self.visibility.in_transaction:
            self._forget()
        return answer

    def _passed(self) -> None:
        """Note that a write has run which concerns nobody, or a part of it.

        Its text may have begun or ended a transaction.
        """
        if self.visibility.in_transaction:
            self._has_written = True
        elif self._has_written or self.visibility.is_marked:
            self._forget()

    def commit(self) -> None:
        """Stand in for the connection's `_commit`."""
        try:
            if self.pending:
                self._commits.transaction(self.pending, self._django_commit)
            else:
                self._django_commit()
        finally:
            self._forget()

    def rollback(self) -> None:
        """Stand in for the connection's `_rollback`."""
        self._django_rollback()
        self._forget()

    def set_autocommit(self, autocommit: bool) -> None:
        """Stand in for the connection's `_set_autocommit`: on SQLite, turning it on commits what is open."""
        if autocommit and self.pending and self._connection.vendor == "sqlite":
            self._commits.transaction(self.pending, partial(self._django_set_autocommit, autocommit))
            self._forget()
        else:
            self._django_set_autocommit(autocommit)

    def _tags_of(self, statement: Statement, params: Any, *, many: bool) -> frozenset[str]:
        scope = tag_scope(self._connection)
        tags = statement.tags(scope, params, many=many)
        return tags if self._keeps_values(statement) else tags | statement.table_tags(scope)

    def _can_observe(self, statement: Statement, params: Any, cursor: Any, *, many: bool) -> bool:
        """Say whether the statement can tell which values of declared columns it changes."""
        write = statement.by_key
        if write is None or many or not self._can_ask or not isinstance(params, list | tuple):
            return False
        if getattr(cursor.row_factory, "__name__", "") != "tuple_row":
            return False  # its caller wants rows of another kind
        return facts_of(self._connection, write.table, [column.name for column in write.columns]).tells

    def _keeps_values(self, statement: Statement) -> bool:
        """Say whether new rows have the values that their INSERT gives to declared columns."""
        if not statement.inserted or self._connection.vendor != "postgresql":
            return True  # no trigger of SQLite's changes the row that is being inserted
        table = tracked_tables()[plain_table_name(statement.inserted)]
        if not self._can_ask:
            return False
        return facts_of(
            self._connection, statement.inserted, [column.name for column in table.declared]
        ).keeps

    @property
    def _can_ask(self) -> bool:
        """Whether the catalogue can be asked now, of the tables that the statement means."""
        connection = self._connection
        is_fit = connection.vendor == "postgresql" and not connection.needs_rollback
        return is_fit and not self.visibility.has_own_session

    def _observed(
        self, statement: Statement, run: Callable[[str], Any], *, params: Sequence[Any], cursor: Any
    ) -> Any:
        """Run a write of rows of a table with declared columns. See Note [The former value] in `observed`.

        What would have committed by itself is a transaction, for its tags are only known when it has run.
        """
        if not self.visibility.in_transaction:
            with transaction.atomic(using=self._connection.alias):
                return self._observed(statement, run, params=params, cursor=cursor)
        scope = tag_scope(self._connection)
        by_key = statement.by_key
        assert by_key is not None  # noqa: S101  # only such statements come here
        self.wrote(statement.row_tags(scope, params) or statement.tags(scope, params, many=False))
        answer, values = observed(self._connection, by_key, run, params=params, cursor=cursor)
        self.wrote(value_tags(scope, plain_table_name(by_key.table), by_key.columns, values))
        return answer

    def _prepared(self, text: str, prepare: Callable[[], Any]) -> Any:
        """Run PREPARE TRANSACTION; who commits it later, and when, is not known here. See `leave_in_outbox`."""
        if not stands_alone(text):
            raise PreparedTransactionError
        if self.pending:
            leave_in_outbox(self._connection, coarsened(self.pending, most_rows=MOST_ROW_TAGS))
        answer = prepare()
        self._forget()
        return answer

    def _may_commit(self, text: str) -> bool:
        """Say whether a statement may end the transaction; RELEASE within a block of Django's does not."""
        connection = self._connection
        is_within = connection.in_atomic_block and connection.commit_on_exit
        return may_commit(text, by_release=connection.vendor == "sqlite" and not is_within)

    def _forget(self) -> None:
        self.pending.clear()
        self._coarsen_at = MOST_TAGS
        self._has_written = False
        self.visibility.transaction_ended()


class _Opened(local):
    """The connections that this thread has opened last, by alias."""

    def __init__(self) -> None:
        self.by_alias: dict[str, ref[BaseDatabaseWrapper]] = {}


_opened: Final = _Opened()


def opened_connections() -> list[BaseDatabaseWrapper]:
    """Return the connections of this thread that were opened, by it or by one that has handed them over.

    Others may have been opened under the same names, copies of them for example; these tell nothing of reads.
    """
    return [each for each in connections_of_thread() if getattr(each, ATTRIBUTE, None) is not None]


def opened_trackers() -> list[WriteTracker]:
    """Return the trackers of `opened_connections`."""
    found = [getattr(each, ATTRIBUTE, None) for each in connections_of_thread()]
    return [tracker for tracker in found if tracker is not None]


def opened_connection(alias: str) -> BaseDatabaseWrapper | None:
    """Return the connection that tells whether this thread is in a transaction, None where it has opened none.

    Asking Django for it takes longer than all else that a hit in the process needs.
    """
    found = _opened.by_alias.get(alias)
    connection = None if found is None else found()
    return connection if connection is connection_of_thread(alias) else None


def attach(*, connection: BaseDatabaseWrapper, **_: object) -> None:
    """Put a tracker onto a connection that was just opened; receiver of Django's `connection_created`."""
    if not is_watchable(connection):
        if _tell_of_unwatched not in connection.execute_wrappers:
            connection.execute_wrappers.insert(0, _tell_of_unwatched)
        return
    tracker: WriteTracker | None = getattr(connection, ATTRIBUTE, None)
    if tracker is None:
        tracker = WriteTracker(connection)
        setattr(connection, ATTRIBUTE, tracker)
        connection._commit = tracker.commit  # type: ignore[attr-defined]  # noqa: SLF001  # no hook before COMMIT
        connection._rollback = tracker.rollback  # type: ignore[attr-defined]  # noqa: SLF001  # likewise
        connection._set_autocommit = tracker.set_autocommit  # type: ignore[attr-defined]  # noqa: SLF001  # likewise
    tracker.reconnected()
    _opened.by_alias[connection.alias] = ref(connection)
    if tracker not in connection.execute_wrappers:
        # In front: `connection.execute_wrapper()` pops the last one at its end, which must not be this one.
        connection.execute_wrappers.insert(0, tracker)


def _tell_of_unwatched(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    """Run a statement of a driver whose writes nobody sees: what was made of its answer cannot be kept."""
    recorder = current_recorder()
    if recorder is not None:
        recorder.refuse("driver")
    return execute(sql, params, many, context)


def tracker_of(connection: BaseDatabaseWrapper) -> WriteTracker | None:
    """Return the connection's tracker, None where it was never opened."""
    return getattr(connection, ATTRIBUTE, None)


def _text_of(sql: Any, connection: BaseDatabaseWrapper) -> str:
    """Return a statement as text that is none: drivers take bytes and composed objects too."""
    if isinstance(sql, bytes):
        return sql.decode("utf-8", "replace")
    return str(sql.as_string(connection.connection)) if hasattr(sql, "as_string") else str(sql)
