"""The migration operation for an index that no model declares: it comes back by the database's own words."""

from __future__ import annotations

import re
from typing import Any, Final

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement, Table
from django.db.migrations.operations.base import OperationCategory
from django.db.migrations.state import ProjectState
from django.db.models import Model

from perfkit.indexing import concurrent, sqlite
from perfkit.indexing.operations import POSTGRESQL, SafeOperation, collect, model_of
from perfkit.indexing.steps import Patience
from perfkit.indexing.wanted import WantedIndex

NAME: Final = r"""(?:"(?:[^"]|"")*"|[\w$]+)"""
STATED: Final = re.compile(
    rf"CREATE (?P<unique>UNIQUE )?INDEX {NAME} ON (?:ONLY )?{NAME}(?:\.{NAME})? (?P<rest>.*)", re.DOTALL
)


class DropIndexSafely(SafeOperation):
    """Drops an index that no model declares, as `RemoveIndexSafely` drops others.

    It does so in one database alone, and nothing in any other: what is there by hand is there in one.
    Reversing it builds the index there by its definition, with all that a model has no words for, also where it
    was not there before the migration.
    To migrations it is nothing.
    The arguments about waiting, and the errors, are those of `AddIndexSafely`.

    Args:
        model_name: Of the model that the table is of.
        name: Of the index.
        definition: The statement that makes it, as the database tells it: `pg_get_indexdef` on PostgreSQL.
        database: The alias of the database that has it.
        vendor: Of that database, for the definition is in its words: "postgresql" or "sqlite".
        lock_timeout_seconds: See `AddIndexSafely`.
        statement_timeout_seconds: See `AddIndexSafely`.
        attempts: See `AddIndexSafely`.

    Example:
        >>> DropIndexSafely(  # doctest: +SKIP
        ...     "flight", "by_hand", "CREATE INDEX by_hand ON public.flights_flight USING btree (distance)"
        ... )
    """

    category = OperationCategory.REMOVAL

    def __init__(
        self,
        model_name: str,
        name: str,
        definition: str,
        *,
        database: str = "default",
        vendor: str = POSTGRESQL,
        lock_timeout_seconds: float = 30.0,
        statement_timeout_seconds: float | None = None,
        attempts: int = 5,
    ) -> None:
        self.model_name = model_name
        self.name = name
        self.definition = definition
        self.database = database
        self.vendor = vendor
        self.patience = Patience(lock_timeout_seconds, statement_timeout_seconds, attempts)

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what the migration writer needs."""
        kwargs = {"model_name": self.model_name, "name": self.name, "definition": self.definition}
        where = {"database": self.database, "vendor": self.vendor}
        usual = {"database": "default", "vendor": POSTGRESQL}
        others = {name: value for name, value in where.items() if value != usual[name]}
        return type(self).__name__, [], {**kwargs, **others, **self.waiting()}

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change nothing: no model declares it."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Drop the index."""
        model = model_of(from_state.apps, app_label, self.model_name)
        table = model._meta.db_table
        if not self._is_here(schema_editor, model):
            return
        if self.vendor != POSTGRESQL:
            sqlite.drop_index(schema_editor, self.name)
        elif schema_editor.collect_sql:
            collect(schema_editor, [concurrent.drop_sql(schema_editor, table, self.name)])
        else:
            concurrent.drop_index(schema_editor, table, self.name, self.patience)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Build the index."""
        model = model_of(to_state.apps, app_label, self.model_name)
        if not self._is_here(schema_editor, model):
            return
        if self.vendor != POSTGRESQL:
            sqlite.build_stated(schema_editor, self.name, self.definition)
            return
        wanted = stated_index(model, self.name, self.definition)
        if schema_editor.collect_sql:
            collect(schema_editor, [wanted.sql(schema_editor, concurrently=True)])
        else:
            concurrent.build_index(schema_editor, wanted, self.patience)

    def describe(self) -> str:
        """Return what `migrate --plan` prints."""
        return (
            f"Drop index {self.name} of {self.model_name}, which no model declares, without blocking writes"
        )

    @property
    def migration_name_fragment(self) -> str:
        """What a migration of this operation alone is called by."""
        return f"drop_{self.name.lower()}"

    def _is_here(self, schema_editor: BaseDatabaseSchemaEditor, model: type[Model]) -> bool:
        connection = schema_editor.connection
        return (connection.alias, connection.vendor) == (self.database, self.vendor) and self.is_for(
            schema_editor, model, self.name
        )


def stated_index(model: type[Model], name: str, definition: str) -> WantedIndex:
    """Return the index that a definition of PostgreSQL's makes, on the table of a model.

    Raises:
        ValueError: It is no CREATE INDEX.
    """
    found = STATED.fullmatch(definition)
    if found is None:
        raise ValueError(f"{definition!r} makes no index.")
    rest = found["rest"].replace("%", "%%")
    template = f"CREATE {found['unique'] or ''}INDEX %(name)s ON %(table)s {rest}"

    def make(editor: BaseDatabaseSchemaEditor) -> Statement:
        quote = editor.quote_name
        return Statement(template, name=quote(name), table=Table(model._meta.db_table, quote))

    return WantedIndex(model, name, make)
