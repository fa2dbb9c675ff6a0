"""What index is to be had, and the statements that make it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement, Table
from django.db.models import Index, Model, UniqueConstraint

UNIQUE_TEMPLATE: Final = (
    "CREATE UNIQUE INDEX %(name)s ON %(table)s (%(columns)s)%(include)s%(nulls_distinct)s%(condition)s"
)
CREATE: Final = re.compile(r"^CREATE (UNIQUE )?INDEX (CONCURRENTLY )?")


@dataclass(frozen=True, slots=True)
class WantedIndex:
    """An index to have on a model's table.

    Attributes:
        make: Returns a fresh statement, of the plain CREATE INDEX.
        constraint: What the index becomes once it is there; None where it stays an index.
    """

    model: type[Model]
    name: str
    make: Callable[[BaseDatabaseSchemaEditor], Statement]
    constraint: UniqueConstraint | None = None

    @property
    def table(self) -> str:
        """The `db_table`."""
        return self.model._meta.db_table

    def sql(
        self,
        editor: BaseDatabaseSchemaEditor,
        *,
        concurrently: bool = False,
        only: bool = False,
        table: str = "",
    ) -> str:
        """Return the statement that makes it.

        Args:
            only: On a partitioned table, without its partitions.
            table: Another one to make it on.
        """
        statement = self.make(editor)
        if concurrently:
            statement.template = CREATE.sub(r"CREATE \1INDEX CONCURRENTLY ", statement.template)
        if only:
            statement.template = statement.template.replace(" ON %(table)s", " ON ONLY %(table)s", 1)
        if table:
            parts: Any = statement.parts
            parts["table"] = Table(table, editor.quote_name)
        return str(statement)

    def renamed(self, name: str) -> WantedIndex:
        """Return the same index under another name, as an index alone."""

        def make(editor: BaseDatabaseSchemaEditor) -> Statement:
            statement = self.make(editor)
            parts: Any = statement.parts
            parts["name"] = editor.quote_name(name)
            return statement

        return WantedIndex(self.model, name, make)


def of_index(model: type[Model], index: Index) -> WantedIndex:
    """Return what an index of `Meta.indexes` wants."""
    return WantedIndex(model, index.name, lambda editor: index.create_sql(model, editor))


def of_unique(model: type[Model], constraint: UniqueConstraint) -> WantedIndex:
    """Return the unique index under a constraint; for some constraints Django makes nothing but the index."""

    def make(editor: BaseDatabaseSchemaEditor) -> Statement:
        statement: Any = constraint.create_sql(model, editor)
        if statement is None:
            raise NotImplementedError(f"This database cannot hold {constraint.name}.")
        statement.template = UNIQUE_TEMPLATE
        unique: Statement = statement
        return unique

    return WantedIndex(model, constraint.name, make, constraint if is_constraint(constraint) else None)


def is_constraint(constraint: UniqueConstraint) -> bool:
    """Tell whether Django makes a constraint of it, and not an index alone."""
    parts = ("condition", "include", "opclasses", "expressions")  # some are missing in the stubs
    return not any(getattr(constraint, part) for part in parts)


def unquoted(name: object) -> str:
    """Return a name without its quotation marks."""
    return str(name).strip('"')
