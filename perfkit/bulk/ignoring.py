"""Inserts that leave out rows which meet a unique constraint: upserts on any conflict, which change nothing."""

from __future__ import annotations

from typing import Any, Final

from django.db import IntegrityError, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.bulk.chunks import ChunkWriter, Single
from perfkit.bulk.conflict import AnyConflict
from perfkit.bulk.foreign_keys import own_check
from perfkit.bulk.inherited import rows_of
from perfkit.bulk.outcomes import Outcome
from perfkit.bulk.parameter_upserter import ParameterUpserter
from perfkit.bulk.plan import RowPlan
from perfkit.bulk.shapes import Row
from perfkit.bulk.statement_upserter import StatementUpserter
from perfkit.bulk.statements import goes_singly, refused_row, require_lengths
from perfkit.bulk.table import has_copy

TAKEN_CODES: Final = frozenset({"23505", "23P01"})
"""PostgreSQL's codes of unique and exclusion constraints."""
TAKEN_NUMBER: Final = 1062
"""MySQL's and MariaDB's of a duplicate entry."""
TAKEN_ON_SQLITE: Final = "UNIQUE constraint failed"


def ignoring_writer(
    plan: RowPlan, connection: BaseDatabaseWrapper, *, chunk_rows: int, is_own: bool
) -> ChunkWriter[Row, Outcome]:
    """Return what writes rows and leaves out those that are there; an outcome is `created` or `untouched`."""
    singly = SavepointWriter(plan, connection)
    conflict = AnyConflict(plan, connection)
    if goes_singly(plan):
        return singly
    if has_copy(connection):
        return StatementUpserter(
            conflict,
            singly,
            chunk_rows=chunk_rows,
            return_rows=False,
            take_turns=True,
            foreign_keys=own_check(plan, connection, is_own=is_own),
        )
    if connection.vendor == "sqlite":
        return ParameterUpserter(conflict, singly, return_rows=False)
    return singly


class SavepointWriter(Single):
    """Inserts row by row with Django's bulk_create, which takes every field, expression and database."""

    def __init__(self, plan: RowPlan, connection: BaseDatabaseWrapper) -> None:
        self.plan = plan
        self.methods: set[str] = set()
        self._using = connection.alias
        self._rows: models.QuerySet[Any] = rows_of(plan.model, connection.alias)

    def write(self, rows: list[Row], *, first_row: int) -> Outcome:
        """Write one chunk.

        Raises:
            RowShapeError: A row is not one of the model's.
            RowDataError: A value does not fit.
            RowIntegrityError: A row breaks another constraint.
        """
        self.methods.add("insert")
        outcome = Outcome()
        instances = self.plan.as_instances(rows, first_row=first_row)
        require_lengths(self.plan, instances, first_row=first_row)
        for number, instance in enumerate(instances, first_row):
            with refused_row(self.plan.model, number, vars(instance).values()):
                outcome.count("created" if self._is_created(instance) else "untouched")
        return outcome

    def _is_created(self, instance: models.Model) -> bool:
        try:
            with transaction.atomic(using=self._using):
                self._rows.bulk_create([instance])
        except IntegrityError as error:
            if not is_taken(error):
                raise
            return False
        return True


def is_taken(error: IntegrityError) -> bool:
    """Tell whether a row met a unique constraint, rather than another."""
    code = getattr(error.__cause__, "sqlstate", None)
    return code in TAKEN_CODES or TAKEN_ON_SQLITE in str(error) or error.args[:1] == (TAKEN_NUMBER,)
