"""Reads a statement: which tables it uses, and what it asks of each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from perfkit.indexing.advisor.conditions import ConditionReader, Found, arms, conjuncts
from perfkit.indexing.advisor.expressions import children, column_name, write
from perfkit.indexing.advisor.grammar import JoinType, SetOperation, SubLinkType, ast
from perfkit.indexing.advisor.orders import note_orders
from perfkit.indexing.advisor.parsing import parse
from perfkit.indexing.advisor.scans import Condition, Match, Reading, Scan
from perfkit.indexing.advisor.scopes import Scope, Source
from perfkit.indexing.advisor.written import Written

Schema = Mapping[str, Mapping[str, str]]
"""Of each table, by its `db_table`, the types of its columns, as PostgreSQL writes them."""

UNREADABLE: Final = "not a statement that PostgreSQL's parser reads"
WITHOUT_ROWS: Final = "not a statement that looks for rows"
TOO_DEEP: Final = "too deeply nested"


def scans_of(sql: str, schema: Schema, *, is_sqlite: bool = False) -> list[Scan]:
    """Return what a statement asks of each table of the schema that it uses; [] where it cannot be read."""
    return list(read_statement(sql, schema, is_sqlite=is_sqlite).scans)


def read_statement(sql: str, schema: Schema, *, is_sqlite: bool = False) -> Reading:
    """Return what a statement asks of each table of the schema that it uses, or why it cannot be read.

    Nothing is raised, whatever the text is.
    """
    try:
        statements = parse(sql, is_sqlite=is_sqlite)
        if statements is None:
            return Reading(unread=UNREADABLE)
        reader = _Reader(schema)
        are_read = [reader.statement(each) for each in statements]
        if not are_read or not all(are_read):
            return Reading(unread=WITHOUT_ROWS)
    except RecursionError:
        return Reading(unread=TOO_DEEP)
    return Reading(tuple(source.scan() for source in reader.found))


class _Reader:
    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.found: list[Source] = []

    def statement(self, node: Any) -> bool:
        """Read a statement, and tell whether it is one that looks for rows."""
        if isinstance(node, ast.SelectStmt):
            self.select(node, None)
        elif isinstance(node, ast.InsertStmt):
            scope = self.with_scope(node, None)
            if node.selectStmt is not None:
                self.select(node.selectStmt, scope)
        elif isinstance(node, ast.UpdateStmt | ast.DeleteStmt):
            self.write(node)
        elif isinstance(node, ast.DeclareCursorStmt | ast.CreateTableAsStmt | ast.CopyStmt | ast.PrepareStmt):
            return self.statement(node.query)
        else:
            return False
        return True

    def with_scope(self, node: Any, parent: Scope | None) -> Scope:
        """Return the scope of a statement, with the names of its WITH, whose queries are read."""
        scope = Scope(parent)
        if node.withClause is not None:
            if node.withClause.recursive:
                scope.with_names |= {each.ctename for each in node.withClause.ctes}
            for each in node.withClause.ctes:
                if isinstance(each.ctequery, ast.SelectStmt):
                    self.select(each.ctequery, scope)
                elif isinstance(each.ctequery, ast.UpdateStmt | ast.DeleteStmt):
                    self.write(each.ctequery, scope)
                scope.with_names.add(each.ctename)
        return scope

    def write(self, node: Any, parent: Scope | None = None) -> None:
        """Read an UPDATE or DELETE."""
        scope = self.with_scope(node, parent)
        self.source(node.relation, scope)
        for source in scope.sources:
            source.reads_whole_rows = True
        is_update = isinstance(node, ast.UpdateStmt)
        more = (node.fromClause if is_update else node.usingClause) or ()
        quals = [qual for each in more for qual in self.from_item(each, scope)]
        self.look(node.targetList if is_update else (), scope)
        self.look(node.whereClause, scope)
        self.conditions([*conjuncts(node.whereClause), *quals], scope)

    def select(self, node: Any, parent: Scope | None) -> Scope:
        """Read a SELECT and return its scope."""
        scope = self.with_scope(node, parent)
        if node.op != SetOperation.SETOP_NONE:
            self.select(node.larg, scope)
            self.select(node.rarg, scope)
            return scope
        quals = [qual for each in node.fromClause or () for qual in self.from_item(each, scope)]
        targets = [each for each in node.targetList or () if isinstance(each, ast.ResTarget)]
        for each in (targets, node.whereClause, node.sortClause, node.groupClause, node.havingClause):
            self.look(each, scope)
        for each in (node.distinctClause, node.windowClause, node.valuesLists):
            self.look(each, scope)
        self.conditions([*conjuncts(node.whereClause), *quals], scope)
        note_orders(node, targets, scope)
        if node.lockingClause:
            for source in scope.sources:
                source.reads_whole_rows = True
        return scope

    def from_item(self, node: Any, scope: Scope) -> list[Any]:
        """Add what stands in a FROM to the scope; return the conditions of its joins."""
        if isinstance(node, ast.RangeVar):
            self.source(node, scope)
        elif isinstance(node, ast.JoinExpr):
            quals = self.from_item(node.larg, scope)
            before = set(scope.sources)
            quals += self.from_item(node.rarg, scope)
            after = [source for source in scope.sources if source not in before]
            if node.usingClause:
                self.using([each.sval for each in node.usingClause], before, after)
            self.look(node.quals, scope)
            own = conjuncts(node.quals)
            if node.jointype == JoinType.JOIN_INNER:
                return quals + own
            self.conditions(own, scope, only=frozenset(after))
            return quals
        elif isinstance(node, ast.RangeSubselect):
            self.select(node.subquery, scope)  # what is before it is known where it is LATERAL
            scope.sources.append(Source(_alias(node), "", {}))
        else:
            self.look(node, scope)
            scope.sources.append(Source(_alias(node), "", {}))
        return []

    def using(self, names: list[str], before: Iterable[Source], after: Iterable[Source]) -> None:
        """Note a join by columns of one name."""
        for source in (*before, *after):
            for name in names:
                found = Scope(sources=[source]).resolve(ast.ColumnRef(fields=(ast.String(sval=name),)))
                if found:
                    term = Written(name, found[2], frozenset({source}), (name,), is_column=True).term()
                    source.read.add(name)
                    source.conditions.append(Condition(Match.JOIN, term))

    def source(self, node: Any, scope: Scope) -> None:
        """Add a table to the scope."""
        name = _alias(node) or node.relname
        is_table = node.relname in self.schema and node.schemaname not in {"pg_catalog", "information_schema"}
        if not is_table or (node.schemaname is None and scope.has_with(node.relname)):
            scope.sources.append(Source(name, "", {}))
            return
        source = Source(name, node.relname, self.schema[node.relname])
        scope.sources.append(source)
        self.found.append(source)

    def look(self, node: Any, scope: Scope) -> None:
        """Note the columns that an expression reads, and read the SELECTs in it."""
        stack = [node]
        while stack:
            each = stack.pop()
            if isinstance(each, ast.ColumnRef):
                self.note(each, scope)
            elif isinstance(each, ast.SubLink):
                inner = self.select(each.subselect, scope)
                self.membership(each, inner, scope)
                stack.append(each.testexpr)
            elif isinstance(each, ast.SelectStmt):
                self.select(each, scope)
            elif isinstance(each, list):
                stack.extend(each)
            else:
                stack.extend(children(each))

    def note(self, node: Any, scope: Scope) -> None:
        if column_name(node) is None:
            name = node.fields[-2].sval if len(node.fields) > 1 else None
            for source in scope.sources:
                if name in {None, source.name}:
                    source.reads_whole_rows = True
            return
        found = scope.resolve(node)
        if found:
            found[0].read.add(found[1])

    def membership(self, node: Any, inner: Scope, scope: Scope) -> None:
        """Note `a IN (SELECT b …)` as what it is: a join of a and b."""
        if node.subLinkType != SubLinkType.ANY_SUBLINK or node.testexpr is None:
            return
        pairs = [(node.testexpr, scope)]
        pairs += [(each.val, inner) for each in (node.subselect.targetList or ())[:1]]
        for each, where in pairs:
            written = write(each, where.resolve)
            if written is not None and len(written.sources) == 1:
                (source,) = written.sources
                source.conditions.append(Condition(Match.JOIN, written.term()))

    def conditions(
        self, nodes: Iterable[Any], scope: Scope, *, only: frozenset[Source] | None = None
    ) -> None:
        """Note conditions that all hold; those with literals on `only` some sources."""
        reader = ConditionReader(scope.resolve, frozenset(scope.sources))
        for node in nodes:
            each_arm = arms(node)
            if len(each_arm) > 1:
                self.alternatives(each_arm, reader)
                continue
            for source, condition in reader.read(node):
                if only is None or source in only or condition.match is Match.JOIN:
                    source.conditions.append(condition)

    def alternatives(self, each_arm: list[Any], reader: ConditionReader) -> None:
        """Note an OR with each source that its arms are about."""
        by_arm: list[Found] = []
        for arm in each_arm:
            found = [pair for node in conjuncts(arm) for pair in self.nested(node, reader)]
            by_arm.append(found)
        for source in dict.fromkeys(source for found in by_arm for source, _ in found):
            groups = tuple(tuple(each for owner, each in found if owner is source) for found in by_arm)
            if all(groups):  # else the rows of one arm are anywhere
                source.alternatives.append(groups)

    def nested(self, node: Any, reader: ConditionReader) -> Found:
        """Return what a condition in an arm finds; of an OR within it, what its arms find."""
        inner = arms(node)
        if len(inner) == 1:
            return reader.read(node)
        return [pair for arm in inner for each in conjuncts(arm) for pair in self.nested(each, reader)]


def _alias(node: Any) -> str:
    """Return the name that something in a FROM is given; empty where it is given none."""
    alias = getattr(node, "alias", None)
    return (alias.aliasname or "") if alias is not None else ""
