"""Values for statements of which only the shape is known: drawn from the copies, the same at each run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pglast
from pglast import ast, stream, visitors

from perfkit.indexing.advisor.parsing import numbered, parse

SETS: Final = 2
"""Of values for each shape: common ones, and rare ones."""

LIMIT: Final = "20"
PATTERN_CHARACTERS: Final = 4
RANGES: Final = frozenset({"<", "<=", ">", ">="})


class UndrawableShapeError(ValueError):
    """No values can be found for a shape; the text says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is missing.

    Attributes:
        table: Whose values it is compared with; empty for a number of rows.
        alias: As which the statement knows the table.
        expression: What it is compared with, as SQL.
        way: `=`, `<`, `low`, `high`, `like`, `any`, `limit`, or `one` for what is only selected.
    """

    table: str
    alias: str
    expression: str
    way: str


Draw = Callable[[Place, int], str]
"""Returns the value for a place in one of the sets."""


def tables_in(text: str) -> frozenset[str]:
    """Return the tables that a statement, with or without its values, names; none where it is not read."""
    seen = _seen(text)
    return frozenset(seen.relations if seen else ())


def functions_in(text: str) -> frozenset[str]:
    """Return the functions that a statement, with or without its values, calls by name."""
    seen = _seen(text)
    return frozenset(seen.functions if seen else ())


class _Names(visitors.Visitor):
    def __init__(self) -> None:
        self.relations: set[str] = set()
        self.functions: set[str] = set()

    def visit_RangeVar(self, _ancestors: Any, node: Any) -> None:
        self.relations.add(node.relname)

    def visit_FuncCall(self, _ancestors: Any, node: Any) -> None:
        self.functions.add(".".join(part.sval for part in node.funcname))


def _seen(text: str) -> _Names | None:
    trees = parse(text.replace(", …", ""), is_sqlite=False)
    if trees is None:
        return None
    seen = _Names()
    for tree in trees:
        seen(tree)
    return seen


def drawn_statements(fingerprint: str, draw: Draw, *, is_sqlite: bool = False) -> tuple[str, ...]:
    """Return statements of a shape, with values in them.

    Raises:
        UndrawableShapeError: It cannot be read, or a value is compared with what is no column of one table.
    """
    text = numbered(fingerprint, is_sqlite=is_sqlite).replace(", …", "")
    try:
        tree = pglast.parse_sql(text)
    except (pglast.Error, ValueError) as error:
        raise UndrawableShapeError(
            "its values are not known, and PostgreSQL's parser does not take the rest"
        ) from error
    if len(tree) != 1:
        raise UndrawableShapeError("it is not one statement")
    places = _Places(tree[0].stmt).found
    wanted = {int(number) for number in re.findall(r"\$(\d+)", text)}
    if wanted - set(places):
        raise UndrawableShapeError("its values are not known, and not what they are compared with")
    statements = []
    for number in range(SETS if places else 1):
        values = {place: draw(what, number) for place, what in places.items()}
        statements.append(_filled(text, values))
    return tuple(dict.fromkeys(statements))


def _filled(text: str, values: Mapping[int, str]) -> str:
    return re.sub(r"\$(\d+)", lambda match: values[int(match[1])], text)


def quoted(value: str) -> str:
    """Return a value as a literal of no type yet."""
    doubled = value.replace("'", "''")
    return f"'{doubled}'"


class _Places(visitors.Visitor):
    """The places of a statement, by their numbers."""

    def __init__(self, tree: Any) -> None:
        self.found: dict[int, Place] = {}
        self._tables: dict[str, str] = {}
        self._collect_tables(tree)
        self(tree)

    def visit_A_Expr(self, _ancestors: Any, node: Any) -> None:
        kind = node.kind.name
        operator = node.name[-1].sval if node.name else "="
        way = "<" if operator in RANGES else "="
        if kind in {"AEXPR_LIKE", "AEXPR_ILIKE"}:
            way = "like"
        elif kind == "AEXPR_OP_ANY":
            way = "any"
        for here, there in ((node.lexpr, node.rexpr), (node.rexpr, node.lexpr)):
            items = there if isinstance(there, tuple) else (there,)
            for index, item in enumerate(items):
                told = way if not kind.startswith("AEXPR_BETWEEN") else ("low", "high")[index % 2]
                self._compare(here, item, told)

    def visit_UpdateStmt(self, _ancestors: Any, node: Any) -> None:
        alias = node.relation.alias.aliasname if node.relation.alias else node.relation.relname
        for each in node.targetList:
            if isinstance(each.val, ast.ParamRef):
                column = stream.RawStream()(ast.ColumnRef(fields=(ast.String(sval=each.name),)))
                self._place(each.val, Place(node.relation.relname, alias, column, "="))

    def visit_SelectStmt(self, _ancestors: Any, node: Any) -> None:
        for each in (node.limitCount, node.limitOffset):
            self._place(each, Place("", "", "", "limit"))
        for target in node.targetList or ():
            self._place(target.val, Place("", "", "", "one"))

    def _place(self, node: Any, place: Place) -> None:
        if isinstance(node, ast.ParamRef) and node.number is not None:
            self.found.setdefault(node.number, place)

    def _collect_tables(self, tree: Any) -> None:
        tables = self._tables

        class Tables(visitors.Visitor):
            def visit_RangeVar(self, _ancestors: Any, node: Any) -> None:
                tables[node.alias.aliasname if node.alias else node.relname] = node.relname

        Tables()(tree)

    def _compare(self, here: Any, there: Any, way: str) -> None:
        if not isinstance(here, ast.Node) or not isinstance(there, ast.Node):
            return
        numbers, columns = _inside(there)
        if not numbers or columns:
            return
        inner, aliases = _inside(here)
        if inner or len(aliases) != 1:
            return
        (alias,) = aliases
        if not alias:
            if len(self._tables) != 1:
                return
            (alias,) = self._tables
        table = self._tables.get(alias)
        if table is not None:
            for number in numbers:
                self.found.setdefault(number, Place(table, alias, stream.RawStream()(here), way))


def _inside(node: Any) -> tuple[list[int], set[str]]:
    """Return the numbers of the places in an expression, and by which aliases it names columns."""
    numbers: list[int] = []
    aliases: set[str] = set()

    class Inside(visitors.Visitor):
        def visit_ParamRef(self, _ancestors: Any, inner: Any) -> None:
            numbers.append(inner.number)

        def visit_ColumnRef(self, _ancestors: Any, inner: Any) -> None:
            names = [each.sval for each in inner.fields if isinstance(each, ast.String)]
            aliases.add(str(names[-2]) if len(names) > 1 else "")

    Inside()(node)
    return numbers, aliases


@dataclass
class Drawer:
    """Draws from copies.

    Args:
        run: Sends a statement that reads, and returns its rows.
        sources: Of each table, the SQL name of what values are drawn from.
        quote: Of names.
    """

    run: Callable[[str], list[tuple[Any, ...]]]
    sources: Mapping[str, str]
    quote: Callable[[str], str]
    is_sqlite: bool = False
    _known: dict[tuple[str, str, bool], tuple[str | None, ...]] = field(default_factory=dict)

    def __call__(self, place: Place, number: int) -> str:
        """Return a value as SQL.

        Raises:
            UndrawableShapeError: The table has none.
        """
        if not place.table:
            return LIMIT if place.way == "limit" else "1"
        if place.table not in self.sources:
            raise UndrawableShapeError(f"there is no copy of {place.table} to draw values from")
        if place.way in {"<", "low", "high"}:
            low, middle, high = self._ranked(place)
            return quoted(
                {"<": (high, middle), "low": (middle, low), "high": (high, high)}[place.way][number]
            )
        common, rare = self._frequent(place)
        value = (common, rare)[number]
        if place.way == "like":
            return quoted(f"%{value[:PATTERN_CHARACTERS]}%")
        return f"ARRAY[{quoted(value)}]" if place.way == "any" else quoted(value)

    def _frequent(self, place: Place) -> tuple[str, ...]:
        """Return the most common value, and one of the rarest."""
        counted = (
            f"SELECT CAST({place.expression} AS text) AS v, count(*) AS n FROM {self._source(place)} "
            f"WHERE ({place.expression}) IS NOT NULL GROUP BY 1"
        )
        return self._drawn(
            place,
            is_ranked=False,
            sql=f"WITH c AS ({counted}) SELECT (SELECT v FROM c ORDER BY n DESC, v LIMIT 1), "
            "(SELECT v FROM c ORDER BY n, v LIMIT 1)",
        )

    def _ranked(self, place: Place) -> tuple[str, ...]:
        """Return the values in the middle, a little further, and near the end."""
        if self.is_sqlite:
            source = f"FROM {self._source(place)} WHERE {place.expression} IS NOT NULL"
            ranked = ", ".join(
                f"(SELECT {place.expression} {source} ORDER BY 1 LIMIT 1 "
                f"OFFSET (SELECT count(*) * {part} / 10 {source}))"
                for part in (5, 8, 9)
            )
            return self._drawn(place, is_ranked=True, sql=f"SELECT {ranked}")
        ranked = ", ".join(
            f"(percentile_disc({part}) WITHIN GROUP (ORDER BY {place.expression}))::text"
            for part in (0.5, 0.8, 0.9)
        )
        return self._drawn(place, is_ranked=True, sql=f"SELECT {ranked} FROM {self._source(place)}")

    def _drawn(self, place: Place, *, is_ranked: bool, sql: str) -> tuple[str, ...]:
        key = (place.table, f"{place.alias} {place.expression}", is_ranked)
        if key not in self._known:
            self._known[key] = tuple(None if v is None else str(v) for v in self.run(sql)[0])
        values = self._known[key]
        found = tuple(value for value in values if value is not None)
        if len(found) < len(values):
            raise UndrawableShapeError(f"{place.table} has no value to ask for")
        return found

    def _source(self, place: Place) -> str:
        return f"{self.sources[place.table]} AS {self.quote(place.alias)}"
