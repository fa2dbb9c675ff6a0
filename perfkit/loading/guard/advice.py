"""What to write in the place of a loop of queries, to paste."""

from __future__ import annotations

from typing import Final

from perfkit.loading.guard.kinds import Kind
from perfkit.loading.guard.touches import Touch
from perfkit.loading.relations import relations_of

PART: Final = (
    '`{model}.objects.prefetch_related(Prefetch("{relation}", queryset={related}.objects.filter(…), '
    'to_attr="some_{relation}"))`, and read `some_{relation}`.'
)
GROUPED: Final = (
    "One `{model}.objects.filter({key}__in=values)` before the loop, and its rows grouped by `{key}`."
)
UPSERTED: Final = "`bulk_upsert({model}, rows, conflict_columns=[{columns}])` once, in the place of the loop."
ADVICE: Final = {
    Kind.FORWARD: (
        '`{model}.objects.select_related("{joined}")`, or `eager(queryset, "{relation}")` on the rows of '
        "the loop; where they are related rows themselves, with the path that leads to them."
    ),
    Kind.REVERSE_ONE_TO_ONE: (
        '`{model}.objects.select_related("{joined}")`, or `eager(queryset, "{relation}")` on the rows of the loop.'
    ),
    Kind.GENERIC: '`{model}.objects.prefetch_related("{relation}")`, or `eager(queryset, "{relation}")`.',
    Kind.DEFERRED: (
        'Take "{relation}" into `.only(…)`, or leave it out of `.defer(…)`, where the rows are read.'
    ),
    Kind.RELATED_ROWS: '`{model}.objects.prefetch_related("{relation}")`, or `eager(queryset, "{relation}")`.',
    Kind.RELATED_PART: PART,
    Kind.RELATED_VALUES: (
        '`{model}.objects.prefetch_related("{relation}")` and the attributes of its rows, '
        'or one `{model}.objects.values("pk", "{relation}__…")`.'
    ),
    Kind.RELATED_FIRST: (
        '`{model}.objects.prefetch_related(Prefetch("{relation}", '
        'queryset={related}.objects{filter}.order_by(…)[:1], to_attr="first_{relation}"))`, '
        "and read `first_{relation}`."
    ),
    Kind.RELATED_COUNT: (
        '`{model}.objects.annotate({relation}_count=RelatedCount("{relation}"{q}))`, and read `{relation}_count`.'
    ),
    Kind.RELATED_EXISTS: (
        '`{model}.objects.annotate({relation}_count=RelatedCount("{relation}"{q}))`, and ask '
        '`if row.{relation}_count`; or `prefetch_related("{relation}")` where the rows are read as well.'
    ),
    Kind.RELATED_AGGREGATE: (
        '`{model}.objects.annotate(total=RelatedSum("{relation}", …{q}))`, '
        "or RelatedAvg, RelatedMin, RelatedMax."
    ),
    Kind.GET: "`load_many({model}, keys)` before the loop.",
    Kind.FILTER: GROUPED,
    Kind.FIRST: GROUPED,
    Kind.COUNT: (
        'One `{model}.objects.filter({key}__in=values).values("{key}").annotate(n=Count("pk"))` before the loop.'
    ),
    Kind.EXISTS: (
        '`found = set({model}.objects.filter({key}__in=values).values_list("{key}", flat=True))` '
        "before the loop, and ask `value in found`."
    ),
    Kind.AGGREGATE: (
        'One `{model}.objects.filter({key}__in=values).values("{key}").annotate(total=Sum(…))` before the loop.'
    ),
    Kind.GET_OR_CREATE: UPSERTED,
    Kind.UPDATE_OR_CREATE: UPSERTED,
    Kind.INSERT: "Collect the rows, and write them by one `bulk_insert({model}, rows)`.",
    Kind.SAVE: "Collect the rows, and write them by one `bulk_update({model}, rows, fields=[…])`.",
    Kind.UPDATE: (
        "`bulk_update({model}, [(pk, {{…}}), …])`, or one `{model}.objects.filter(pk__in=…).update(…)` "
        "where all rows get the same."
    ),
    Kind.DELETE: "Collect the keys, and call `bulk_delete({model}, keys)` once.",
    Kind.REFRESH: "`load_many({model}, keys)` reads all of them anew by one query.",
    Kind.RAW: "One statement for all values, such as `… WHERE column = ANY(%s)` or `IN (…)`, before the loop.",
}
"""By kind; the names are filled in."""

BY_UNIQUE_FIELD: Final = '`{model}.objects.in_bulk(values, field_name="{key}")` before the loop.'
PREFETCHED: Final = (
    "'{relation}' is loaded already, and a filter, an order or a slice asks the database again: "
    "choose among `.{relation}.all()` in Python, or " + PART
)


def advice(touch: Touch) -> str:
    """Return what to write instead, in one or two sentences with the code."""
    text = ADVICE[touch.kind]
    columns = touch.columns
    if touch.is_prefetched:
        text = PREFETCHED
    elif touch.kind is Kind.GET and touch.model is not None and len(columns) == 1:
        field = touch.model._meta.get_field(columns[0])
        if not getattr(field, "primary_key", False):
            text = BY_UNIQUE_FIELD if getattr(field, "unique", False) else GROUPED
    return text.format(
        model=touch.model.__name__ if touch.model is not None else "Model",
        relation=touch.relation,
        related=touch.related.__name__ if touch.related is not None else "Related",
        joined=_joined(touch),
        key=columns[0] if columns else "…",
        filter=".filter(…)" if touch.is_filtered else "",
        q=", filter=Q(…)" if touch.is_filtered else "",
        columns=", ".join(f'"{name}"' for name in columns) or "…",
    )


def _joined(touch: Touch) -> str:
    """Return what `select_related` calls the relation."""
    relations = relations_of(touch.model) if touch.model is not None and touch.relation else {}
    return relations[touch.relation].join_name if touch.relation in relations else touch.relation
