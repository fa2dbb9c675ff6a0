"""What one condition of a statement finds, and by which column or expression. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from perfkit.indexing.advisor.expressions import Resolve, children, constant, write
from perfkit.indexing.advisor.grammar import A_Expr_Kind, BoolExprType, BoolTestType, NullTestType, ast
from perfkit.indexing.advisor.matching import RANGES, compared_type, match_of, negation, pattern_match
from perfkit.indexing.advisor.scans import Condition, Match
from perfkit.indexing.advisor.written import TEXTS, Written, as_type

Found = list[tuple[Any, Condition]]
"""Conditions, each with the source that it is on."""

_MIRRORED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "@>": "<@", "<@": "@>", "&&": "&&"}


KEY: Final = re.compile(r"[A-Za-z_][\w.-]{0,62}")
"""A key that a program asks for; what a user has typed may be anything."""


class ConditionReader:
    """Reads conditions; whose a column is, `resolve` says, and whether it varies in one run, `is_local`."""

    def __init__(self, resolve: Resolve, local: frozenset[Any]) -> None:
        self.resolve = resolve
        self.local = local

    def read(self, node: Any) -> Found:
        """Return what a condition without AND and OR at its top finds; [] where no index could serve it."""
        if isinstance(node, ast.BoolExpr) and node.boolop == BoolExprType.NOT_EXPR:
            return self._negated(_only(node.args))
        if isinstance(node, ast.NullTest):
            return self._null(node, is_null=node.nulltesttype == NullTestType.IS_NULL)
        if isinstance(node, ast.BooleanTest):
            return self._tested(node)
        if isinstance(node, ast.A_Expr):
            return self._operation(node)
        return self._boolean(node, is_true=True)

    def sources(self, node: Any) -> frozenset[Any]:
        """Return whose columns are anywhere in an expression."""
        found: set[Any] = set()
        stack = [node]
        while stack:
            each = stack.pop()
            if isinstance(each, ast.ColumnRef):
                resolved = self.resolve(each)
                if resolved:
                    found.add(resolved[0])
            stack.extend(children(each))
        return frozenset(found)

    def _boolean(self, node: Any, *, is_true: bool) -> Found:
        written = write(node, self.resolve)
        if written is None or written.type != "boolean" or not written.is_column:
            return []
        text = written.text if is_true else f"(NOT {written.text})"
        return self._on(written, Condition(Match.EQUAL, written.term(), text, "t" if is_true else "f"))

    def _tested(self, node: Any) -> Found:
        written = write(node.arg, self.resolve)
        wanted = {BoolTestType.IS_TRUE: ("TRUE", "t"), BoolTestType.IS_FALSE: ("FALSE", "f")}.get(
            node.booltesttype
        )
        if written is None or not written.is_column or wanted is None:
            return []
        return self._on(
            written, Condition(Match.EQUAL, written.term(), f"({written.text} IS {wanted[0]})", wanted[1])
        )

    def _negated(self, node: Any) -> Found:
        if isinstance(node, ast.NullTest):
            return self._null(node, is_null=node.nulltesttype != NullTestType.IS_NULL)
        if isinstance(node, ast.BoolExpr) and node.boolop == BoolExprType.NOT_EXPR:
            return self.read(_only(node.args))
        if isinstance(node, ast.ColumnRef):
            return self._boolean(node, is_true=False)
        if isinstance(node, ast.A_Expr):
            return [
                (source, Condition(Match.OTHER, each.term, negation(each), each.value, each.values))
                for source, each in self._operation(node)
                if each.match in {Match.EQUAL, Match.ANY} and each.text and not each.is_null
            ]
        return []

    def _null(self, node: Any, *, is_null: bool) -> Found:
        written = write(node.arg, self.resolve)
        if written is None:
            return []
        text = f"({written.text} IS {'' if is_null else 'NOT '}NULL)"
        match = Match.EQUAL if is_null else Match.OTHER
        return self._on(written, Condition(match, written.term(), text, is_null=True))

    def _on(self, written: Written, condition: Condition) -> Found:
        if len(written.sources) != 1 or not written.columns:
            return []
        (source,) = written.sources
        if source not in self.local and condition.match is not Match.JOIN:
            return []
        return [(source, condition)]

    def _operation(self, node: Any) -> Found:
        kind = node.kind
        if kind in {A_Expr_Kind.AEXPR_LIKE, A_Expr_Kind.AEXPR_ILIKE}:
            found = self._like(node)
        elif kind == A_Expr_Kind.AEXPR_IN:
            found = self._listed(node, list(node.rexpr), negated=node.name[-1].sval == "<>")
        elif kind == A_Expr_Kind.AEXPR_OP_ANY:
            found = self._any(node)
        elif kind in {A_Expr_Kind.AEXPR_BETWEEN, A_Expr_Kind.AEXPR_BETWEEN_SYM}:
            found = self._between(node)
        elif kind == A_Expr_Kind.AEXPR_NOT_DISTINCT:
            is_null = isinstance(node.rexpr, ast.A_Const) and node.rexpr.isnull
            found = self._null(ast.NullTest(arg=node.lexpr), is_null=True) if is_null else []
            found = found or self._compared(node.lexpr, "=", node.rexpr, is_distinct=True)
        elif kind == A_Expr_Kind.AEXPR_OP and node.lexpr is not None:
            found = self._both_ways(node, node.name[-1].sval)
        else:
            found = []
        return found

    def _both_ways(self, node: Any, operator: str) -> Found:
        if isinstance(node.lexpr, ast.RowExpr) and isinstance(node.rexpr, ast.RowExpr):
            return self._rows(node.lexpr.args or (), operator, node.rexpr.args or ())
        found = self._compared(node.lexpr, operator, node.rexpr)
        if operator in _MIRRORED:
            found += self._compared(node.rexpr, _MIRRORED[operator], node.lexpr)
        return found

    def _rows(self, lefts: Sequence[Any], operator: str, rights: Sequence[Any]) -> Found:
        """Return what `(a, b) < (1, 2)` finds: rows from a place on, by the first; all, where they are equal."""
        pairs = list(zip(lefts, rights, strict=False))
        if operator in RANGES:
            pairs = pairs[:1]
        elif operator != "=":
            return []
        return [found for left, right in pairs for found in self._compared(left, operator, right)]

    def _compared(self, left: Any, operator: str, right: Any, *, is_distinct: bool = False) -> Found:
        written = write(left, self.resolve)
        if written is None or len(written.sources) != 1:
            return []
        others = self.sources(right)
        match = None if written.sources & others else match_of(written.type, operator)
        if match is None:
            return []
        term = written.term()
        if others & self.local:  # of an outer statement too it is a join, seen from there
            return self._on(written, Condition(Match.JOIN, term)) if match is Match.EQUAL else []
        value = constant(right)
        if match is Match.CONTAINS and operator == "~" and (value or "").startswith("^"):
            match = Match.PREFIX
        if match not in {Match.EQUAL, Match.OTHER}:
            text = self._key_text(written, operator, right) if match is Match.JSON_KEY else ""
            return self._on(written, Condition(match, term, text))
        if match is Match.EQUAL and written.type == "boolean" and written.is_column and value in {"t", "f"}:
            return self._boolean(left, is_true=value == "t")
        return self._on(
            written,
            Condition(match, term, "" if is_distinct else self._text(written, operator, right), value),
        )

    def _text(self, written: Written, operator: str, right: Any) -> str:
        """Return a comparison with a literal as SQL; empty with anything else."""
        other = write(right, self.resolve)
        if other is None or not other.is_literal or other.value is None:
            return ""
        wanted = compared_type(written.type)
        if not wanted or (other.type and other.type not in {wanted, "integer"}):
            return ""
        return f"({as_type(written, wanted)} {operator} {as_type(other, wanted)})"

    def _key_text(self, written: Written, operator: str, right: Any) -> str:
        """Return whether a document has a key as SQL; empty where that is no name as programs have them."""
        other = write(right, self.resolve)
        if operator != "?" or not written.is_column or other is None or not other.is_literal:
            return ""
        return f"({written.text} ? {as_type(other, 'text')})" if KEY.fullmatch(other.value or "") else ""

    def _listed(self, node: Any, items: list[Any], *, negated: bool = False) -> Found:
        written = write(node.lexpr, self.resolve)
        if written is None or len(written.sources) != 1 or match_of(written.type, "=") is None:
            return []
        if any(self.sources(item) & (written.sources | self.local) for item in items):
            return []
        if len(items) == 1:
            return self._compared(node.lexpr, "<>" if negated else "=", items[0])
        texts = [self._text(written, "=", item) for item in items]
        text = ""
        wanted = compared_type(written.type)
        if all(texts) and wanted:
            others = [write(item, self.resolve) for item in items]
            listed = ", ".join(as_type(other, wanted) for other in others if other)
            how = "<> ALL" if negated else "= ANY"
            text = f"({as_type(written, wanted)} {how} (ARRAY[{listed}]))"
        match = Match.OTHER if negated else Match.ANY
        # The values, of which each is as frequent as the statistics say.
        values = [constant(item) for item in items]
        value = "\0".join(each for each in values if each is not None) if all(values) else None
        return self._on(written, Condition(match, written.term(), text, value, values=len(items)))

    def _any(self, node: Any) -> Found:
        if node.name[-1].sval != "=":
            return []
        array = node.rexpr
        while isinstance(array, ast.TypeCast):
            array = array.arg
        if isinstance(array, ast.A_ArrayExpr):
            return self._listed(node, list(array.elements or ()))
        written = write(node.lexpr, self.resolve)
        others = self.sources(array)
        if written is None or len(written.sources) != 1 or written.sources & others:
            return []
        if others & self.local or not written.sources & self.local:
            return []
        text = constant(array) or ""
        values = text.count(",") + 1
        match = Match.EQUAL if values == 1 and text else Match.ANY
        return self._on(written, Condition(match, written.term(), values=values if text else 2))

    def _between(self, node: Any) -> Found:
        written = write(node.lexpr, self.resolve)
        if written is None or any(self.sources(each) & (self.local | written.sources) for each in node.rexpr):
            return []
        if not written.sources & self.local:
            return []
        return self._on(written, Condition(Match.RANGE, written.term()))

    def _like(self, node: Any) -> Found:
        written = write(node.lexpr, self.resolve)
        if written is None or written.type not in TEXTS or node.name[-1].sval not in {"~~", "~~*"}:
            return []
        if not written.sources & self.local or self.sources(node.rexpr) & self.local:
            return []
        pattern = constant(node.rexpr)
        match = pattern_match(pattern, is_blind=node.kind == A_Expr_Kind.AEXPR_ILIKE)
        return self._on(written, Condition(match, written.term())) if match else []


def _only(nodes: tuple[Any, ...] | None) -> Any:
    """Return the one node of a list."""
    (node,) = nodes or (None,)
    return node


def conjuncts(node: Any) -> list[Any]:
    """Return what a condition is made of by AND."""
    if node is None:
        return []
    if isinstance(node, ast.BoolExpr) and node.boolop == BoolExprType.AND_EXPR:
        return [each for arg in node.args or () for each in conjuncts(arg)]
    return [node]


def arms(node: Any) -> list[Any]:
    """Return what a condition is made of by OR; one where there is none."""
    if isinstance(node, ast.BoolExpr) and node.boolop == BoolExprType.OR_EXPR:
        return [each for arg in node.args or () for each in arms(arg)]
    return [node]
