"""What PostgreSQL says of a table before rows are copied into it. One query."""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.bulk import kinds
from perfkit.bulk.kinds import Kind

COLUMNS_SQL: Final = """
    SELECT a.attname, a.atttypid::int8, a.atttypmod, pg_catalog.format_type(a.atttypid, NULL),
           c.relkind IN ('r', 'p') AND NOT c.relrowsecurity AND NOT c.relhasrules
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
    WHERE c.oid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""
PARTITIONED_SQL: Final = "SELECT relkind = 'p' FROM pg_catalog.pg_class WHERE oid = %s::regclass"
SEQUENCE_SQL: Final = "SELECT pg_catalog.pg_get_serial_sequence(%s, %s)"

LARGEST_LOT: Final = 20_000
ARRAYS: Final = {
    1000: 16,
    1001: 17,
    1016: 20,
    1005: 21,
    1007: 23,
    1009: 25,
    1022: 701,
    1041: 869,
    1015: 1043,
    1182: 1082,
    1183: 1083,
    1185: 1184,
    1187: 1186,
    1231: 1700,
    2951: 2950,
}
"""Of array types those of their elements."""
RANGES: Final = {3904: 23, 3926: 20, 3906: 1700, 3912: 1082, 3910: 1184}
"""Of range types those of their bounds."""
VARCHAR_OID: Final = 1043
VARCHAR_HEADER: Final = 4
"""A varchar's type modifier counts so many bytes more than it has characters."""


@dataclass(frozen=True)
class CopyTarget:
    """How one column is sent: the type that the server has, by its number and its name, and what fits it."""

    oid: int
    kind: Kind
    type_name: str

    @property
    def is_array(self) -> bool:
        """Whether it cannot be an element of another array, as which columns are sent by `unnest`."""
        return isinstance(self.kind, kinds.ArrayKind)


def has_copy(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether rows can be sent by type: PostgreSQL through psycopg 3."""
    return connection.vendor == "postgresql" and hasattr(connection.Database, "Copy")  # type: ignore[attr-defined]  # missing in the stubs


def copy_targets(connection: BaseDatabaseWrapper, model: type[models.Model]) -> Mapping[str, CopyTarget]:
    """Return, by column name, how the columns of the model's table can be copied.

    Columns of types that perfkit does not send in binary are left out,
    as are all of a view, a foreign table, or one with rules or row security, which COPY cannot serve.

    Queries: one.
    """
    with connection.cursor() as cursor:
        cursor.execute(COLUMNS_SQL, [connection.ops.quote_name(model._meta.db_table)])
        rows = cursor.fetchall()
    kind_by_oid = _kinds(connection)
    targets = {}
    for name, oid, modifier, type_name, is_served in rows:
        kind = (
            kinds.TextKind(modifier - VARCHAR_HEADER)
            if oid == VARCHAR_OID and modifier > 0
            else kind_by_oid.get(oid)
        )
        if is_served and kind is not None:
            targets[name] = CopyTarget(oid, kind, type_name)
    return targets


def own_sequence(connection: BaseDatabaseWrapper, model: type[models.Model]) -> str | None:
    """Return the name of the sequence that numbers the model's rows, or None. Queries: one."""
    auto_field = (model._meta.concrete_model or model)._meta.auto_field
    if auto_field is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(SEQUENCE_SQL, [connection.ops.quote_name(model._meta.db_table), auto_field.column])
        row = cursor.fetchone()
    name: str | None = row[0] if row else None
    return name


class Ids:
    """Draws numbers from a sequence, in lots as large as they are sure to be needed.

    Args:
        sequence: Its name.
        rows: For how many rows, 0 where that is not known: then each take is a draw.
    """

    def __init__(self, sequence: str, rows: int) -> None:
        self._sequence = sequence
        self._rows = rows
        self._drawn: list[int] = []

    def take(self, connection: BaseDatabaseWrapper, count: int) -> list[int]:
        """Return the next `count` numbers. Queries: one where a lot is used up."""
        missing = count - len(self._drawn)
        if missing > 0:
            lot = max(missing, min(self._rows, LARGEST_LOT))
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT nextval(%s::regclass) FROM generate_series(1, %s)", [self._sequence, lot]
                )
                self._drawn += [row[0] for row in cursor.fetchall()]
            self._rows -= lot
        taken, self._drawn = self._drawn[:count], self._drawn[count:]
        return taken


def is_partitioned(connection: BaseDatabaseWrapper, model: type[models.Model]) -> bool:
    """Tell whether the model's table is divided into partitions. Queries: one."""
    with connection.cursor() as cursor:
        cursor.execute(PARTITIONED_SQL, [connection.ops.quote_name(model._meta.db_table)])
        return bool(cursor.fetchone()[0])


def _kinds(connection: BaseDatabaseWrapper) -> Mapping[int, Kind]:
    """Return, by the number of a type, how its values are sent."""
    single = _single_kinds(connection)
    arrays = {array: kinds.ArrayKind(single[element]) for array, element in ARRAYS.items()}
    ranges = {each: kinds.RangeKind(single[bound]) for each, bound in RANGES.items()}
    return {**single, **arrays, **ranges}


def _single_kinds(connection: BaseDatabaseWrapper) -> Mapping[int, Kind]:
    return {
        16: kinds.BooleanKind(),
        17: kinds.BinaryKind(),
        20: kinds.IntegerKind(64),
        21: kinds.IntegerKind(16),
        23: kinds.IntegerKind(32),
        25: kinds.TextKind(),
        701: kinds.FloatKind(),
        869: kinds.AddressKind(),
        1043: kinds.TextKind(),
        1082: kinds.DateKind(),
        1083: kinds.TimeKind(),
        1184: kinds.TimestampKind(zoneinfo.ZoneInfo(connection.timezone_name)),
        1186: kinds.DurationKind(),
        1700: kinds.DecimalKind(),
        2950: kinds.UUIDKind(),
        3802: kinds.JSONKind(),
    }
