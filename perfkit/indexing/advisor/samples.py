"""What a captured statement is, before anything is asked of it: of which kind, and of which tables. Pure.

# Note [A captured statement is only explained]
Whatever stood in a project's statements may stand in a sample: a function with side effects, a second statement.
So a sample is parsed first, with PostgreSQL's own parser; it must be one SELECT, UPDATE, DELETE or INSERT.
It is then only ever explained, in a transaction that cannot write.
Run, on a copy, is only a SELECT whose functions all are PostgreSQL's own and none of them writes; see `Sample`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import pglast
from pglast import ast, stream, visitors

from perfkit.indexing.advisor.parsing import parse

MOST_CHARACTERS: Final = 200_000
SELECT, UPDATE, DELETE, INSERT = "select", "update", "delete", "insert"
KINDS: Final = {
    ast.SelectStmt: SELECT,
    ast.UpdateStmt: UPDATE,
    ast.DeleteStmt: DELETE,
    ast.InsertStmt: INSERT,
}
WRITES: Final = (ast.UpdateStmt, ast.DeleteStmt, ast.InsertStmt, ast.MergeStmt)
_NAME: Final = r'(?:"(?:[^"]|"")*"|[\w$]+)'
_QUALIFIER: Final = re.compile(rf"{_NAME}\s*\.\s*(?={_NAME})")


@dataclass(frozen=True, slots=True)
class Sample:
    """One statement that can be explained.

    Attributes:
        kind: One of `SELECT`, `UPDATE`, `DELETE`, `INSERT`.
        tables: All that it reads or writes, without their schemas, in order of their names.
        schemas: Those that it names.
        target: The table that it writes; empty where it writes none.
        set_columns: What an UPDATE sets.
        rows: That an INSERT writes, as far as it lists them; else 1.
        functions: All that it calls by name, with their schemas where it names one.
        has_locks: Whether it locks rows; explaining it takes a lock that a SELECT does not.
        has_named_operators: Whether it names the schema of an operator.
    """

    sql: str
    kind: str
    tables: tuple[str, ...]
    schemas: frozenset[str] = frozenset()
    target: str = ""
    set_columns: frozenset[str] = frozenset()
    rows: int = 1
    functions: frozenset[str] = frozenset()
    has_locks: bool = False
    has_named_operators: bool = False


class UnreadableSampleError(ValueError):
    """A statement that cannot be explained; the text says why, without values."""


def read_sample(sql: str, *, is_sqlite: bool = False) -> Sample:
    """Return what a statement is.

    Names of schemas before its tables are left out of its `sql`, so that it finds the copies.

    Raises:
        UnreadableSampleError: It is no statement that can be explained.
    """
    if len(sql) > MOST_CHARACTERS or "\x00" in sql:
        raise UnreadableSampleError("it is too long, or holds a zero byte")
    trees = parse(sql, is_sqlite=True) if is_sqlite else _parsed(sql)
    if trees is None:
        raise UnreadableSampleError("PostgreSQL's parser does not take it")
    if len(trees) != 1:
        raise UnreadableSampleError("it is not one statement")
    tree = trees[0]
    kind = KINDS.get(type(tree))
    if kind is None:
        raise UnreadableSampleError("it is no SELECT, INSERT, UPDATE or DELETE")
    seen = _Seen()
    try:
        seen(tree)
    except RecursionError as error:
        raise UnreadableSampleError("it is nested too deeply") from error
    if seen.writes > (kind != SELECT) or seen.has_into:
        raise UnreadableSampleError("a part of it writes")
    tables = [each for each in seen.relations if each.schemaname or each.relname not in seen.names]
    if seen.has_deep_names or any(each.catalogname for each in tables):
        raise UnreadableSampleError("it names the schema of a column, or a database")
    return Sample(
        sql=_without_schemas(sql, tables),
        kind=kind,
        tables=tuple(sorted({each.relname for each in tables})),
        schemas=frozenset(each.schemaname for each in tables if each.schemaname),
        target="" if kind == SELECT else tree.relation.relname,
        set_columns=_set_columns(tree),
        rows=_rows(tree),
        functions=frozenset(seen.functions),
        has_locks=seen.has_locks,
        has_named_operators=seen.has_named_operators,
    )


def _parsed(sql: str) -> tuple[Any, ...] | None:
    """Return the statements of a text as it stands, with nothing in it replaced; None where it cannot be read."""
    try:
        return tuple(raw.stmt for raw in pglast.parse_sql(sql))
    except (pglast.Error, ValueError, RecursionError):
        return None


def as_read(sample: Sample) -> Sample | None:
    """Return a SELECT that finds the rows of a statement, and locks none; None where that cannot be told."""
    if sample.kind == SELECT and not sample.has_locks:
        return sample
    tree: Any = pglast.parse_sql(sample.sql)[0].stmt
    if sample.kind == SELECT:
        for each in _selects(tree):
            each.lockingClause = None
        return replace(sample, sql=stream.RawStream()(tree), has_locks=False)
    if sample.kind == INSERT or tree.withClause or getattr(tree, "fromClause", None):
        return None
    if getattr(tree, "usingClause", None):
        return None
    read = ast.SelectStmt(
        targetList=(ast.ResTarget(val=ast.A_Const(val=ast.Integer(ival=1))),),
        fromClause=(tree.relation,),
        whereClause=tree.whereClause,
        limitOption=pglast.enums.LimitOption.LIMIT_OPTION_DEFAULT,
        op=pglast.enums.SetOperation.SETOP_NONE,
    )
    return replace(sample, sql=stream.RawStream()(read), kind=SELECT, target="")


class _Seen(visitors.Visitor):
    """What stands anywhere in a statement."""

    def __init__(self) -> None:
        self.relations: list[Any] = []
        self.names: set[str] = set()
        self.functions: set[str] = set()
        self.writes = 0
        self.has_into = self.has_locks = self.has_deep_names = self.has_named_operators = False

    def visit(self, _ancestors: Any, node: Any) -> None:
        self.writes += isinstance(node, WRITES)

    def visit_RangeVar(self, _ancestors: Any, node: Any) -> None:
        self.relations.append(node)

    def visit_CommonTableExpr(self, _ancestors: Any, node: Any) -> None:
        self.names.add(node.ctename)

    def visit_FuncCall(self, _ancestors: Any, node: Any) -> None:
        self.functions.add(".".join(part.sval for part in node.funcname))

    def visit_IntoClause(self, _ancestors: Any, _node: Any) -> None:
        self.has_into = True

    def visit_LockingClause(self, _ancestors: Any, _node: Any) -> None:
        self.has_locks = True

    def visit_ColumnRef(self, _ancestors: Any, node: Any) -> None:
        names = [each for each in node.fields if isinstance(each, ast.String)]
        self.has_deep_names = self.has_deep_names or len(names) > 2  # noqa: PLR2004  # table and column

    def visit_A_Expr(self, _ancestors: Any, node: Any) -> None:
        self.has_named_operators = self.has_named_operators or len(node.name or ()) > 1


def _selects(tree: Any) -> Iterator[Any]:
    found: list[Any] = []

    class Selects(visitors.Visitor):
        def visit_SelectStmt(self, _ancestors: Any, node: Any) -> None:
            found.append(node)

    Selects()(tree)
    yield from found


def _without_schemas(sql: str, tables: list[Any]) -> str:
    for each in sorted((t for t in tables if t.schemaname), key=lambda t: -t.location):
        match = _QUALIFIER.match(sql, each.location)
        if match is None:
            raise UnreadableSampleError("it names a schema in a way that is not understood")
        sql = sql[: each.location] + sql[match.end() :]
    return sql


def _set_columns(tree: Any) -> frozenset[str]:
    if not isinstance(tree, ast.UpdateStmt):
        return frozenset()
    return frozenset(str(each.name) for each in tree.targetList or ())


def _rows(tree: Any) -> int:
    values = getattr(getattr(tree, "selectStmt", None), "valuesLists", None)
    return len(values) if values else 1
