"""A session of the advisor's own, past Django's connections, that gives way to everybody else.

# Note [One statement at a time]
What is explained was captured, and what is built is made of it: somebody else may have chosen its values.
They are read by PostgreSQL's own parser and written down anew, each in quotes.
Besides, whatever has no parameters is sent by the protocol that takes one statement and no more,
so that even a text that was read otherwise than it was meant ends nothing and begins nothing.
What a backslash means, the parser and the session agree on: `standard_conforming_strings` is on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.db import DatabaseError, Error, connections

from perfkit.postgres.session import sqlstate

LOCK_TIMEOUT: Final = "2s"
LONGEST_STATEMENT_SECONDS: Final = 60.0
SAVEPOINT: Final = "perfkit_read"
CANCELLED: Final = "57014"


class OutOfTimeError(Exception):
    """The deadline has come; what was found until then holds."""


@dataclass
class Session:
    """One connection to PostgreSQL, in autocommit.

    Args:
        wrapper: Django's, a copy of the project's; nothing is recorded of what it sends.
        left_seconds: Until the deadline.
        kept_seconds: Of these, for what comes after.
    """

    wrapper: Any
    left_seconds: Callable[[], float]
    kept_seconds: float = 0.0

    @cached_property
    def is_pooled(self) -> bool:
        """Whether a pooler stands in between: what is set for the session would be set for others."""
        return bool(self.value("SELECT pg_backend_pid()") != self.wrapper.connection.info.backend_pid)

    def run(self, sql: str, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Send one statement, and return its rows; see Note [One statement at a time].

        Raises:
            Error: Django's, as of any statement.
            OutOfTimeError: The server has ended it, for the deadline has come.
        """
        try:
            return self._sent(sql, params)
        except DatabaseError as error:
            if sqlstate(error) == CANCELLED and self._usable_seconds() <= 0:
                raise OutOfTimeError from error
            raise

    def _sent(self, sql: str, params: Sequence[Any] | None) -> list[tuple[Any, ...]]:
        if params is not None:
            with self.wrapper.wrap_database_errors, self.wrapper.connection.cursor() as cursor:
                cursor.execute(sql, params)
                return list(cursor.fetchall()) if cursor.description else []
        import psycopg  # of PostgreSQL alone; perfkit starts without it

        with self.wrapper.wrap_database_errors, psycopg.Cursor(self.wrapper.connection) as one:
            one.execute(sql.encode(), binary=True)
            return list(one.fetchall()) if one.description else []

    def value(self, sql: str, params: Sequence[Any] | None = None) -> Any:
        """Return the one value of one row."""
        return self.run(sql, params)[0][0]

    def limit(self, most_seconds: float = LONGEST_STATEMENT_SECONDS) -> None:
        """Let the next statements take no longer than that, nor than the deadline.

        Raises:
            OutOfTimeError: It has come.
        """
        left = self._usable_seconds()
        if left <= 0:
            raise OutOfTimeError
        if not self.is_pooled:  # what ends by the deadline ends after it
            self.run(f"SET statement_timeout = {1 + int(1000 * min(left, most_seconds))}")

    @contextmanager
    def keeping(self, part: float) -> Iterator[None]:
        """Within the block this part of the time that is left counts as gone."""
        before = self.kept_seconds
        self.kept_seconds += part * max(0.0, self._usable_seconds())
        try:
            yield
        finally:
            self.kept_seconds = before

    def _usable_seconds(self) -> float:
        return self.left_seconds() - self.kept_seconds

    @contextmanager
    def transaction(self, *, keep: bool = False) -> Iterator[None]:
        """Run the block in a transaction; at its end all is undone, unless it is to be kept."""
        self.run("BEGIN")
        try:
            if self.is_pooled:  # else it is set for the session
                self.run("SET LOCAL standard_conforming_strings = on")
            yield
        except BaseException:
            self._end("ROLLBACK")
            raise
        self._end("COMMIT" if keep else "ROLLBACK")

    @contextmanager
    def aside(self, *, read_only: bool = False) -> Iterator[None]:
        """Run the block within a transaction, and undo what it did, also after an error."""
        self.run(f"SAVEPOINT {SAVEPOINT}")
        try:
            if read_only:
                self.run("SET LOCAL transaction_read_only = on")
            yield
        finally:
            self._end(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
            self._end(f"RELEASE SAVEPOINT {SAVEPOINT}")

    def quote(self, name: str) -> str:
        """Return a name as SQL."""
        return str(self.wrapper.ops.quote_name(name))

    def _end(self, sql: str) -> None:
        if not self.wrapper.connection.closed:  # a session that died has ended it itself
            self.run(sql)


@contextmanager
def session_of(using: str, left_seconds: Callable[[], float]) -> Iterator[Session]:
    """Open a session to the same database as `using`, with its rights, and close it at the end.

    Raises:
        Error: It cannot be opened.
    """
    wrapper: Any = connections[using].copy()
    wrapper.settings_dict["OPTIONS"] = {
        name: value for name, value in wrapper.settings_dict["OPTIONS"].items() if name != "pool"
    }
    with wrapper.wrap_database_errors:
        wrapper.connection = wrapper.get_new_connection(wrapper.get_connection_params())
    wrapper.connection.autocommit = True
    session = Session(wrapper, left_seconds)
    try:
        if not session.is_pooled:
            session.run(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
            session.run("SET standard_conforming_strings = on")  # as samples are read
            session.run("SET synchronize_seqscans = off")  # rows in the order in which they lie
            _notice_death(session)
        yield session
    finally:
        wrapper.connection.close()


def _notice_death(session: Session) -> None:
    """Have the server end a long statement soon after this process has been killed, where it can."""
    try:
        session.run("SET client_connection_check_interval = '1s'")
    except Error:
        # Not on this platform: the statement ends by its timeout.
        session.run("SET client_connection_check_interval = 0")
