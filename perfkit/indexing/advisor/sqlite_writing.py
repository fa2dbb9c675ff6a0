"""Writes an index as SQLite takes it. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from perfkit.indexing.advisor.specs import BTREE, IndexSpec, Key

_CAST: Final = re.compile(r"\((\w+|\"[^\"]*\")\)::[a-z][a-z ]*|(?<=')::[a-z][a-z ]*")
_TEXT: Final = re.compile(r"'(?:[^']|'')*'")
_FUNCTION: Final = re.compile(r"(upper|lower|length|abs)\((\w+|\"[^\"]*\")\)\Z")


def for_sqlite(spec: IndexSpec) -> IndexSpec | None:
    """Return the same index as SQLite takes it, or None where it has none like that."""
    keys = [_key(key) for key in spec.keys]
    if any("::" in each for each in _TEXT.findall(spec.condition)):
        return None
    condition = _CAST.sub(r"\1", spec.condition)
    if spec.method != BTREE or spec.include or None in keys or "::" in condition or " ANY (" in condition:
        return None
    return replace(spec, keys=tuple(key for key in keys if key is not None), condition=condition)


def _key(key: Key) -> Key | None:
    if not key.is_expression:
        return replace(key, operator_class="", nulls_first=None)
    text = _CAST.sub(r"\1", key.text)
    return replace(key, text=text, operator_class="", nulls_first=None) if _FUNCTION.match(text) else None
