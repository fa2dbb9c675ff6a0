"""Rows in PostgreSQL's binary COPY format, from many chunks, until there are enough of them for one COPY.

# Note [One COPY for many chunks]

A connection can do nothing else while a COPY is open, and a chunk may need it: the caller's generator,
a callable default or a `pre_save` may query. So rows are encoded first, and sent when up to a megabyte is there:
a COPY costs the server as much to begin and end as several hundred rows.
A thread sends them, while the next rows are read and prepared. psycopg holds the connection's lock from the
beginning of a COPY to its end, so whatever else uses the connection meanwhile waits for that lock.
The caller's code does not run again before the COPY has begun: a savepoint of its own would else take the rows in.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

from perfkit.bulk.plan import Batch
from perfkit.bulk.refusals import RowDataError, summary
from perfkit.bulk.shapes import Column

if TYPE_CHECKING:
    from psycopg import Cursor

FIRST_BYTES: Final = 2**17
"""A first COPY is small, so that the server begins early; each is twice as large as the one before."""
MOST_BYTES: Final = 2**20
HEADER_BYTES: Final = 19
"""A signature of 11 bytes, flags, and the length of an extension that there is not."""
END: Final = -1
"""Stands where the number of a row's columns would."""


class Encoded:
    """Rows of columns of the same types, in the binary format.

    Args:
        cursor: psycopg's own, by which nothing was executed yet.
        oids: Of the columns' types in the table.
    """

    def __init__(self, cursor: Cursor[Any], oids: Sequence[int]) -> None:
        from psycopg import Copy

        self._parts = Parts()
        self._oids = oids
        self._cursor = cursor
        self._copy = Copy(cursor, binary=True, writer=self._parts)  # type: ignore[arg-type]  # acts as one
        self._copy.set_types(oids)

    @property
    def size_bytes(self) -> int:
        """How long it is; psycopg may still hold the last 32 KiB."""
        return self._parts.size

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Encode rows.

        Raises:
            ValueError, TypeError, OverflowError, psycopg.DataError: psycopg cannot make a value binary;
                what is encoded is of no use then.
        """
        deque(map(self._copy.write_row, rows), maxlen=0)

    def send(self, cursor: Any, statement: str, *, has_begun: Event | None = None) -> None:
        """Do the COPY.

        Args:
            has_begun: Set when the connection is this COPY's own.

        Raises:
            psycopg.Error: The server refuses the rows.
        """
        self._copy.finish(None)
        with cursor.copy(statement) as copy:
            if has_begun is not None:
                has_begun.set()
            for part in self._parts.data:
                copy.write(part)


class CopyBuffer(Encoded):
    """Rows that fill the same columns, encoded.

    Args:
        cursor: psycopg's own, by which nothing was executed yet.
        oids: Of the columns' types in the table.

    Attributes:
        rows: How many there are.
        keys: The distinct values of each relation's column, by its name.
    """

    def __init__(self, cursor: Cursor[Any], columns: Sequence[Column], oids: Sequence[int]) -> None:
        from psycopg import DataError

        super().__init__(cursor, oids)
        self._driver_error = DataError
        self.columns = tuple(columns)
        self.rows = 0
        self.keys: dict[str, set[Any]] = {each.name: set() for each in columns if each.field.is_relation}
        self._numbers: list[Sequence[int]] = []

    def add_batch(self, batch: Batch) -> None:
        """Encode the rows of a batch of these columns.

        Raises:
            RowDataError: psycopg cannot make a value binary; the buffer is of no use then.
        """
        for column, values in zip(batch.columns, batch.values, strict=True):
            if column.field.is_relation:
                self.keys[column.name].update(values)
        try:
            self.add(zip(*batch.values, strict=True))
        except (ValueError, TypeError, OverflowError, self._driver_error) as error:
            raise self._unsendable(batch, error) from None
        self._numbers.append(batch.numbers)
        self.rows += len(batch.numbers)

    def decoded(self) -> Batch:
        """Return the rows as psycopg reads them: of a COPY that failed."""
        from psycopg.adapt import Transformer
        from psycopg.pq import Format

        transformer = Transformer(self._cursor)
        transformer.set_loader_types(self._oids, Format.BINARY)
        rows = [transformer.load_sequence(fields) for fields in _fields(b"".join(self._parts.data))]
        return Batch(list(chain(*self._numbers)), self.columns, list(zip(*rows, strict=True)))

    def _unsendable(self, batch: Batch, error: Exception) -> RowDataError:
        """Return the error about the first row that psycopg cannot make binary."""
        from psycopg.pq import Format

        dumpers = [self._cursor.adapters.get_dumper_by_oid(oid, Format.BINARY) for oid in self._oids]
        for number, row in zip(batch.numbers, zip(*batch.values, strict=True), strict=True):
            for column, dumper, value in zip(batch.columns, dumpers, row, strict=True):
                try:
                    if value is not None:
                        dumper(type(value), self._cursor.connection).dump(value)
                except (ValueError, TypeError, OverflowError, self._driver_error):
                    problem = f"{summary(value)} cannot be sent ({type(error).__name__})."
                    return RowDataError(number, column.field.name, problem, summary(value))
        return RowDataError(None, None, f"a value cannot be sent ({type(error).__name__}).")


class Parts:
    """Where psycopg writes what it has encoded; a `psycopg.copy.Writer`."""

    def __init__(self) -> None:
        self.data: list[bytes | bytearray] = []
        self.size = 0

    def write(self, data: bytes | bytearray) -> None:
        """Keep a part."""
        self.data.append(data)
        self.size += len(data)

    def finish(self, exc: BaseException | None = None) -> None:
        """Nothing is open."""


class Sending:
    """A COPY that a thread does meanwhile. See Note [One COPY for many chunks].

    It begins with `start`; whoever holds it calls `wait`, or `abandon` before anything is rolled back.
    """

    def __init__(self, buffer: CopyBuffer, cursor: Any, statement: str) -> None:
        self.buffer = buffer
        self._error: BaseException | None = None
        self._may_begin, self._has_begun, self._is_done = Event(), Event(), Event()
        self._is_abandoned = False
        self._thread = Thread(target=self._send, args=(cursor, statement), name="perfkit-copy", daemon=True)

    def start(self) -> None:
        """Let the thread begin, and return once the connection is its own, or nothing can be sent."""
        self._thread.start()
        self._may_begin.set()
        self._has_begun.wait()

    def wait(self) -> None:
        """Return once it is done.

        Raises:
            psycopg.Error: The server refused the rows.
        """
        self._is_done.wait()
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """Return once it is done, or will never begin; its outcome is of no account, for all is rolled back."""
        self._is_abandoned = True
        may_have_begun = self._may_begin.is_set()
        self._may_begin.set()
        if may_have_begun:
            self._is_done.wait()

    def _send(self, cursor: Any, statement: str) -> None:
        self._may_begin.wait()
        try:
            if not self._is_abandoned:
                self.buffer.send(cursor, statement, has_begun=self._has_begun)
        except BaseException as error:  # noqa: BLE001  # raised by `wait`
            self._error = error
        finally:
            self._has_begun.set()
            self._is_done.set()


def key_values(batch: Batch) -> Mapping[str, set[Any]]:
    """Return the distinct values of each relation's column, by its name."""
    return {
        column.name: set(values)
        for column, values in zip(batch.columns, batch.values, strict=True)
        if column.field.is_relation
    }


def _fields(data: bytes) -> Iterator[list[bytes | None]]:
    """Yield the fields of each row."""
    at = HEADER_BYTES
    while True:
        (count,) = struct.unpack_from("!h", data, at)
        at += 2
        if count == END:
            return
        fields: list[bytes | None] = []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", data, at)
            at += 4
            fields.append(None if length < 0 else data[at : at + length])
            at += max(length, 0)
        yield fields
