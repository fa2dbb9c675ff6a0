"""Makes the code that writes rows of column values as the answer shows them.

The code is made once for each node and dialect. The text is what ninja's own renderer writes, to the byte; other
renderers are given the same dicts as ninja would give them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from perfkit.api.compiling.kinds import NAMES
from perfkit.api.compiling.nodes import Leaf, Many, Node, One
from perfkit.hydration.instances import compiled

Dialect = Literal["text", "values"]
Row = Sequence[Any]
Children = Sequence[Mapping[Any, Any]]
"""For each field that shows several rows: these by the key of the row above, ready to be shown."""

Writer = Callable[[Iterable[Row], Children], list[Any]]
"""Makes of each row what is shown of it."""


@lru_cache(maxsize=1024)
def writer_of(node: Node, dialect: Dialect) -> Writer:
    """Return what writes rows whose first columns are those of `node.columns`.

    Args:
        dialect: `"text"` makes JSON as ninja's renderer writes it, `"values"` dicts for another renderer.
    """
    made = _Texts(node) if dialect == "text" else _Values(node)
    shown = made.shown(node)
    columns = "".join(f"c{number}, " for number in range(len(node.columns)))
    lines = [
        "def write(rows, children):",
        f"    return [{shown} for {columns}*_ in rows]",
    ]
    return compiled(lines, {**NAMES, **made.names})["write"]  # type: ignore[no-any-return]


class _Source:
    """Makes expressions of the names `c0`, `c1`, … of a row's columns.

    Attributes:
        names: What the expressions call besides.
    """

    def __init__(self, node: Node) -> None:
        self.names: dict[str, Any] = {}
        self._columns = {path: f"c{number}" for number, path in enumerate(node.columns)}
        self._manys = [id(many) for many in node.manys]

    def _checked(self, leaf: Leaf) -> str:
        """Return the expression of a value, as pydantic leaves it."""
        column = self._columns[leaf.path]
        if leaf.kind.check is None:
            return column
        name = f"check{len(self.names)}"
        self.names[name] = leaf.kind.check
        return f"{name}({column})"

    def _children(self, many: Many, nothing: str) -> str:
        return f"children[{self._manys.index(id(many))}].get({self._columns[many.key_path]}, {nothing})"


class _Texts(_Source):
    def shown(self, node: Node) -> str:
        """Return the expression of the JSON of a row."""
        template, values = self._template(node)
        return f"{template!r} % ({''.join(f'{value}, ' for value in values)})"

    def _template(self, node: Node) -> tuple[str, list[str]]:
        """Return a template for `%`, and the expressions of its values."""
        parts, values = [], []
        for field in node.fields:
            name = json.dumps(field.name).replace("%", "%%")
            if isinstance(field, One) and not field.key_path:
                part, inner = self._template(field.node)
                parts.append(f"{name}: {part}")
                values += inner
            else:
                parts.append(f"{name}: {_place(field)}")
                values.append(self._value(field))
        return f"{{{', '.join(parts)}}}", values

    def _value(self, field: Leaf | One | Many) -> str:
        if isinstance(field, Many):
            return self._children(field, "'[]'")
        if isinstance(field, One):
            return f"('null' if {self._columns[field.key_path]} is None else {self.shown(field.node)})"
        value = self._checked(field)
        text = field.kind.writes.replace("{}", value)
        return f"('null' if {value} is None else {text})" if field.kind.is_optional else text


def _place(field: Leaf | One | Many) -> str:
    """Return how a value stands in a template: a number that must be there as `%d`, which refuses None."""
    is_number = isinstance(field, Leaf) and field.kind.writes == "{}" and not field.kind.is_optional
    return "%d" if is_number else "%s"


class _Values(_Source):
    def shown(self, node: Node) -> str:
        """Return the expression of the dict of a row."""
        return f"{{{', '.join(f'{field.name!r}: {self._value(field)}' for field in node.fields)}}}"

    def _value(self, field: Leaf | One | Many) -> str:
        if isinstance(field, Many):
            return self._children(field, "[]")
        if isinstance(field, Leaf):
            return self._checked(field)
        dict_of = self.shown(field.node)
        return (
            f"(None if {self._columns[field.key_path]} is None else {dict_of})" if field.key_path else dict_of
        )
