"""How OpenAPI shows a parameter that filters."""

from __future__ import annotations

from typing import Any, Final

from perfkit.api.filtering.columns import bounds
from perfkit.api.filtering.declared import Filter
from perfkit.api.filtering.lookups import MOST_VALUES, In, Search

NO_NUL: Final = r"^[^\x00]*$"


def shown_parameter(property_: dict[str, Any], each: Filter) -> dict[str, Any]:
    """Return the JSON schema of a parameter: what it is held to, and not that it might be null."""
    shown = dict(property_)
    kinds = [kind for kind in shown.pop("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        # What stands beside a reference would be lost where ninja flattens it.
        shown = {"allOf": kinds, **shown} if "$ref" in kinds[0] else {**kinds[0], **shown}
    elif kinds:
        shown["anyOf"] = kinds
    if each.is_list:
        shown["maxItems"] = each.lookup.most if isinstance(each.lookup, In) else MOST_VALUES
        shown["items"] = _bounded(dict(shown.get("items", {})), each)
        return shown
    return _bounded(shown, each)


def _bounded(shown: dict[str, Any], each: Filter) -> dict[str, Any]:
    if not shown.get("type") or "enum" in shown or "const" in shown:
        return shown
    if isinstance(each.lookup, Search):
        shown |= {"minLength": each.lookup.least, "maxLength": each.lookup.most}
    for one in each.conditions:
        limits = bounds(one.column, one.lookup) if one.column and shown["type"] != "boolean" else {}
        for word, limit in limits.items():
            closer = max if word == "minimum" else min
            shown[word] = closer(shown.get(word, limit), limit)
    if shown["type"] == "string" and not shown.keys() & {"format", "pattern"}:
        shown["pattern"] = NO_NUL
    return shown
