"""INSERT statements: for databases without COPY, and for rows that only SQL can write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from django.db import DataError, IntegrityError, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import DatabaseDefault

from perfkit.bulk import kinds
from perfkit.bulk.chunks import Single
from perfkit.bulk.explain import ROWS, note
from perfkit.bulk.fields import family_of, has_placeholder, target_of
from perfkit.bulk.inherited import rows_of
from perfkit.bulk.kinds import Kind
from perfkit.bulk.plan import Batch, RowPlan
from perfkit.bulk.prepare import NeedsStatementError, prepared_batch
from perfkit.bulk.refusals import RowDataError, summary
from perfkit.bulk.shapes import REFUSED_VALUE, Column, Row, Values
from perfkit.bulk.translate import field_of, refusal

SENT_AS_THEY_ARE: Final[Mapping[str, Kind]] = {
    "boolean": kinds.BooleanKind(),
    "float": kinds.FloatKind(),
    "integer": kinds.IntegerKind(64),
}
PREPARED_BY_DJANGO: Final = kinds.Kind()
SEVERAL_TABLES: Final = "the rows are spread over several tables"


class InstanceWriter(Single):
    """Writes chunks by Django's bulk_create, which takes every field, expression and database."""

    def __init__(self, plan: RowPlan, connection: BaseDatabaseWrapper) -> None:
        self.plan = plan
        self.connection = connection
        self.methods: set[str] = set()
        self.manager: models.QuerySet[Any] = rows_of(plan.model, connection.alias)

    def write(self, rows: list[Row], *, first_row: int) -> list[Any]:
        """Write one chunk and return its ids in order; None for an id that the database does not tell.

        A chunk that fails is tried again row by row, to find the one at fault.

        Raises:
            RowDataError: A value does not fit.
            RowIntegrityError: A row breaks a constraint.
        """
        self.methods.add("insert")
        instances = self.plan.as_instances(rows, first_row=first_row)
        require_lengths(self.plan, instances, first_row=first_row)
        try:
            with transaction.atomic(using=self.connection.alias):
                self.manager.bulk_create(instances)
        except (DataError, IntegrityError, *REFUSED_VALUE) as error:
            self._raise_for_row(instances, first_row, error)
        return [instance.pk for instance in instances]

    def _raise_for_row(self, instances: Sequence[models.Model], first_row: int, error: Exception) -> None:
        for number, instance in enumerate(instances, first_row):
            try:
                with transaction.atomic(using=self.connection.alias):
                    self.manager.bulk_create([instance])
            except (DataError, IntegrityError) as cause:
                raise refusal(cause, number, field_of(cause, self.plan.model)) from cause
            except REFUSED_VALUE as cause:
                if self._has_expression(instance):
                    raise  # Django says which expression it does not take
                problem = f"a value is refused ({type(cause).__name__})."
                raise RowDataError(number, self._refusing_field(instance), problem) from None
        raise error  # only together

    def _has_expression(self, instance: models.Model) -> bool:
        """Say whether a row gives an expression; a default of the database is not given."""
        return any(
            hasattr(value := vars(instance).get(column.attname), "resolve_expression")
            and not isinstance(value, DatabaseDefault)
            and value is not column.field.db_default
            for column in self.plan.columns
        )

    def _refusing_field(self, instance: models.Model) -> str | None:
        for column in self.plan.columns:
            try:
                column.field.get_db_prep_save(getattr(instance, column.attname), connection=self.connection)
            except REFUSED_VALUE:
                return column.field.name
        return None


class ParameterWriter(Single):
    """Writes chunks by one prepared INSERT each, run once per row inside the driver (SQLite)."""

    def __init__(self, plan: RowPlan, connection: BaseDatabaseWrapper) -> None:
        self.plan = plan
        self.connection = connection
        self.methods: set[str] = set()
        self._inserts = InstanceWriter(plan, connection)
        self._kinds = {column: kind_for_driver(column) for column in plan.columns}
        self._is_served = not any(has_placeholder(column.field) for column in plan.columns)

    def write(self, rows: list[Row], *, first_row: int) -> list[Any]:
        """Write one chunk; the ids stay unknown.

        Raises:
            RowDataError: A value does not fit.
            RowIntegrityError: A row breaks a constraint.
        """
        try:
            batches = self._batches(rows, first_row)
        except NeedsStatementError:
            self._inserts.write(rows, first_row=first_row)
            self.methods |= self._inserts.methods
            return []
        for batch in batches:
            self._insert(batch)
        self.methods.add("insert")
        if self.plan.pk is not None and self.plan.has_instances(rows):
            self.plan.mark_saved(
                rows, [getattr(row, "pk", None) for row in rows], using=self.connection.alias
            )
        return []

    def _batches(self, rows: Sequence[Row], first_row: int) -> list[Batch]:
        if not self._is_served:
            raise NeedsStatementError(ROWS, "a field wraps its value in SQL of its own")
        batches = self.plan.batches(rows, first_row=first_row)
        return [prepared_batch(batch, self._kinds.__getitem__, self.connection) for batch in batches]

    def _insert(self, batch: Batch) -> None:
        quote = self.connection.ops.quote_name
        names = ", ".join(quote(column.name) for column in batch.columns)
        marks = ", ".join(["%s"] * len(batch.columns))
        statement = f"INSERT INTO {quote(self.plan.model._meta.db_table)} ({names}) VALUES ({marks})"  # noqa: S608  # quoted names
        sent = Counted(zip(*batch.values, strict=True))
        try:
            with self.connection.cursor() as cursor:
                cursor.executemany(statement, sent)  # type: ignore[arg-type]  # any iterable will do
        except (DataError, IntegrityError) as error:
            number = batch.numbers[sent.position]
            raise refusal(error, number, field_of(error, self.plan.model)) from error
        except REFUSED_VALUE as error:  # a value that the driver cannot bind
            raise unbindable(batch, sent.position, error) from None


def goes_singly(plan: RowPlan) -> bool:
    """Say whether only Django can insert rows of a model; where the reason is asked for, it is noted."""
    if plan.is_over_several_tables:
        note(ROWS, SEVERAL_TABLES)
    return plan.is_over_several_tables or bool(plan.model._meta.order_with_respect_to)


@contextmanager
def refused_row(model: type[models.Model], number: int, values: Iterable[Any]) -> Iterator[None]:
    """Turn what is raised over one row, which Django writes within the block, into the error about it.

    Args:
        values: What the row holds; where an expression is among them, Django's own error says more.

    Raises:
        RowDataError: A value does not fit.
        RowIntegrityError: The row breaks a constraint.
    """
    try:
        yield
    except (DataError, IntegrityError) as error:
        raise refusal(error, number, field_of(error, model)) from error
    except REFUSED_VALUE as error:
        if any(hasattr(value, "resolve_expression") for value in values):
            raise
        raise RowDataError(number, None, f"a value is refused ({type(error).__name__}).") from None


def most_characters(column: Column) -> int | None:
    """Return how long a text the column takes, where the database has a type for that."""
    target = target_of(column.field)
    if isinstance(target, models.TextField) or not column.is_plain or family_of(column.field) != "text":
        return None
    return target.max_length


def require_lengths(plan: RowPlan, instances: Sequence[models.Model], *, first_row: int) -> None:
    """Refuse text that is longer than its field says, which not every database does.

    Raises:
        RowDataError: A text is too long.
    """
    for column in plan.columns:
        most = most_characters(column)
        if most is None:
            continue
        for number, instance in enumerate(instances, first_row):
            value = vars(instance).get(column.attname)
            if isinstance(value, str) and len(value.rstrip(" ")) > most:
                problem = f"{summary(value)} does not fit {most} characters."
                raise RowDataError(number, column.field.name, problem, summary(value))


def kind_for_driver(column: Column) -> Kind:
    """Return how values of a column are sent where the driver binds them one by one."""
    family = family_of(column.field) if column.is_plain else None
    if family == "text":
        return kinds.TextKind(most_characters(column), cuts_spaces=False)
    return SENT_AS_THEY_ARE.get(family or "", PREPARED_BY_DJANGO)


class Sent(Protocol):
    """Rows that fill or change the same columns."""

    @property
    def numbers(self) -> Sequence[int]:
        """Each row's position in the input."""

    @property
    def columns(self) -> Sequence[Column]:
        """What is filled or changed."""

    @property
    def values(self) -> Sequence[Values]:
        """One sequence per column."""


def unbindable(rows: Sent, position: int, error: Exception) -> RowDataError:
    """Return the error about a row that the driver cannot bind: text that is not Unicode."""
    for column, values in zip(rows.columns, rows.values, strict=True):
        value = values[position]
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            problem = f"{summary(value)} cannot be sent ({type(error).__name__})."
            return RowDataError(rows.numbers[position], column.field.name, problem, summary(value))
    return RowDataError(rows.numbers[position], None, f"a value cannot be sent ({type(error).__name__}).")


class Counted:
    """Yields rows and remembers the position of the one that was asked for last.

    It is false, as an empty list is: what logs statements with their values, such as the SQL panel of the debug
    toolbar, then looks for none.
    """

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self.rows = rows
        self.position = -1

    def __bool__(self) -> bool:
        return False

    def __iter__(self) -> Counted:
        return self

    def __next__(self) -> tuple[Any, ...]:
        row = next(self.rows)
        self.position += 1
        return row
