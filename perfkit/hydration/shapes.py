"""What makes the instances of a shape of query, kept for its next use."""

# Note [The first use of a shape]
# Writing and compiling the function that makes a shape's instances takes as long as Django takes
# for fifty of them. So the first answer of a shape is left to Django where it is small;
# a shape that comes again is worth it.

from __future__ import annotations

from collections.abc import Hashable
from types import MethodType
from typing import Any, Final, Literal, overload

from django.db.models.sql.compiler import SQLCompiler

from perfkit.hydration.related import ModelRows, tree_of

MOST_SHAPES: Final = 2_000
"""Kept in a process; beyond, all are forgotten and learnt anew."""

WORTH_ROWS: Final = 50
"""So many rows are worth a function that may never be used again."""

_shapes: Final[dict[Hashable, ModelRows | None]] = {}
"""By what decides on the function; None of a shape that was seen once.

Two threads may both make one: they are equal.
"""


@overload
def model_rows_for(compiler: SQLCompiler, count: int, *, is_to_be_kept: Literal[True]) -> ModelRows: ...
@overload
def model_rows_for(compiler: SQLCompiler, count: int) -> ModelRows | None: ...
def model_rows_for(compiler: SQLCompiler, count: int, *, is_to_be_kept: bool = False) -> ModelRows | None:
    """Return what makes the instances of a compiled SELECT; None where Django is faster this once.

    See Note [The first use of a shape].

    Args:
        count: How many rows there are, as far as is known.
        is_to_be_kept: Whether it is wanted however few they are.
    """
    is_worth_it = is_to_be_kept or count >= WORTH_ROWS
    shape = shape_of(compiler)
    if shape is None:
        return _made(compiler) if is_worth_it else None
    known = _shapes.get(shape)
    if known is not None:
        return known
    if len(_shapes) >= MOST_SHAPES:
        _shapes.clear()
    if not is_worth_it and shape not in _shapes:
        _shapes[shape] = None
        return None
    known = _shapes[shape] = _made(compiler)
    return known


def shape_of(compiler: SQLCompiler) -> Hashable | None:
    """Return what decides how rows become instances: equal only where the same function serves.

    The models decide what their columns are, so that names are enough.
    None where a relation is set by a function that is made anew for each query.
    """
    tree = _tree_shape(compiler.klass_info or {})
    if tree is None:
        return None
    attnames = [
        None if (target := getattr(selected[0], "target", None)) is None else target.attname
        for selected in compiler.select or ()
    ]
    return (tree, tuple(attnames), tuple((compiler.annotation_col_map or {}).items()))


def _tree_shape(klass_info: dict[str, Any]) -> Hashable | None:
    parts: list[Hashable] = [klass_info["model"], *klass_info["select_fields"]]
    if "field" in klass_info:
        setter = klass_info["local_setter"]
        if type(setter) is not MethodType:
            return None
        # Of a relation whose other side is not told, Django makes a function that does nothing, each time.
        remote = klass_info["remote_setter"] if klass_info["reverse"] or klass_info["field"].unique else None
        parts += [klass_info["from_parent"], setter, remote]
    for below in klass_info.get("related_klass_infos", ()):
        shape = _tree_shape(below)
        if shape is None:
            return None
        parts.append(shape)
    return tuple(parts)


def _made(compiler: SQLCompiler) -> ModelRows:
    return ModelRows(
        tree_of(compiler.klass_info or {}, compiler.select or []), compiler.annotation_col_map or {}
    )
