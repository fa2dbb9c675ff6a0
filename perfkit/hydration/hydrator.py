"""From the raw rows of one compiled SELECT to what its queryset yields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    ValuesIterable,
    ValuesListIterable,
)
from django.db.models.sql.compiler import SQLCompiler

from perfkit.hydration.converters import Converters, Row, converts_by_parameters, selected_expressions
from perfkit.hydration.instances import compiled
from perfkit.hydration.related import ModelRows, tree_of

Assemble = Callable[[str, Iterable[Row]], list[Any]]


class Hydrator:
    """Turns raw rows of one compiled SELECT into what Django's iterable yields.

    It is made once for a shape of query and serves every later read of that shape,
    from any thread and on any connection of the same vendor: of connection and compiler it keeps nothing.
    The same shape means the same model, columns, relations, names, and types of annotations (`output_field`),
    which the text of the SQL does not show; parameters may differ.

    Instances get the default fetch mode. What a related manager knows is added by `set_known_related`.

    Args:
        compiler: After `as_sql()`, which fills in what it selects.
        iterable_class: The queryset's; `hydrator_for` says whether it is served.
    """

    def __init__(self, compiler: SQLCompiler, iterable_class: type) -> None:
        converters = Converters(compiler)
        self._convert = converters if converters.is_needed else None
        self._assemble = ASSEMBLERS[iterable_class](compiler)

    def __call__(
        self, rows: Sequence[Row], connection: BaseDatabaseWrapper, *, alias: str | None = None
    ) -> list[Any]:
        """Return what the queryset yields, in the order of `rows`.

        Args:
            rows: As the driver gave them, before any converter. They are not changed.
            connection: Whose converters apply.
            alias: The database that instances say they come from; the connection's where left out.
        """
        shown = rows if self._convert is None else self._convert(rows, connection)
        return self._assemble(alias or connection.alias, shown)

    @property
    def makes_instances(self) -> bool:
        """Whether its results are instances of a model."""
        return isinstance(self._assemble, ModelRows)

    def why_from_db(self) -> str:
        """Return why some instances are made by their model's `from_db`; an empty text where none is."""
        return self._assemble.why_from_db() if isinstance(self._assemble, ModelRows) else ""


def hydrator_for(compiler: SQLCompiler, iterable_class: type) -> Hydrator | None:
    """Return the hydrator of a compiled SELECT; None where Django itself has to make its results.

    So it is with an iterable class of the project, with named tuples (their names are not the compiler's),
    and with expressions that convert values by the query's parameters.

    Raises:
        ValueError: The compiler has not compiled.
    """
    if iterable_class not in ASSEMBLERS:
        return None
    expressions = selected_expressions(compiler)
    if iterable_class is ModelIterable and not compiler.klass_info:
        return None
    if iterable_class is ValuesIterable and len(_value_names(compiler)) != len(expressions):
        return None
    if any(map(converts_by_parameters, expressions)):
        return None
    return Hydrator(compiler, iterable_class)


def _instances(compiler: SQLCompiler) -> Assemble:
    root = tree_of(compiler.klass_info or {}, compiler.select or [])
    return ModelRows(root, compiler.annotation_col_map or {})


def _dicts(compiler: SQLCompiler) -> Assemble:
    names = _value_names(compiler)
    unpacked = "".join(f"value_{number}, " for number in range(len(names)))
    pairs = ", ".join(f"{name!r}: value_{number}" for number, name in enumerate(names))
    lines = ["def assemble(alias, rows):", f"    return [{{{pairs}}} for ({unpacked}) in rows]"]
    assemble: Assemble = compiled(lines, {})["assemble"]
    return assemble


def _tuples(_: SQLCompiler) -> Assemble:
    return lambda alias, rows: list(map(tuple, rows))


def _first_values(_: SQLCompiler) -> Assemble:
    return lambda alias, rows: [row[0] for row in rows]


def _value_names(compiler: SQLCompiler) -> list[str]:
    """Return the keys of what `values()` yields, as its iterable reads them from the query."""
    query = compiler.query
    if query.selected:
        return list(query.selected)
    return [*query.extra_select, *query.values_select, *query.annotation_select]


ASSEMBLERS: dict[type, Callable[[SQLCompiler], Assemble]] = {
    ModelIterable: _instances,
    ValuesIterable: _dicts,
    ValuesListIterable: _tuples,
    FlatValuesListIterable: _first_values,
}
