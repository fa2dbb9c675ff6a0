"""Tables that are only thought of, and statements as Django sends them, with their values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.models import Model, QuerySet

from perfkit.indexing.advisor.candidates import candidates_for
from perfkit.indexing.advisor.columns import ColumnFacts, TableFacts
from perfkit.indexing.advisor.existing import ExistingIndex, existing_index
from perfkit.indexing.advisor.specs import IndexSpec
from perfkit.workload import QueryShape
from tests.testapp.advised import Captain, Leg, Voyage

MOMENT = "timestamp with time zone"
TYPES = {
    "voyage": {
        "id": "bigint",
        "captain_id": "bigint",
        "status": "character varying",
        "made": MOMENT,
        "local": "timestamp without time zone",
        "day": "date",
        "gone": MOMENT,
        "is_paid": "boolean",
        "ref": "character varying",
        "title": "text",
        "labels": "jsonb",
        "old": "json",
        "tags": "character varying[]",
        "span": "tstzrange",
        "words": "tsvector",
        "height": "integer",
        "order": "integer",
        "address": "inet",
    },
    "captain": {"id": "bigint", "name": "character varying", "country": "character varying"},
    "leg": {"id": "bigint", "voyage_id": "bigint", "number": "integer"},
}
FREQUENCIES: dict[str, dict[str, Any]] = {
    "status": {"distinct": 4.0, "common": {"done": 0.9, "open": 0.08, "late": 0.015, "lost": 0.005}},
    "is_paid": {"distinct": 2.0, "common": {"t": 0.97, "f": 0.03}},
    "gone": {"distinct": 900.0, "null_fraction": 0.02},
    "height": {"distinct": 100.0, "null_fraction": 0.9},
    "captain_id": {"distinct": 5000.0},
    "ref": {"distinct": 100_000.0},
    "order": {"distinct": 10.0},
    "title": {"width_bytes": 60},
    "labels": {"width_bytes": 120},
    "made": {"distinct": 100_000.0, "correlation": 1.0},
    "old": {"is_sortable": False},
}


def quote(name: str) -> str:
    return name


def facts(*existing: str, rows: int = 100_000, **more: Any) -> dict[str, TableFacts]:
    """Return the facts of the tables; `existing` are CREATE INDEX of `voyage`."""
    known = {}
    for table, types in TYPES.items():
        columns = {name: ColumnFacts(name, kind, **FREQUENCIES.get(name, {})) for name, kind in types.items()}
        indexes = [ExistingIndex.of_key(table, ("id",))]
        if table == "voyage":
            indexes += [
                existing_index(table, types, ("there", each, True, False, False, False)) for each in existing
            ]
        options = {"extensions": frozenset({"pg_trgm"}), **more}
        known[table] = TableFacts(table, rows, columns, tuple(indexes), **options)
    return known


def texts(specs: Any) -> list[str]:
    """Return indexes as what follows ON."""
    return [spec.sql("i", quote).partition(" ON ")[2] for spec in specs]


def thought_of(*samples: str, **options: Any) -> list[str]:
    """Return the candidates of one statement, of which these are samples."""
    found = candidates_for([QueryShape("it", 900, 1.0, samples, takings=9)], facts(**options))
    return texts(found["it"])


@contextmanager
def tables(*models: type[Model]) -> Iterator[None]:
    """Have the tables of the models within the block."""
    with connection.schema_editor() as editor:
        for model in models:
            editor.create_model(model)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            for model in reversed(models):
                editor.delete_model(model)


def all_tables() -> Any:
    return tables(Captain, Voyage, Leg)


def statement(queryset: QuerySet[Any]) -> str:
    """Return the statement of a queryset, as it is sent, with its values in it."""
    sql, params = queryset.query.sql_with_params()
    if connection.vendor == "postgresql":
        return str(connection.ops.compose_sql(sql, params))
    with connection.cursor() as cursor:
        return str(connection.ops.last_executed_query(cursor, sql, params)) if params else sql


def specs_of(sql: str, known: dict[str, TableFacts]) -> tuple[IndexSpec, ...]:
    return candidates_for([QueryShape("it", 900, 1.0, (sql,), takings=9)], known)["it"]
