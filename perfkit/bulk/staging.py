"""Rows brought to where one statement can read them: as arrays, or in a temporary table (PostgreSQL).

# Note [Two ways to one statement]

Few rows are sent as one array per column, within the statement's own round trip.
Many are sent by binary COPY into a temporary table, which takes half the time and two round trips more.
The table lives in the transaction that made it, so that a pool may lend the session to others between two
transactions; it holds rows only while nothing but perfkit runs, so that calls within calls can share it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Final, NamedTuple

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.bulk.copy_buffer import Encoded
from perfkit.bulk.shapes import Column, Values
from perfkit.bulk.table import CopyTarget

FEWEST_STAGED: Final = 300
"""Of fewer rows the arrays are faster."""
ORDINAL: Final = "perfkit_ordinal"
INT4_OID: Final = 23
JOINS: Final = ("enable_hashjoin", "enable_mergejoin")

MAY_STAGE_SQL: Final = "SELECT has_database_privilege(current_database(), 'TEMPORARY')"


class Source(NamedTuple):
    """Rows as a statement reads them, under the name `new`.

    Attributes:
        sql: What stands after FROM.
        parameters: Those of `sql`.
    """

    sql: str
    parameters: list[Any]


class Settings(NamedTuple):
    """Statements that have rows looked up by index, and that take this back."""

    off: str
    back: str


class Stage:
    """Where the rows of one call wait for the statement that takes them. See Note [Two ways to one statement].

    Args:
        targets: Of each column that is going to be sent.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper, model: type[models.Model], targets: Mapping[str, CopyTarget]
    ) -> None:
        self._targets = targets
        self._quote = connection.ops.quote_name
        self._connection = connection
        self._table = f"pg_temp.perfkit_stage_{zlib.crc32(model._meta.db_table.encode()):08x}"
        self._may_stage: bool | None = None

    def may_stage(self) -> bool:
        """Tell whether the role may make temporary tables. Queries: one, at the first time."""
        if self._may_stage is None:
            with self._connection.cursor() as cursor:
                cursor.execute(MAY_STAGE_SQL)
                self._may_stage = bool(cursor.fetchone()[0])
        return self._may_stage

    def can_send(self, column: Column) -> bool:
        """Tell whether a column can be sent: arrays of arrays cannot, so without staging no column of arrays."""
        target = self._targets.get(column.name)
        return target is not None and (not target.is_array or self.may_stage())

    def is_for(self, columns: Sequence[Column], rows: int) -> bool:
        """Tell whether so many rows go into the temporary table.

        Queries: one for the right to do so, at the first time.
        """
        has_arrays = any(self._targets[column.name].is_array for column in columns)
        return (rows >= FEWEST_STAGED or has_arrays) and self.may_stage()

    def prepare(self, columns: Sequence[Column], rows: int) -> bool:
        """Tell whether so many rows go into the temporary table, and make or empty it.

        Queries: one where they do, and another for the right to do so at the first time.
        """
        if not self.is_for(columns, rows):
            return False
        self.make()
        return True

    def make(self) -> None:
        """Make or empty the temporary table. Queries: one."""
        with self._connection.cursor() as cursor:
            name = self._table.removeprefix("pg_temp.")
            declared = ", ".join(
                f"{self._quote(column)} {target.type_name}" for column, target in self._targets.items()
            )
            cursor.execute(
                f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({declared}, {ORDINAL} int4) ON COMMIT DROP; "
                f"TRUNCATE {self._table}"
            )

    def encoded(self, columns: Sequence[Column], values: Sequence[Values]) -> Encoded:
        """Return rows as they are sent into the temporary table, the ordinal included.

        Args:
            values: One sequence per column; all of the same length.

        Raises:
            ValueError, TypeError, OverflowError, DataError: A value cannot be sent.
        """
        rows = Encoded(
            self._connection.cursor().cursor,
            [*(self._targets[column.name].oid for column in columns), INT4_OID],
        )
        with self._connection.wrap_database_errors:
            rows.add(zip(*values, count(1)))  # the ordinals have no end
        return rows

    def filled(self, cursor: Any, columns: Sequence[Column], rows: Encoded) -> Source:
        """Send encoded rows into the temporary table, which is there and empty."""
        names = ", ".join([*(self._quote(column.name) for column in columns), ORDINAL])
        with self._connection.wrap_database_errors:
            rows.send(cursor, f"COPY {self._table} ({names}) FROM STDIN (FORMAT BINARY)")
        return Source(f"{self._table} AS new", [])

    def arrays(self, columns: Sequence[Column], values: Sequence[Values]) -> Source:
        """Return rows as arrays, which a statement brings itself."""
        arrays = ", ".join(f"%s::{self._targets[column.name].type_name}[]" for column in columns)
        names = ", ".join([*(self._quote(column.name) for column in columns), ORDINAL])
        return Source(f"unnest({arrays}) WITH ORDINALITY AS new ({names})", [list(each) for each in values])

    def source(
        self, cursor: Any, columns: Sequence[Column], values: Sequence[Values], *, is_staged: bool
    ) -> Source:
        """Bring rows to the database; `new` has a column of the name of each of `columns`, and the ordinal.

        Args:
            values: One sequence per column; all of the same length.
            is_staged: What `prepare` said of them.
        """
        if not is_staged:
            return self.arrays(columns, values)
        return self.filled(cursor, columns, self.encoded(columns, values))

    @contextmanager
    def found_by_index(self, cursor: Any, *, is_wanted: bool) -> Iterator[None]:
        """Have rows of the table looked up one by one within the block, where that is wanted.

        Nobody has counted the rows of a temporary table, and PostgreSQL would rather read the whole table that
        they are joined with: for each chunk. Looked up, its rows are also written in the order of the source.
        """
        if not is_wanted:
            yield
            return
        settings = self.settings(cursor)
        cursor.cursor.execute(settings.off)
        yield  # after an error the savepoint takes the settings back
        cursor.cursor.execute(settings.back)

    def settings(self, cursor: Any) -> Settings:
        """Return what `found_by_index` sets, and what sets it back. Queries: one."""
        driver = cursor.cursor  # nothing that listens to statements need know
        driver.execute(f"SELECT {', '.join(f'current_setting({name!r})' for name in JOINS)}")
        before = driver.fetchone()
        return Settings(
            "; ".join(f"SET LOCAL {name} = off" for name in JOINS),
            "; ".join(f"SET LOCAL {name} = {was}" for name, was in zip(JOINS, before, strict=True)),
        )

    def drop(self) -> None:
        """Remove the temporary table, where there is one, before its transaction ends."""
        if self._may_stage:
            with self._connection.cursor() as cursor:
                cursor.execute(f"DROP TABLE IF EXISTS {self._table}")
