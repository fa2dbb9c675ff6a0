"""Rows in PostgreSQL's binary COPY format, from many chunks; see Note [One COPY for many chunks] in `sending`."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final

from perfkit.bulk.plan import Batch
from perfkit.bulk.refusals import RowDataError, summary
from perfkit.bulk.shapes import Column

if TYPE_CHECKING:
    from psycopg import Cursor

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""A signature, flags, and the length of an extension that there is not."""
TRAILER: Final = (-1).to_bytes(2, signed=True)
"""Stands where the number of a row's columns would."""


class Encoded:
    """Rows of columns of the same types, in the binary format.

    Args:
        cursor: psycopg's own.
        oids: Of the columns' types in the table.

    Attributes:
        parts: What it consists of, but for its end.
        size_bytes: How long they are.
    """

    def __init__(self, cursor: Cursor[Any], oids: Sequence[int]) -> None:
        from psycopg._copy_base import format_row_binary  # what its `write_row` calls for each row
        from psycopg.adapt import Transformer
        from psycopg.pq import Format

        self.parts: list[bytes | bytearray] = [HEADER]
        self.size_bytes = len(HEADER)
        self._oids = oids
        self._cursor = cursor
        self._transformer = Transformer(cursor)
        self._transformer.set_dumper_types(oids, Format.BINARY)
        self._encode = format_row_binary

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Encode rows.

        Raises:
            ValueError, TypeError, OverflowError, psycopg.DataError: psycopg cannot make a value binary;
                none of these rows is added.
        """
        part = self._part(rows)
        self.parts.append(part)
        self.size_bytes += len(part)

    def _part(self, rows: Iterable[Sequence[Any]]) -> bytearray:
        part = bytearray()
        deque(map(self._encode, rows, repeat(self._transformer), repeat(part)), maxlen=0)
        return part

    def send(self, cursor: Any, statement: str) -> None:
        """Do the COPY.

        Raises:
            psycopg.Error: The server refuses the rows.
        """
        with cursor.copy(statement) as copy:
            for part in (*self.parts, TRAILER):
                copy.write(part)


class CopyBuffer(Encoded):
    """Rows that fill the same columns, encoded.

    Args:
        cursor: psycopg's own.
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
        """Add the rows of a batch of these columns.

        Raises:
            RowDataError: psycopg cannot make a value binary; none of the rows is added.
        """
        part = self.encoded(batch)
        self.parts.append(part)
        self.note(batch, part)

    def encoded(self, batch: Batch) -> bytearray:
        """Return the rows of a batch of these columns as a part.

        Raises:
            RowDataError: psycopg cannot make a value binary.
        """
        try:
            return self._part(zip(*batch.values, strict=True))
        except (ValueError, TypeError, OverflowError, self._driver_error) as error:
            raise self._unsendable(batch, error) from None

    def note(self, batch: Batch, part: bytearray) -> None:
        """Note what a part has that was put behind the others."""
        self.size_bytes += len(part)
        for column, values in zip(batch.columns, batch.values, strict=True):
            if column.field.is_relation:
                self.keys[column.name].update(values)
        self._numbers.append(batch.numbers)
        self.rows += len(batch.numbers)

    def decoded(self) -> Batch:
        """Return the rows as psycopg reads them: of a COPY that failed."""
        from psycopg.adapt import Transformer
        from psycopg.pq import Format

        transformer = Transformer(self._cursor)
        transformer.set_loader_types(self._oids, Format.BINARY)
        rows = [transformer.load_sequence(fields) for fields in _fields(b"".join(self.parts))]
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


def key_values(batch: Batch) -> Mapping[str, set[Any]]:
    """Return the distinct values of each relation's column, by its name."""
    return {
        column.name: set(values)
        for column, values in zip(batch.columns, batch.values, strict=True)
        if column.field.is_relation
    }


def _fields(data: bytes) -> Iterator[list[bytes | None]]:
    """Yield the fields of each row."""
    at = len(HEADER)
    while at < len(data):
        (count,) = struct.unpack_from("!h", data, at)
        at += 2
        fields: list[bytes | None] = []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", data, at)
            at += 4
            fields.append(None if length < 0 else data[at : at + length])
            at += max(length, 0)
        yield fields
