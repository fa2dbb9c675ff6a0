"""In which orders a SELECT wants its rows: sorted, grouped, by windows, or only the first one. Pure."""

from __future__ import annotations

from typing import Any

from perfkit.indexing.advisor.expressions import children, column_name, function_name, write
from perfkit.indexing.advisor.grammar import SortByDir, SortByNulls, ast
from perfkit.indexing.advisor.scans import Ordering, OrderTerm, Purpose
from perfkit.indexing.advisor.scopes import Scope


def note_orders(node: Any, targets: list[Any], scope: Scope) -> None:
    """Note in which orders rows are wanted."""
    is_limited = node.limitCount is not None and not (
        isinstance(node.limitCount, ast.A_Const) and node.limitCount.isnull
    )
    sorts = [(_aliased(each.node, targets), each) for each in node.sortClause or ()]
    _order(Purpose.SORT, sorts, scope, is_limited=is_limited)
    groups = [(_aliased(each, targets), None) for each in node.groupClause or ()]
    _order(Purpose.GROUP, groups, scope)
    if node.distinctClause is not None:
        on = [each for each in node.distinctClause if each is not None]
        named = [_aliased(each, targets) for each in on] or [each.val for each in targets]
        if not sorts:
            _order(Purpose.GROUP, [(each, None) for each in named], scope, is_limited=is_limited)
    for window in _windows(node):
        pairs = [(each, None) for each in window.partitionClause or ()]
        pairs += [(each.node, each) for each in window.orderClause or ()]
        _order(Purpose.WINDOW, pairs, scope)
    if not node.groupClause:
        for target in targets:
            call = target.val
            if isinstance(call, ast.FuncCall) and function_name(call) in {"min", "max"} and call.args:
                _order(Purpose.EXTREME, [(call.args[0], None)], scope, is_limited=True)


def _windows(node: Any) -> list[Any]:
    """Return the windows of a SELECT, those of the functions in its targets too."""
    found = list(node.windowClause or ())
    stack = list(node.targetList or ())
    while stack:
        each = stack.pop()
        if isinstance(each, ast.FuncCall) and each.over is not None:
            found.append(each.over)
        if not isinstance(each, ast.SubLink):
            stack.extend(children(each))
    return found


def _aliased(node: Any, targets: list[Any]) -> Any:
    """Return what an ORDER BY or GROUP BY means by a place in the list, or by a name given there."""
    if isinstance(node, ast.A_Const) and isinstance(node.val, ast.Integer):
        place = (node.val.ival or 0) - 1
        return targets[place].val if 0 <= place < len(targets) else node
    if isinstance(node, ast.ColumnRef) and len(node.fields or ()) == 1:
        name = column_name(node)
        return next((each.val for each in targets if each.name == name), node)
    return node


def _order(purpose: Purpose, pairs: list[tuple[Any, Any]], scope: Scope, *, is_limited: bool = False) -> None:
    """Note an order with the source of its first terms."""
    owner: Any = None
    terms: list[OrderTerm] = []
    for node, by in pairs:
        written = write(node, scope.resolve)
        sources = written.sources if written else frozenset()
        if written is None or len(sources) != 1 or (owner is not None and owner not in sources):
            break
        (owner,) = sources
        descending = by is not None and by.sortby_dir == SortByDir.SORTBY_DESC
        nulls = by.sortby_nulls if by is not None else SortByNulls.SORTBY_NULLS_DEFAULT
        nulls_first = (
            descending
            if nulls == SortByNulls.SORTBY_NULLS_DEFAULT
            else nulls == SortByNulls.SORTBY_NULLS_FIRST
        )
        terms.append(OrderTerm(written.term(), descending, nulls_first))
    if owner is not None and owner in scope.sources:
        owner.orderings.append(Ordering(purpose, tuple(terms), is_limited, is_whole=len(terms) == len(pairs)))
