"""Turns an index into one of `Meta.indexes`, and proves on the database that it is the same."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Final

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Index, Model
from django.utils import timezone

from perfkit.errors import UnwritableIndexError
from perfkit.indexing.advisor.bounds import bounded, has_given_up, without_end
from perfkit.indexing.advisor.pragmas import statement_spec
from perfkit.indexing.advisor.sessions import OutOfTimeError
from perfkit.indexing.advisor.specs import IndexSpec
from perfkit.indexing.advisor.wording import index_of, tree_of
from perfkit.indexing.definitions import stated_shape, wanted_shape
from perfkit.indexing.wanted import of_index
from perfkit.postgres.catalogue import IndexShape

LONGEST_NAME: Final = Index.max_name_length
TRIGRAMS: Final = frozenset({"gin_trgm_ops", "gist_trgm_ops"})
DIGEST_LETTERS: Final = 6
WORD: Final = re.compile(r"[a-z][a-z0-9_]*", re.IGNORECASE)


def declared_index(
    spec: IndexSpec,
    model: type[Model],
    name: str,
    *,
    using: str,
    left_seconds: Callable[[], float] = without_end,
) -> Index:
    """Return an index that Django makes on the database just as the spec says.

    Raises:
        UnwritableIndexError: Django has no words for it, or what it would make is another index; or others have
            locked the table, or there is no time left, so that this is not known.

    Queries: 15 on PostgreSQL, on an empty temporary table that is rolled back; none of the database on SQLite.
    """
    index = index_of(spec, model, name)
    connection = connections[using]
    if _awaits_trigrams(connection, spec):
        return index
    is_same = _is_same_on_postgres if connection.vendor == "postgresql" else _is_same_on_sqlite
    try:
        with timezone.override(None), bounded(connection, left_seconds):  # as in migrations
            same = is_same(connection, spec, model, index)
    except OutOfTimeError:
        raise UnwritableIndexError("there was no time left to prove a line for it; run it again") from None
    except (DatabaseError, sqlite3.Error) as error:
        if isinstance(error, DatabaseError) and has_given_up(error):
            raise UnwritableIndexError(f"others have locked {spec.table}, so nothing was proven") from error
        first = str(error).strip().partition("\n")[0]
        raise UnwritableIndexError(f"the database does not take it: {first}") from error
    if not same:
        raise UnwritableIndexError("what Django would make of it is another index")
    return index


def without_own_nulls(spec: IndexSpec) -> IndexSpec:
    """Return the index as SQLite takes it: NULL is first where ascending, last where descending, by itself."""
    keys = tuple(
        replace(key, nulls_first=None) if key.nulls_first is (not key.descending) else key
        for key in spec.keys
    )
    return replace(spec, keys=keys)


def _awaits_trigrams(connection: BaseDatabaseWrapper, spec: IndexSpec) -> bool:
    """Tell whether an index of columns alone waits for pg_trgm, which its migration makes: it needs no proof."""
    classes = {key.operator_class for key in spec.keys}
    if connection.vendor != "postgresql" or not classes & TRIGRAMS:
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm')")
        (is_there,) = cursor.fetchone()
    if is_there:
        return False
    if spec.condition or any(key.is_expression for key in spec.keys):
        raise UnwritableIndexError("the extension pg_trgm is not there yet, so nothing can be proven of it")
    return True


def index_name(spec: IndexSpec, of: str, taken: Collection[str] = ()) -> str:
    """Return a name for an index: the same one for the same index, and at most 30 letters. Pure.

    Args:
        of: The name of the model, or whatever it is to begin with.
        taken: Names that others have.
    """
    words = [of, *(word for key in spec.keys for word in _words(key.text))]
    stem = "_".join(words).lower().strip("_")[: LONGEST_NAME - DIGEST_LETTERS - 1].rstrip("_")
    stem = stem if stem[:1].isalpha() else f"i{stem}"[: LONGEST_NAME - DIGEST_LETTERS - 1]
    number = 0
    while True:
        told = repr((spec, number) if number else spec)
        name = f"{stem}_{hashlib.sha256(told.encode()).hexdigest()[:DIGEST_LETTERS]}"
        if name not in taken:
            return name
        number += 1


def _words(text: str) -> list[str]:
    return [word for word in WORD.findall(text) if word not in {"text", "timezone"}]


def _is_same_on_postgres(
    connection: BaseDatabaseWrapper, spec: IndexSpec, model: type[Model], index: Index
) -> bool:
    def statement(table: str) -> str:
        return spec.on(table).sql(index.name, connection.ops.quote_name)

    with connection.schema_editor(atomic=False) as editor:
        wanted = stated_shape(editor, spec.table, index.name, statement)
        made = wanted_shape(editor, of_index(model, index))
    return _form(wanted, model) == _form(made, model)


def _form(shape: IndexShape, model: type[Model]) -> tuple[Any, ...]:
    """Return what makes an index, with expressions as trees, so that `NOT (a = b)` is `a <> b`."""
    texts = tuple(_tree_or_text(text, model) for text in shape.columns)
    condition = _tree_or_text(shape.condition, model) if shape.condition else ""
    rest = (shape.method, shape.is_unique, shape.key_columns, shape.operator_classes, shape.collations)
    return *rest, shape.orders, shape.storage, texts, condition


def _tree_or_text(text: str, model: type[Model]) -> Any:
    if text.replace("_", "a").isalnum():
        return text
    try:
        return tree_of(text, model)
    except UnwritableIndexError:
        return text


def _is_same_on_sqlite(
    connection: BaseDatabaseWrapper, spec: IndexSpec, model: type[Model], index: Index
) -> bool:
    """Make both on an empty table in memory, and compare what SQLite says of them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = %s", [spec.table])
        row = cursor.fetchone()
    if row is None:
        raise UnwritableIndexError(f"there is no table {spec.table}")
    made = str(index.create_sql(model, connection.schema_editor(collect_sql=True, atomic=False)))
    spec = without_own_nulls(spec)
    scratch = sqlite3.connect(":memory:")
    try:
        scratch.execute(row[0])
        forms = []
        for statement in (spec.sql(index.name, connection.ops.quote_name), made):
            scratch.execute(statement)
            found = statement_spec(scratch, spec.table, index.name)
            condition = _tree_or_text(found.condition, model) if found.condition else ""
            keys = [(_tree_or_text(key.text, model), key.descending) for key in found.keys]
            forms.append((keys, condition, found.is_unique))
            scratch.execute(f"DROP INDEX {connection.ops.quote_name(index.name)}")
    finally:
        scratch.close()
    return forms[0] == forms[1]
