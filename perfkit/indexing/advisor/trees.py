"""Expressions of SQL as plain tuples, so that two spellings of one are equal, and Django's can be made of them.

    ("column", name)            ("value", text)             ("call", name, …)       ("cast", type, modifiers, x)
    ("operator", sign, x, y)    ("collate", name, x)        ("and", …)              ("or", …)
    ("not", x)                  ("null", x)                 ("in", x, …)

This is the one module of the advisor that reads expressions of indexes with pglast; see `of_text`.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import Any, Final, TypeAlias

from perfkit.errors import UnwritableIndexError

Tree: TypeAlias = tuple[Any, ...]

TEXTS: Final = frozenset({"text", "varchar", "bpchar"})
TRUTHS: Final = {"t": "true", "f": "false", "true": "true", "false": "false"}
ATTRIBUTES: Final = {"Integer": "ival", "Float": "fval", "String": "sval"}
OPPOSITES: Final = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
MIRRORED: Final = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}


def of_text(text: str, *, texts: Collection[str] = (), truths: Collection[str] = ()) -> Tree:
    """Return the tree of one expression.

    Args:
        text: As PostgreSQL or somebody else writes it.
        texts: Columns that hold text, which a cast to text leaves as they are.
        truths: Columns that are true or false.

    Raises:
        UnwritableIndexError: It cannot be read, or holds what has no tree; or pglast is not installed.
    """
    try:
        pglast: Any = import_module("pglast")
    except ImportError as error:
        raise UnwritableIndexError(
            "expressions are read with pglast: pip install 'django-perfkit[advisor]'"
        ) from error
    try:
        (statement,) = pglast.parse_sql(f"SELECT {text}")
        (target,) = statement.stmt.targetList
    except (pglast.parser.ParseError, ValueError) as error:
        raise UnwritableIndexError("its expression cannot be read") from error
    return _Reading(frozenset(texts), frozenset(truths)).tree(target.val)


class _Reading:
    def __init__(self, texts: frozenset[str], truths: frozenset[str]) -> None:
        self._texts = texts
        self._truths = truths

    def tree(self, node: Any) -> Tree:
        kind = type(node).__name__
        read = getattr(self, f"_{kind.lower()}", None)
        if read is None:
            raise UnwritableIndexError(f"its expression holds {kind}, which Django has no words for")
        found: Tree = read(node)
        return found

    def _columnref(self, node: Any) -> Tree:
        return "column", node.fields[-1].sval

    def _a_const(self, node: Any) -> Tree:
        value = node.val
        kind = type(value).__name__
        if kind == "Boolean":
            return "value", "true" if value.boolval else "false"
        if kind not in ATTRIBUTES:
            raise UnwritableIndexError("its expression holds a value of an odd kind")
        return "value", str(getattr(value, ATTRIBUTES[kind]))

    def _typecast(self, node: Any) -> Tree:
        inner = self.tree(node.arg)
        name = node.typeName.names[-1].sval
        modifiers = tuple(each.val.ival for each in node.typeName.typmods or ())
        if inner[0] == "value":
            return ("value", TRUTHS[inner[1]]) if name == "bool" and inner[1] in TRUTHS else inner
        if inner[0] == "array" or node.typeName.arrayBounds:
            return inner
        if name in TEXTS and not modifiers and inner[0] == "column" and inner[1] in self._texts:
            return inner
        return "cast", name, modifiers, inner

    def _a_arrayexpr(self, node: Any) -> Tree:
        return ("array", *(self.tree(each) for each in node.elements))

    def _funccall(self, node: Any) -> Tree:
        if node.agg_star or node.agg_distinct or node.over or node.agg_order or node.agg_filter:
            raise UnwritableIndexError("its expression holds an aggregate")
        return ("call", node.funcname[-1].sval, *(self.tree(each) for each in node.args or ()))

    def _coalesceexpr(self, node: Any) -> Tree:
        return ("call", "coalesce", *(self.tree(each) for each in node.args))

    def _collateclause(self, node: Any) -> Tree:
        return "collate", node.collname[-1].sval, self.tree(node.arg)

    def _nulltest(self, node: Any) -> Tree:
        test: Tree = ("null", self.tree(node.arg))
        return test if node.nulltesttype.name == "IS_NULL" else ("not", test)

    def _boolexpr(self, node: Any) -> Tree:
        parts = [self.tree(each) for each in node.args]
        word = node.boolop.name
        if word == "NOT_EXPR":
            return _opposite(parts[0])
        name = "and" if word == "AND_EXPR" else "or"
        flat = [each for part in parts for each in (part[1:] if part[0] == name else (part,))]
        return (name, *sorted(flat, key=repr))

    def _a_expr(self, node: Any) -> Tree:
        kind, sign = node.kind.name, node.name[-1].sval
        left = self.tree(node.lexpr) if node.lexpr is not None else None
        if left is None:
            raise UnwritableIndexError(f"its expression holds {sign} before one value")
        if kind in {"AEXPR_IN", "AEXPR_OP_ANY"}:
            listed = node.rexpr if isinstance(node.rexpr, tuple) else self.tree(node.rexpr)
            if not isinstance(node.rexpr, tuple) and listed[0] != "array":
                raise UnwritableIndexError("its expression holds ANY of no list")
            values = [self.tree(each) for each in listed] if isinstance(node.rexpr, tuple) else listed[1:]
            if kind == "AEXPR_OP_ANY" and sign != "=":
                raise UnwritableIndexError(f"its expression holds {sign} ANY")
            found: Tree = ("in", left, *sorted(values, key=repr))
            if len(values) == 1:
                found = self._operator("=", left, values[0])
            return _opposite(found) if sign == "<>" else found
        if kind not in {"AEXPR_OP", "AEXPR_LIKE"}:
            raise UnwritableIndexError(f"its expression holds {kind}")
        return self._operator(sign, left, self.tree(node.rexpr))

    def _operator(self, sign: str, left: Tree, right: Tree) -> Tree:
        if left[0] == "value" and right[0] != "value" and sign in MIRRORED:
            left, right, sign = right, left, MIRRORED[sign]
        is_truth = left[0] == "column" and left[1] in self._truths and right[0] == "value"
        if is_truth and sign in {"=", "<>"} and right[1] in TRUTHS:
            return left if (TRUTHS[right[1]] == "true") == (sign == "=") else ("not", left)
        return "operator", sign, left, right


def _opposite(tree: Tree) -> Tree:
    if tree[0] == "not":
        inner: Tree = tree[1]
        return inner
    if tree[0] == "operator" and tree[1] in OPPOSITES:
        return "operator", OPPOSITES[tree[1]], tree[2], tree[3]
    return "not", tree
