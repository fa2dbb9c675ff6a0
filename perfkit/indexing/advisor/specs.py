"""What an index is, apart from its name: to be thought of, compared and written down. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

BTREE: Final = "btree"


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an index.

    Attributes:
        text: A column's name, or an expression as SQL in PostgreSQL's own writing, without the outer brackets.
        is_expression: Which of the two.
        operator_class: Such as `varchar_pattern_ops`; empty for the type's default.
        nulls_first: None for the direction's default: last where ascending, first where descending.
    """

    text: str
    is_expression: bool = False
    operator_class: str = ""
    descending: bool = False
    nulls_first: bool | None = None

    def sql(self, quote: Callable[[str], str]) -> str:
        """Return it as in CREATE INDEX."""
        parts = [f"({self.text})" if self.is_expression else quote(self.text)]
        if self.operator_class:
            parts.append(self.operator_class)
        if self.descending:
            parts.append("DESC")
        if self.nulls_first is not None and self.nulls_first != self.descending:
            parts.append("NULLS FIRST" if self.nulls_first else "NULLS LAST")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """An index of one table.

    Attributes:
        table: The `db_table`.
        include: Columns that are only carried.
        condition: Of a partial index, as SQL in PostgreSQL's own writing; empty where it holds all rows.
    """

    table: str
    keys: tuple[Key, ...]
    include: tuple[str, ...] = ()
    condition: str = ""
    method: str = BTREE
    is_unique: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The texts of the keys, in order."""
        return tuple(key.text for key in self.keys)

    def on(self, table: str) -> IndexSpec:
        """Return the same index of another table."""
        return replace(self, table=table)

    def sql(self, name: str, quote: Callable[[str], str], *, schema: str = "") -> str:
        """Return the plain CREATE INDEX.

        Args:
            quote: Of the connection: `connection.ops.quote_name`.
            schema: Of the table; empty to find it through the search path.
        """
        table = f"{quote(schema)}.{quote(self.table)}" if schema else quote(self.table)
        method = "" if self.method == BTREE else f" USING {self.method}"
        keys = ", ".join(key.sql(quote) for key in self.keys)
        include = f" INCLUDE ({', '.join(map(quote, self.include))})" if self.include else ""
        where = f" WHERE {self.condition}" if self.condition else ""
        unique = "UNIQUE " if self.is_unique else ""
        return f"CREATE {unique}INDEX {quote(name)} ON {table}{method} ({keys}){include}{where}"
