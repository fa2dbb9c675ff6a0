"""One statement that the server runs while the caller's next rows are read (PostgreSQL).

# Note [A statement under way]

It is sent, and its answer left until somebody wants it.
Whatever uses the connection takes psycopg's lock first. So a lock of ours stands in its place meanwhile, and has
the answer fetched before it lets anybody in: the caller's own queries find the statement done.
Where it fails, its savepoint is rolled back before anybody is let in.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    from psycopg import Connection, Cursor, Error
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGresult

T = TypeVar("T")
Stop = Callable[["Connection[Any]"], None]

SAVEPOINT: Final = "perfkit_running"
STOP_SECONDS: Final = 5.0
"""How long a server may take to hear that a statement is not wanted any more."""


class RunningStatement:
    """A statement in a savepoint of its own. See Note [A statement under way].

    What listens to statements hears of it as it begins; its time is not known then.
    Within a transaction that has begun.

    Args:
        before, after: Statements that are run with it, of which nobody hears.
    """

    def __init__(self, connection: BaseDatabaseWrapper, *, before: str, after: str) -> None:
        self._connection = connection
        self._before = before
        self._after = after
        self._driver: Connection[Any] | None = None
        self._lock = Lock()
        self._changed = 0
        self._error: Error | None = None
        self._is_abandoned = False

    def start(self, statement: str) -> None:
        """Let it begin."""
        cursor: Any = self._connection.cursor()
        cursor.cursor = Deferring(cursor.cursor, self._begin)
        cursor.execute(statement)

    def wait(self) -> int:
        """Return how many rows it has changed, once it is done.

        Raises:
            django.db.Error: The server refuses it.
        """
        self._finish()
        with self._connection.wrap_database_errors:
            if self._error is not None:
                raise self._error
        return self._changed

    def abandon(self) -> None:
        """Have the server stop, and return once it has; the outcome is of no account, for all is rolled back."""
        if self._driver is not None:
            self._is_abandoned = True
            stop(self._driver)
            self._finish()

    def _begin(self, driver: Connection[Any], statement: str) -> None:
        own = driver.lock
        with own:
            self._driver, self._lock = driver, own  # known before it begins
            driver.lock = Handing(own, self._finish)  # type: ignore[assignment]  # acts as one
            _send(
                driver,
                f"SAVEPOINT {SAVEPOINT}; {self._before}; {statement}\n; "
                f"{self._after}; RELEASE SAVEPOINT {SAVEPOINT}",
            )

    def _finish(self) -> None:
        """Fetch the answer, where it was not fetched yet, and give the connection back to its own lock."""
        from psycopg import Error
        from psycopg.pq import TransactionStatus

        with self._lock:
            driver = self._driver
            if driver is None:
                return
            try:
                self._changed = _answer(driver, stop=stop if self._is_abandoned else None)
            except Error as error:
                self._error = error
            finally:
                if (
                    driver.pgconn.transaction_status != TransactionStatus.ACTIVE
                ):  # an interrupt may leave it so
                    self._driver = None
                    driver.lock = self._lock


def stop(driver: Connection[Any]) -> None:
    """Have the server stop what it does for a connection."""
    from psycopg import Error

    with suppress(Error):  # where nobody listens any more, the statement ends by that
        driver.cancel_safe(timeout=STOP_SECONDS)


class Handing:
    """Stands in the place of a connection's lock while a statement is under way.

    An interrupt leaves the lock as it was: where it is taken and given back no line of Python runs.

    Args:
        lock: The connection's own.
        finish: Has the statement end; it need not wait for that if the lock is held until then.
    """

    def __init__(self, lock: Lock, finish: Callable[[], None]) -> None:
        self._lock = lock
        self._finish = finish

    def __enter__(self) -> None:
        self._finish()
        held: list[bool] = []
        try:
            held.extend(map(self._lock.acquire, (True,)))  # no interrupt comes between taking and noting it
        except BaseException:
            if held:
                self._lock.release()
            raise

    __exit__ = property(lambda self: self._lock.__exit__)


class Sent(NamedTuple):
    """A query, as psycopg's cursors remember their last."""

    query: bytes


class Deferring:
    """Stands for the driver's cursor where Django executes a statement, and only has it begin.

    Args:
        begin: Is given the driver's connection and the statement.
    """

    def __init__(self, driver: Cursor[Any], begin: Callable[[Connection[Any], str], None]) -> None:
        self._driver = driver
        self._begin = begin
        self._query: Sent | None = None  # where Django's log finds what was sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def execute(self, statement: str) -> None:
        """Let the statement begin."""
        self._query = Sent(statement.encode())
        self._begin(self._driver.connection, statement)


def _send(driver: Connection[Any], statements: str) -> None:
    """Send statements without parameters; whoever calls has the connection's lock."""
    from psycopg.generators import send

    driver.pgconn.send_query(statements.encode(driver.info.encoding))
    driver.wait(send(driver.pgconn))


def _received(driver: Connection[Any], stop: Stop | None = None) -> list[PGresult]:
    """Return what came of each.

    Args:
        stop: Called whenever nothing came for a while: a server that had not begun when it was told to stop has
            not heard it.
    """
    from psycopg.generators import fetch_many

    answers = fetch_many(driver.pgconn)
    return driver.wait(answers if stop is None else _insisting(answers, partial(stop, driver)))


def _insisting(answers: PQGen[T], again: Callable[[], None]) -> PQGen[T]:
    """Take the steps of `answers`, and call `again` at each at which nothing is ready."""
    try:
        wanted = next(answers)
        while True:
            ready = yield wanted
            if not ready:
                again()
            wanted = answers.send(ready)
    except StopIteration as done:
        return cast("T", done.value)


def _answer(driver: Connection[Any], *, stop: Stop | None) -> int:
    """Return how many rows the UPDATE among the statements under way has changed; roll back where one failed."""
    from psycopg.errors import error_from_result
    from psycopg.pq import ExecStatus

    results = _received(driver, stop)  # none, where an interrupt came before they were sent
    if results and results[-1].status == ExecStatus.FATAL_ERROR:
        _send(driver, f"ROLLBACK TO SAVEPOINT {SAVEPOINT}; RELEASE SAVEPOINT {SAVEPOINT}")
        _received(driver)
        raise error_from_result(results[-1], encoding=driver.info.encoding)
    return sum(each.command_tuples or 0 for each in results if _is_update(each))


def _is_update(result: PGresult) -> bool:
    return (result.command_status or b"").startswith(b"UPDATE")
