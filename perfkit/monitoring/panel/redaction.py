"""What may be shown of keys, tags and plans: no value of the project's, only digests of them. Pure.

# Note [Digests with a key]
The value in a key may be a token, an address or a name, and of some there are so few that all could be tried.
So a digest is made with the project's `SECRET_KEY`: the same key has the same digest in all processes, so that two
reads can be told to be of one entry, and nobody finds out of what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from django.db.models import Q
from django.utils.crypto import salted_hmac

from perfkit.loading import EagerPlan, RelatedRows

SALT: Final = "perfkit.monitoring.panel"
DIGEST_LENGTH: Final = 10
MOST_TAGS: Final = 20
"""Shown of one read; the others are counted."""

TABLE_PARTS: Final = {
    "a": "any write",
    "b": "writes of unknown rows",
    "c": "one value",
    "r": "one row",
}
MANY: Final = {"c": "{} values", "r": "{} rows"}
NAMESPACE: Final = "namespace"


class Hidden:
    """Stands where a value was.

    Args:
        word: What is shown of it.
    """

    def __init__(self, word: str = "…") -> None:
        self._word = word

    def __repr__(self) -> str:
        return self._word


def digest(text: str) -> str:
    """Return what stands for a text; see Note [Digests with a key]."""
    return salted_hmac(SALT, text, algorithm="sha256").hexdigest()[:DIGEST_LENGTH]


def shown_key(key: str) -> str:
    """Return what is shown of an entry's key: what it is of, and a digest of all of it."""
    if not key:
        return ""
    kind, _, rest = key.partition(":")
    parts = rest.split(":", 2)
    if kind == "e" and len(parts) > 1:
        return f"row of {parts[1]} {digest(key)}"
    return f"{ {'q': 'query', 'v': 'value'}.get(kind, 'entry') } {digest(key)}"


def shown_tags(tags: Iterable[str]) -> list[str]:
    """Return what an answer depends on, in words: of several rows of a table how many they are."""
    tags = list(tags)
    of_tables: Counter[tuple[str, str]] = Counter()
    one: dict[tuple[str, str], str] = {}
    others: Counter[str] = Counter()
    for tag in tags:
        kind, _, rest = tag.partition(":")
        parts = rest.split(":", 2)
        if kind in TABLE_PARTS and len(parts) > 1:
            place = (kind, parts[1])
            of_tables[place] += 1
            one[place] = tag
        elif kind == "t":
            others[f"declared tag {digest(tag)}"] += 1
        else:
            others["its own key" if kind == "k" else NAMESPACE] += 1
    words = []
    for (kind, table), count in of_tables.items():
        if count > 1 and kind in MANY:
            words.append(f"{table}: {MANY[kind].format(count)}")
        elif kind in MANY:
            words.append(f"{table}: {TABLE_PARTS[kind]} {digest(one[kind, table])}")
        else:
            words.append(f"{table}: {TABLE_PARTS[kind]}")
    words += [text if count == 1 else f"{count} {text}s" for text, count in others.items()]
    left = len(words) - MOST_TAGS
    return words if left <= 0 else [*words[:MOST_TAGS], f"and {left} more"]


def plan_text(plan: EagerPlan) -> str:
    """Return the text of a loading plan, without the values that its filters and annotations hold."""
    return _without_values(plan).explain()


def loaded_with(queryset: Any) -> str:
    """Return which relations and columns a queryset loads, in words; empty for its own columns alone."""
    query = queryset.query
    joined = query.select_related
    words = []
    if joined is True:
        words.append("joins all relations that may not be missing")
    elif joined:
        words.append(f"joins {', '.join(_paths(joined))}")
    lookups = [getattr(each, "prefetch_to", each) for each in queryset._prefetch_related_lookups]  # noqa: SLF001
    if lookups:
        words.append(f"a query each for {', '.join(lookups)}")
    names, is_deferred = query.deferred_loading
    if names:
        words.append(f"{'without' if is_deferred else 'only'} {', '.join(sorted(names))}")
    return "; ".join(words)


def _paths(joined: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, below in joined.items():
        found += _paths(below, f"{prefix}{name}__") if below else [f"{prefix}{name}"]
    return found


def _without_values(plan: EagerPlan) -> EagerPlan:
    return replace(
        plan,
        annotations=tuple((name, Hidden(type(each).__name__)) for name, each in plan.annotations),
        rows=None if plan.rows is None else _rows_without_values(plan.rows),
        queries=tuple((path, below and _without_values(below)) for path, below in plan.queries),
    )


def _rows_without_values(rows: RelatedRows) -> RelatedRows:
    return RelatedRows(
        rows.path,
        filter=None if rows.filter is None else _condition(rows.filter),
        order_by=tuple(each if isinstance(each, str) else type(each).__name__ for each in rows.order_by),
        limit=rows.limit,
        to_attr=rows.to_attr,
    )


def _condition(condition: Q) -> Q:
    shown = Q()
    shown.connector, shown.negated = condition.connector, condition.negated
    children: list[Any] = []
    for child in condition.children:
        if isinstance(child, Q):
            children.append(_condition(child))
        elif isinstance(child, tuple):
            children.append((child[0], Hidden()))
        else:
            children.append(Hidden(type(child).__name__))
    shown.children = children
    return shown
