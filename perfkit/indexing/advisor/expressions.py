"""Expressions of a statement as PostgreSQL itself would write them in an index, with their types. Pure.

What is not certain to give the same for the same row is not written: an index of it could not be made.

Source:
    PostgreSQL manual, "Function Volatility Categories"; `ruleutils.c` for the writing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from perfkit.indexing.advisor.calls import MOMENT, written_call
from perfkit.indexing.advisor.grammar import A_Expr_Kind, ast
from perfkit.indexing.advisor.written import (
    DOCUMENTS,
    NUMBERS,
    PLAIN_NAME,
    STRINGS,
    Written,
    as_type,
    base_type,
    literal,
    made,
    quoted,
)

_TYPE_NAMES: Final = {
    "int2": "smallint",
    "int4": "integer",
    "int": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "bool": "boolean",
    "varchar": "character varying",
    "bpchar": "character",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "timetz": "time with time zone",
    "time": "time without time zone",
    "decimal": "numeric",
}
_IMMUTABLE_CASTS: Final = frozenset(
    {(one, other) for one in NUMBERS for other in NUMBERS}
    | {(one, other) for one in NUMBERS | {"boolean", "uuid", "jsonb"} for other in STRINGS}
    | {(one, other) for one in STRINGS for other in NUMBERS | STRINGS | {"boolean", "uuid"}}
    | {("jsonb", one) for one in NUMBERS | {"boolean"}}
    | {("character", one) for one in STRINGS}
    | {("boolean", "integer"), ("integer", "boolean")}
    | {(MOMENT, "date"), (MOMENT, "time without time zone"), ("date", MOMENT)}
)

Resolve = Callable[[Any], tuple[Any, str, str] | None]
"""Of a column reference: whose column it is, its name, and its type."""


def children(node: Any) -> Iterator[Any]:
    """Yield the nodes right below one."""
    if isinstance(node, tuple):
        yield from node
    elif isinstance(node, ast.Node):
        for name in node:
            value = getattr(node, name)
            if isinstance(value, ast.Node | tuple):
                yield value


def type_of_cast(node: Any) -> str:
    """Return the type that a cast names, as SQL: whoever may make types chooses what they are called."""
    names = [each.sval for each in node.names]
    name = _TYPE_NAMES.get(names[-1], names[-1])
    if not PLAIN_NAME.match(name) and name not in _TYPE_NAMES.values():
        name = quoted(name)
    return f"{name}[]" if node.arrayBounds else name


def column_name(node: Any) -> str | None:
    """Return the last part of a column reference; None for `*`."""
    last = node.fields[-1]
    return last.sval if isinstance(last, ast.String) else None


def function_name(node: Any) -> str:
    """Return the name of a called function, without a schema."""
    name: str = node.funcname[-1].sval
    return name


def write(node: Any, resolve: Resolve) -> Written | None:
    """Return an expression as an index would have it, or None where it cannot be in one."""
    writer = _WRITERS.get(type(node))
    return writer(node, resolve) if writer else None


def constant(node: Any) -> str | None:
    """Return the value of a literal as text, however it is cast; None where it is not one."""
    while isinstance(node, ast.TypeCast):
        node = node.arg
    if isinstance(node, ast.FuncCall) and node.args and len(node.args) == 1:
        inner = constant(node.args[0])
        change = {"upper": str.upper, "lower": str.lower}.get(function_name(node))
        return change(inner) if change and inner is not None else None
    if not isinstance(node, ast.A_Const) or node.isnull:
        return None
    return _constant_text(node.val)


def _constant_text(value: Any) -> str | None:
    if isinstance(value, ast.Integer):
        return str(value.ival or 0)
    if isinstance(value, ast.Boolean):
        return "t" if value.boolval else "f"
    if isinstance(value, ast.Float):
        return str(value.fval)
    return value.sval or "" if isinstance(value, ast.String) else None


def _write_column(node: Any, resolve: Resolve) -> Written | None:
    found = resolve(node)
    if found is None:
        return None
    source, name, kind = found
    return Written(quoted(name), base_type(kind), frozenset({source}), (name,), is_column=True)


def _write_constant(node: Any, _: Resolve) -> Written | None:
    if node.isnull:
        return Written("NULL", "", is_literal=True)
    value = _constant_text(node.val)
    if value is None:
        return None
    if isinstance(node.val, ast.String):
        return Written(literal(value), "", value=value, is_literal=True)
    if isinstance(node.val, ast.Boolean):
        return Written("true" if value == "t" else "false", "boolean", value=value, is_literal=True)
    kind = "integer" if isinstance(node.val, ast.Integer) else "numeric"
    return Written(value, kind, value=value, is_literal=True)


def _write_cast(node: Any, resolve: Resolve) -> Written | None:
    inner = write(node.arg, resolve)
    kind = type_of_cast(node.typeName)
    if inner is None or node.typeName.typmods:
        return None
    if inner.is_literal:
        text = inner.text if inner.text.startswith("'") else literal(inner.value or "")
        return Written(f"{text}::{kind}", kind, value=inner.value, is_literal=True)
    if inner.type == kind or (kind == "text" and inner.type == "character varying" and inner.is_column):
        return inner  # PostgreSQL compares a varying as text by itself
    if (inner.type, kind) not in _IMMUTABLE_CASTS:
        return None
    return made(f"({inner.text})::{kind}", kind, inner)


def _write_call(node: Any, resolve: Resolve) -> Written | None:
    if node.agg_star or node.agg_distinct or node.over or node.agg_order or node.agg_filter or not node.args:
        return None
    names = [each.sval for each in node.funcname]
    if len(names) > 1 and names[0] != "pg_catalog":
        return None
    parts = [write(each, resolve) for each in node.args]
    if any(part is None for part in parts):
        return None
    return written_call(names[-1], [part for part in parts if part is not None], node)


_DOCUMENT_OPERATORS: Final = {"->": "", "#>": "", "->>": "text", "#>>": "text"}
"""Each with the type of what it gives; empty for the document's own."""


def _write_operation(node: Any, resolve: Resolve) -> Written | None:
    if node.kind != A_Expr_Kind.AEXPR_OP or node.lexpr is None or len(node.name) != 1:
        return None
    left, right = write(node.lexpr, resolve), write(node.rexpr, resolve)
    if left is None or right is None:
        return None
    operator = node.name[0].sval
    if operator in _DOCUMENT_OPERATORS and left.type in DOCUMENTS and right.is_literal:
        kind = "text[]" if operator.startswith("#") else "text"
        key = right.text if right.type == "integer" else as_type(right, kind)
        return made(f"({left.text} {operator} {key})", _DOCUMENT_OPERATORS[operator] or left.type, left)
    if operator == "||":
        return _joined(left, right)
    if operator in {"+", "-", "*", "/", "%"} and {left.type, right.type} <= NUMBERS:
        kind = left.type if left.type == right.type else "numeric"
        return made(f"({left.text} {operator} {right.text})", kind, left, right)
    return None


def _joined(left: Written, right: Written) -> Written | None:
    if {left.type, right.type} <= STRINGS | {""}:
        return made(f"({as_type(left, 'text')} || {as_type(right, 'text')})", "text", left, right)
    if left.type == right.type == "tsvector":
        return made(f"({left.text} || {right.text})", "tsvector", left, right)
    return None


def _write_coalesce(node: Any, resolve: Resolve) -> Written | None:
    parts = [write(each, resolve) for each in node.args]
    known = [part for part in parts if part is not None]
    kinds = {part.type for part in known if part.type}
    if len(known) != len(parts) or not kinds:
        return None
    if kinds <= STRINGS:
        kind = "text" if "text" in kinds else "character varying"
    elif len(kinds) == 1:
        (kind,) = kinds
    else:
        return None
    return made(f"COALESCE({', '.join(as_type(part, kind) for part in known)})", kind, *known)


_WRITERS: Final[dict[type, Callable[[Any, Resolve], Written | None]]] = {
    ast.ColumnRef: _write_column,
    ast.A_Const: _write_constant,
    ast.TypeCast: _write_cast,
    ast.FuncCall: _write_call,
    ast.A_Expr: _write_operation,
    ast.CoalesceExpr: _write_coalesce,
}
