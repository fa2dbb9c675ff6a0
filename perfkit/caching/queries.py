"""What is known of a query before it is answered from the cache: its key, its tables, how its rows become objects.

The key comes from the query's structure; where that is not known, from the SQL it compiles to.
What only the structure decides is kept per process, as a `Shape`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import django
import msgspec
from django.core.exceptions import EmptyResultSet
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler

from perfkit.caching.bypass import Bypass, UntrackedTableBypass
from perfkit.caching.calls import Unbuilt
from perfkit.caching.databases import entry_scope, tag_scope
from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.naming import Naming, naming_of
from perfkit.caching.places import Place, Rows
from perfkit.caching.registry import tracked_tables
from perfkit.caching.restrictions import Restriction, restriction_of
from perfkit.caching.structure import Reach, reach_of, structure_of
from perfkit.caching.tags import any_write_tag, query_key
from perfkit.hydration import FETCH_MODE, Hydrator, answer_of, hydrator_for, set_known_related
from perfkit.hydration.telling import PARAMETERS, tell_hydrated
from perfkit.signals import rows_hydrated

MOST_SHAPES: Final = 2_000
"""Structures of queries kept in a process; beyond, all are forgotten and learnt anew."""

EXACT_TYPES: Final = (bool, int, float, str, bytes, type(None))
"""Parameters of compiled SQL whose text tells them apart; of others the type's name stands beside it."""

_encoder: Final = msgspec.msgpack.Encoder()


class Shape:
    """What all queries of one structure have in common.

    Args:
        name: What the structure is called in keys: the same in every process.
        reach: The tables it reads, and why it may not be cached.
        restriction: What keeps it to some rows of its own table.
    """

    __slots__ = ("_forms", "name", "reach", "restriction", "tables")

    def __init__(self, name: bytes, reach: Reach, restriction: Restriction | None = None) -> None:
        self.name = name
        self.reach = reach
        self.restriction = restriction
        self.tables = tuple(sorted(reach.tables))
        self._forms: dict[tuple[type, type, str, bool], Form] = {}

    def form(self, queryset: QuerySet[Any], known: Compiled | None, vendor: str) -> Form:
        """Return how rows of a vendor's database become what `queryset` yields; learnt once, from its SQL."""
        iterable_class: type = queryset._iterable_class  # noqa: SLF001  # no public name
        is_usual = getattr(queryset, "_fetch_mode", FETCH_MODE) is FETCH_MODE  # only from Django 6.1
        kind = (queryset.model, iterable_class, vendor, is_usual)
        form = self._forms.get(kind)
        if form is None:
            compiler = (known or compiled(queryset.query, queryset.db)).compiler
            made_as: type = getattr(iterable_class, "made_as", iterable_class)
            hydrator = hydrator_for(compiler, made_as) if is_usual else None
            finish = getattr(iterable_class, "finished", None)
            form = self._forms[kind] = Form(hydrator, len(compiler.select or ()), made_as, finish)
        return form


class Form(NamedTuple):
    """How the rows of a query become what its queryset yields.

    Args:
        hydrator: None where only Django itself can do it.
        columns: In each row.
        made_as: The iterable class of Django that yields the same objects.
        finish: What is done to the objects before they are yielded; an iterable class of perfkit's may have it.
    """

    hydrator: Hydrator | None
    columns: int
    made_as: type
    finish: Callable[[list[Any]], list[Any]] | None

    def fits(self, rows: Rows) -> bool:
        """Say whether rows may be an answer to the query."""
        return not rows or len(rows[0]) == self.columns

    def objects(self, queryset: QuerySet[Any], rows: Rows, connection: BaseDatabaseWrapper) -> list[Any]:
        """Return what iterating over `queryset` yields where the database answers `rows`."""
        if self.hydrator is None:
            tell_hydrated(queryset, len(rows), PARAMETERS)
            return _djangos_objects(queryset, rows, connection.alias)
        objects = self.hydrator(rows, connection)
        if rows_hydrated.receivers and self.hydrator.makes_instances:
            tell_hydrated(queryset, len(rows), self.hydrator.why_from_db())
        if self.made_as is ModelIterable and queryset._known_related_objects:  # type: ignore[attr-defined]  # noqa: SLF001  # likewise
            set_known_related(objects, queryset)
        return objects if self.finish is None else self.finish(objects)


class PreparedRead:
    """A query that may be answered from the cache.

    Args:
        parts: What makes its key, beside the database.
        restricting: The values of the shape's restriction, where it has one.
        known: The compiled query, where only its SQL could name it.
    """

    __slots__ = ("_restricting", "known", "parts", "shape")

    def __init__(
        self,
        shape: Shape,
        parts: tuple[bytes, ...],
        *,
        restricting: Sequence[object] = (),
        known: Compiled | None = None,
    ) -> None:
        self.shape = shape
        self.parts = parts
        self.known = known
        self._restricting = restricting

    def place(self, connection: BaseDatabaseWrapper, ttl_seconds: int, *kind: str) -> Place:
        """Return where the answer is kept.

        Args:
            connection: To the database that is asked.
            ttl_seconds: How long; answers kept for other times are others.
            kind: What is asked of the query where that is not its rows: `"count"`, for example.
        """
        extra = (str(ttl_seconds), *kind)
        scope = tag_scope(connection)
        digest = hashlib.blake2b(
            _encoder.encode((django.VERSION[:2], connection.vendor, self.parts, extra)), digest_size=16
        )
        lasting, besides = self._tags(scope, has_rows=not kind)
        key = query_key(entry_scope(connection), digest.hexdigest())
        return Place(key, (*lasting, *besides), len(lasting), (self.shape.name, extra))

    def _tags(self, scope: str, *, has_rows: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what the answer depends on, and what one without rows depends on besides.

        Args:
            has_rows: Whether the rows of the answer are those of the query, and not a number of them.
        """
        shape = self.shape
        restriction = shape.restriction
        if restriction is not None and (has_rows or restriction.column is not None):
            own = restriction.tags(self._restricting, scope)
            if own is not None:
                others = [
                    any_write_tag(scope, table) for table in shape.tables if table != restriction.table.name
                ]
                return (*own[0], *others), own[1]
        return tuple([any_write_tag(scope, table) for table in shape.tables]), ()


def prepared_read(query: Query, alias: str) -> PreparedRead:
    """Return what is known of a query.

    Raises:
        Bypass: Its answer may not be kept.
        EmptyResultSet: It has none: Django asks no database.
    """
    structure = structure_of(query)
    if structure is None:
        return _named_by_sql(query, alias)
    shape = _shape_of(structure.skeleton, query)
    _require_allowed(shape.reach)
    restricting = () if shape.restriction is None else shape.restriction.values(query)
    return PreparedRead(shape, (shape.name, _bytes_of(structure.values)), restricting=restricting)


def prepared_unbuilt(unbuilt: Unbuilt) -> PreparedRead | None:
    """Return what is known of the query that calls make, the same as when it is built; None where it must be.

    Raises:
        Bypass: Its answer may not be kept.
    """
    known: tuple[Shape, Naming] | bool | None = unbuilt.calls.kept
    if known is None:
        naming = naming_of(unbuilt)
        known = naming is not None and (_shape_of(naming.skeleton, unbuilt.build()), naming)
        unbuilt.calls.kept = known
    if known is False or not unbuilt.calls.are_as_learnt:
        return None
    shape, naming = known  # type: ignore[misc]  # it is a pair
    _require_allowed(shape.reach)
    parts = (shape.name, _bytes_of(naming.parameters(unbuilt.values)))
    if shape.restriction is None:
        return PreparedRead(shape, parts)
    place = naming.compared[shape.restriction.position]
    return None if place is None else PreparedRead(shape, parts, restricting=[unbuilt.values[place]])


def _shape_of(skeleton: tuple[Any, ...], query: Query) -> Shape:
    shape = _shapes.get(skeleton)
    if shape is None:
        name = hashlib.blake2b(repr(skeleton).encode(), digest_size=16).digest()
        reach = reach_of(query)
        shape = _keep(skeleton, Shape(name, reach, restriction_of(query, reach)))
    return shape


def _named_by_sql(query: Query, alias: str) -> PreparedRead:
    reach = reach_of(query)
    _require_allowed(reach)
    known = compiled(query, alias)
    name = hashlib.blake2b(known.sql.encode(), digest_size=16).digest()
    parts = (name, _bytes_of(tuple(_told_apart(known.params))))
    return PreparedRead(Shape(name, reach), parts, known=known)


def _bytes_of(values: tuple[Any, ...]) -> bytes:
    """Return the same bytes for the same values only."""
    try:
        return _encoder.encode(values)
    except (OverflowError, UnicodeEncodeError):  # beyond 64 bits; half a character
        try:
            return repr(values).encode()
        except ValueError as error:  # Python shows no number so large
            raise Bypass("value too large") from error


def _told_apart(params: Iterable[Any]) -> Iterable[Any]:
    """Yield parameters so that two that the database might take differently never look alike."""
    for value in params:
        kind = type(value)
        if kind in {list, tuple}:
            yield [kind.__name__, *_told_apart(value)]
        elif kind in EXACT_TYPES:
            yield value
        elif kind.__module__ in {"datetime", "decimal", "uuid"}:
            yield [kind.__name__, repr(value)]
        elif kind.__module__.startswith("psycopg.types.") and isinstance(value, int | float | str):
            yield [kind.__name__, kind.__mro__[1](value)]  # a plain value that carries its type
        elif kind.__name__ in {"Json", "Jsonb"} and kind.__module__.startswith("psycopg.types."):
            yield [kind.__name__, (value.dumps or json.dumps)(value.obj)]
        else:
            raise Bypass(f"parameter of type {kind.__name__}")


def _require_allowed(reach: Reach) -> None:
    if reach.refusal:
        raise Bypass(reach.refusal)
    unknown = reach.tables - tracked_tables().keys()
    if unknown:
        raise UntrackedTableBypass(sorted(unknown))


class Compiled(NamedTuple):
    """A query as SQL, and the compiler that knows the columns of its rows."""

    compiler: SQLCompiler
    sql: str
    params: Sequence[Any]

    def rows(self) -> list[tuple[Any, ...]]:
        """Ask the database; return its rows as the driver gave them.

        Queries: one.
        """
        return [tuple(row) for chunk in answer_of(*self) for row in chunk]


def compiled(query: Query, alias: str) -> Compiled:
    """Compile a query.

    Raises:
        EmptyResultSet: It has no rows, whatever the database holds.
    """
    compiler = query.get_compiler(using=alias)
    return Compiled(compiler, *compiler.as_sql())


def rows_of(queryset: QuerySet[Any]) -> Rows:
    """Ask the database for the rows that a queryset is made of; return them as the driver gave them.

    Queries: one, or none where the queryset can have no rows.
    """
    try:
        return compiled(queryset.query, queryset.db).rows()
    except EmptyResultSet:
        return []


def model_fingerprint(model: type[Model]) -> str:
    """Return what changes with the columns of a model or their types."""
    columns = ",".join(
        f"{each.attname}:{each.column}:{each.get_internal_type()}" for each in model._meta.concrete_fields
    )
    return hashlib.blake2b(f"{model._meta.db_table};{columns}".encode(), digest_size=6).hexdigest()


def _djangos_objects(queryset: QuerySet[Any], rows: Rows, alias: str) -> list[Any]:
    """Let Django's own iterable make the objects, on a compiler whose answer is known."""
    clone: Any = queryset._chain()  # type: ignore[attr-defined]  # noqa: SLF001  # no public name
    compiler = clone.query.get_compiler(using=alias)
    compiler.pre_sql_setup()
    compiler.execute_sql = lambda *_args, **_kwargs: [rows]
    clone.query.get_compiler = lambda *_args, **_kwargs: compiler
    return list(clone._iterable_class(clone))  # noqa: SLF001  # likewise


_shapes: Final[dict[tuple[Any, ...], Shape]] = {}
_lock: Final = fork_safe_lock()


def _keep(skeleton: tuple[Any, ...], shape: Shape) -> Shape:
    with _lock:
        if len(_shapes) >= MOST_SHAPES:
            _shapes.clear()
        return _shapes.setdefault(skeleton, shape)
