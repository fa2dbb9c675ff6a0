"""Sees every write of a connection, and has it announced around COMMIT.

One `WriteTracker` sits on each connection: as an execute wrapper it reads the statements, and it stands around
the connection's own commit and rollback. What commits is run by `commits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import local
from typing import Any, Final
from weakref import WeakSet, ref

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from perfkit.caching.coherence import leave_in_outbox
from perfkit.caching.commits import Commits
from perfkit.caching.databases import is_watchable, tag_scope
from perfkit.caching.observed import facts_of, forget_columns, observed
from perfkit.caching.registry import plain_table_name, table_name, tracked_tables
from perfkit.caching.sessions import Settings, may_commit, may_set, stands_alone
from perfkit.caching.sources import watched_table, watched_tables
from perfkit.caching.statements import MOST_ROW_TAGS, Statement, statement_of, value_tags
from perfkit.caching.tags import any_write_tag, coarsened, row_tag, table_tag
from perfkit.errors import PreparedTransactionError

ATTRIBUTE: Final = "_perfkit_writes"
MOST_TAGS: Final = 10_000
"""Row tags that one transaction gathers before those of its most written tables become one each."""

READ_COMMITTED: Final = 2
"""`psycopg.IsolationLevel.READ_COMMITTED`; higher levels keep a snapshot."""

_changed_sessions: Final[WeakSet[Any]] = WeakSet()
"""The driver's connections with a session of their own: a pool may hand them to others."""


class WriteTracker:
    """What the open transaction of one connection has written, and whether it reads from an old snapshot."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._django_commit: Callable[[], None] = connection._commit  # type: ignore[attr-defined]  # noqa: SLF001  # Django has no hook before COMMIT
        self._django_rollback: Callable[[], None] = connection._rollback  # type: ignore[attr-defined]  # noqa: SLF001  # likewise
        self._django_set_autocommit: Callable[[bool], None] = connection._set_autocommit  # type: ignore[attr-defined]  # noqa: SLF001  # likewise
        self._commits = Commits(connection, commit=self._django_commit, rollback=self._django_rollback)
        self._isolation_was_set = False
        self._isolation_was_set_for_session = False
        self._snapshot_by_default: bool | None = None
        self._has_written = False
        self._session_was_changed = False
        self._session_was_changed_locally = False
        self._coarsen_at = MOST_TAGS
        self.pending: set[str] = set()

    @property
    def in_transaction(self) -> bool:
        """Whether statements wait for a COMMIT; a BEGIN that was sent as a statement counts too."""
        connection = self._connection
        if connection.in_atomic_block:
            return True
        if connection.connection is None:
            return not connection.settings_dict["AUTOCOMMIT"]
        return not connection.autocommit or self._commits.driver_is_in_transaction

    @property
    def keeps_snapshot(self) -> bool:
        """Whether the open transaction may see less than what others have committed since it began."""
        return self.in_transaction and (
            self._isolation_was_set or self._isolation_was_set_for_session or self._asks_for_snapshots()
        )

    @property
    def has_written(self) -> bool:
        """Whether the open transaction may see rows that nobody else sees; what it reads must not be stored."""
        return self.in_transaction and self._has_written

    @property
    def has_own_session(self) -> bool:
        """Whether a setting of this session may make it see other rows or values than sessions of its alias do."""
        if self._connection.connection is None:
            return False  # the next one is another, or is known again from its pool
        return self._session_was_changed or (self._session_was_changed_locally and self.in_transaction)

    def reconnected(self) -> None:
        """Forget what belonged to the connection that is gone; one from a pool may have been used before."""
        self._forget()
        self._isolation_was_set_for_session = False
        self._snapshot_by_default = None
        self._session_was_changed = self._connection.connection in _changed_sessions

    def wrote(self, tags: frozenset[str]) -> None:
        """Add tags of rows that the open transaction wrote past this wrapper."""
        self.pending |= tags
        self._has_written = True
        if len(self.pending) > self._coarsen_at:
            self.pending = coarsened(self.pending, most_rows=MOST_ROW_TAGS)
            self._coarsen_at = MOST_TAGS + 2 * len(self.pending)

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        """Run one statement, as an execute wrapper of Django's."""
        text = _text_of(sql, self._connection)
        if text.startswith("SELECT ") and ";" not in text and not may_set(text):
            return execute(sql, params, many, context)
        statement = statement_of(text, watched_tables())
        if statement.concerns_nobody:
            try:
                return execute(sql, params, many, context)
            finally:
                self._passed()
        self._note_settings(statement.sets)
        if statement.changes_tables:
            forget_columns()
        cursor = context["cursor"].cursor
        if self._can_observe(statement, params, cursor, many=many):
            observe = partial(
                self._observed, statement, lambda returning: execute(text + returning, params, many, context)
            )
            return observe(params=params, cursor=cursor)
        run = partial(execute, sql, params, many, context)
        if not statement.is_read:
            tags = partial(self._tags_of, statement, params, many=many)
            if statement.prepares and (self.pending or tags()):
                return self._prepared(text, run)
            if statement.is_tracked and not self.in_transaction:
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
        if self.in_transaction:  # it has itself opened one, and left it open
            self.wrote(tags())
        return answer

    def _ended(self, statement: Statement, text: str, run: Callable[[], Any]) -> Any:
        """Run a statement that may end the open transaction."""
        if statement.commits_prepared:
            return self._commits.prepared(run)
        ends = self.pending and self._may_commit(text)
        answer = self._commits.transaction(self.pending, run) if ends else run()
        if not self.in_transaction:
            self._forget()
        return answer

    def _passed(self) -> None:
        """Note that a write has run which concerns nobody, or a part of it.

        Its text may have begun or ended a transaction.
        """
        if self.in_transaction:
            self._has_written = True
        else:
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
        return is_fit and not self.has_own_session

    def _observed(
        self, statement: Statement, run: Callable[[str], Any], *, params: Sequence[Any], cursor: Any
    ) -> Any:
        """Run a write of rows of a table with declared columns. See Note [The former value] in `observed`.

        What would have committed by itself is a transaction, for its tags are only known when it has run.
        """
        if not self.in_transaction:
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

    def _note_settings(self, sets: Settings) -> None:
        """Note what a statement is about to set; even a text that fails may have set it before."""
        if sets.session or not sets.temporary.isdisjoint(tracked_tables()):
            self._session_was_changed = True
            if self._connection.vendor == "postgresql" and self._connection.connection is not None:
                _changed_sessions.add(self._connection.connection)
        self._session_was_changed_locally |= sets.transaction
        self._isolation_was_set |= sets.isolation
        self._isolation_was_set_for_session |= sets.isolation_of_session

    def _forget(self) -> None:
        self.pending.clear()
        self._coarsen_at = MOST_TAGS
        self._has_written = False
        self._isolation_was_set = False
        self._session_was_changed_locally = False

    def _asks_for_snapshots(self) -> bool:
        """Say whether transactions keep one snapshot by default; PostgreSQL is asked once per connection."""
        if self._connection.vendor == "sqlite":
            return True
        if self._snapshot_by_default is None:
            with self._connection.wrap_database_errors:
                [level] = self._connection.connection.execute("SHOW default_transaction_isolation").fetchone()
            self._snapshot_by_default = level not in {"read committed", "read uncommitted"}
        chosen = getattr(self._connection, "isolation_level", None)
        return self._snapshot_by_default or (chosen is not None and int(chosen) > READ_COMMITTED)


class _Opened(local):
    """The connections that this thread has opened last, by alias."""

    def __init__(self) -> None:
        self.by_alias: dict[str, ref[BaseDatabaseWrapper]] = {}


_opened: Final = _Opened()


def opened_connection(alias: str) -> BaseDatabaseWrapper | None:
    """Return the connection that tells whether this thread is in a transaction, None where it has opened none.

    Asking Django for it takes longer than all else that a hit in the process needs.
    """
    found = _opened.by_alias.get(alias)
    return None if found is None else found()


def attach(*, connection: BaseDatabaseWrapper, **_: object) -> None:
    """Put a tracker onto a connection that was just opened; receiver of Django's `connection_created`."""
    if not is_watchable(connection):
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


def tracker_of(connection: BaseDatabaseWrapper) -> WriteTracker | None:
    """Return the connection's tracker, None where it was never opened."""
    return getattr(connection, ATTRIBUTE, None)


def rows_were_written(
    *, sender: type[Model], using: str, pks: Iterable[Any] | None, operation: str, **_: object
) -> None:
    """Take the tags of rows written past the cursor; receiver of `perfkit.signals.rows_written`."""
    connection = connections[using]
    tracker = tracker_of(connection)
    if tracker is None:
        return  # a database that nothing is cached from
    if not tracker.in_transaction:
        raise RuntimeError(
            f"rows_written was sent for {sender._meta.label} outside the transaction that writes them"
        )
    table = watched_table(table_name(sender))
    if table is None:
        tracker.wrote(frozenset())
        return
    scope = tag_scope(connection)
    changed = table.changes if operation in {"insert", "update"} else table.changes | table.cascades
    tracker.wrote(frozenset(tag(scope, name) for name in changed for tag in (any_write_tag, table_tag)))
    if not table.is_read:
        return
    tags = {any_write_tag(scope, table.name)}
    if table.declared:
        tags.add(table_tag(scope, table.name))  # nobody says which values the rows have, or had
    elif pks is not None:
        keys = [table.to_pk(pk) for pk in pks]
        if len(keys) > MOST_ROW_TAGS or any(key is None for key in keys):
            tags.add(table_tag(scope, table.name))
        else:
            tags |= {row_tag(scope, table.name, key) for key in keys if key is not None}
    elif operation != "insert":  # on new rows no read that found a row by its key depends
        tags.add(table_tag(scope, table.name))
    tracker.wrote(frozenset(tags))


def _text_of(sql: Any, connection: BaseDatabaseWrapper) -> str:
    """Return a statement as text, for drivers take bytes and composed objects too."""
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes):
        return sql.decode("utf-8", "replace")
    return str(sql.as_string(connection.connection)) if hasattr(sql, "as_string") else str(sql)
