"""Which rows of a to-many relation are loaded, in what order, how many for each parent, and under what name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import FieldDoesNotExist
from django.db.models import F, Model, Q, QuerySet, Window
from django.db.models.expressions import Combinable, OrderBy
from django.db.models.functions import RowNumber
from django.db.models.lookups import LessThanOrEqual

from perfkit.errors import RelatedRowsError
from perfkit.loading.relations import Relation

if TYPE_CHECKING:
    Order = str | Combinable | OrderBy

GENERIC: Final = "generic relation"


@dataclass(frozen=True, init=False)
class RelatedRows:
    """Some of the rows that a to-many relation leads to, in an order of their own, for `eager`.

    Args:
        path: The relation by its attribute, nested with double underscores.
        relations: What is loaded with the rows: paths from them, or others of these.
        filter: Which rows, by the names of their own fields.
        order_by: As of a queryset; the model's own order where left out.
        limit: The most rows for each parent, at least 1. The key is the last criterion of the order, so that it
            is total and the same rows are loaded each time.
        to_attr: The attribute that holds them as a list. Needed with a filter or a limit: under the relation's
            own name, `.all()` would show some rows as if they were all.

    Raises:
        RelatedRowsError: The limit is no number of rows, or the attribute no name; `eager` refuses the rest.

    Queries:
        One for all parents, with a limit too.

    Example:
        >>> latest = RelatedRows(  # doctest: +SKIP
        ...     "reports", "author", filter=Q(kind="delay"), order_by=("-created_at",), limit=3, to_attr="latest"
        ... )
        >>> eager(Flight.objects.all(), "airline", latest)  # doctest: +SKIP
    """

    path: str
    relations: tuple[str | RelatedRows, ...]
    filter: Q | None
    order_by: tuple[Order, ...]
    limit: int | None
    to_attr: str

    def __init__(
        self,
        path: str,
        *relations: str | RelatedRows,
        filter: Q | None = None,  # noqa: A002  # as of Django's aggregates
        order_by: tuple[Order, ...] | list[Order] | Order = (),
        limit: int | None = None,
        to_attr: str = "",
    ) -> None:
        ordered = tuple(order_by) if isinstance(order_by, tuple | list) else (order_by,)
        kept = None if filter is None or not filter.children else filter  # an empty Q keeps every row
        given = (path, relations, kept, ordered, limit, to_attr)
        for name, value in zip(self.__dataclass_fields__, given, strict=True):
            object.__setattr__(self, name, value)
        if limit is not None and (type(limit) is not int or limit < 1):
            raise RelatedRowsError(path, f"a limit is a whole number from 1 on, not {limit!r}.")
        if to_attr and ("__" in to_attr or not to_attr.isidentifier()):
            raise RelatedRowsError(path, f"to_attr={to_attr!r} is no name of an attribute.")

    @property
    def name(self) -> str:
        """The relation's attribute, the last of the path."""
        return self.path.rpartition("__")[2]

    def named(self, to_attr: str) -> RelatedRows:
        """Return the same rows under a name."""
        return RelatedRows(
            self.path,
            *self.relations,
            filter=self.filter,
            order_by=self.order_by,
            limit=self.limit,
            to_attr=to_attr,
        )

    @property
    def is_fixed(self) -> bool:
        """Whether no value of the moment is in it, so that a plan with it may be kept."""
        below = all(isinstance(each, str) or each.is_fixed for each in self.relations)
        return self.filter is None and all(isinstance(each, str) for each in self.order_by) and below

    def is_whole_of(self, name: str) -> bool:
        """Whether these are all rows of the relation `name`, in an order, which it may hold under its own name."""
        return self.path == name and self.filter is None and self.limit is None and not self.to_attr

    def chosen(self, rows: QuerySet[Any], relation: Relation) -> QuerySet[Any]:
        """Return those of `rows`, all that the relation may lead to, which are to be loaded."""
        if self.filter is not None:
            rows = _kept(rows, self.filter)
        if self.order_by:
            rows = rows.order_by(*self.order_by)
        if self.limit is None:
            return rows
        rows = rows.order_by(*total(rows))
        if relation.kind != GENERIC:
            return rows[: self.limit]  # Django makes of the slice a window for each parent
        # Django cannot do that here: its prefetch of a generic relation filters what must be unsliced.
        ordered = [expression for expression, _ in rows.query.get_compiler(using=rows.db).get_order_by()]
        parent = [F(name) for name in relation.their_columns]
        return rows.filter(
            LessThanOrEqual(Window(RowNumber(), partition_by=parent, order_by=ordered), self.limit)
        )

    def told(self) -> str:
        """Return what is loaded, in words."""
        parts = []
        if self.filter is not None:
            parts.append(f"filter {self.filter}")
        if self.order_by:
            parts.append(f"in the order {', '.join(map(str, self.order_by))}")
        if self.limit is not None:
            parts.append(f"at most {self.limit} for each row above, by a window")
        if self.to_attr:
            parts.append(f"as the list {self.to_attr}")
        return ", ".join(parts)


def total(rows: QuerySet[Any]) -> list[Any]:
    """Return the order of `rows` with the key as its last criterion."""
    order = list(rows.query.order_by or (rows.model._meta.ordering if rows.query.default_ordering else ()))
    keys = {"pk", "-pk", rows.model._meta.pk.name, f"-{rows.model._meta.pk.name}"}
    return order if any(isinstance(each, str) and each in keys for each in order) else [*order, "pk"]


def _kept(rows: QuerySet[Any], condition: Q) -> QuerySet[Any]:
    """Filter, each row once even where the condition leads along other relations to many."""
    if not any(_leads_to_many(rows.model, name) for name in _names(condition)):
        return rows.filter(condition)
    matching: QuerySet[Any, Any] = rows.model._base_manager.using(rows._db).filter(condition)  # type: ignore[attr-defined]
    return rows.filter(pk__in=matching.order_by().values("pk"))


def _names(condition: Q) -> Iterator[str]:
    for child in condition.children:
        if isinstance(child, Q):
            yield from _names(child)
        elif isinstance(child, tuple):
            yield child[0]


def _leads_to_many(model: type[Model], lookup: str) -> bool:
    """Tell whether a lookup goes along a relation that may give a row several times."""
    opts = model._meta
    for part in lookup.split("__"):
        try:
            field: Any = opts.get_field(opts.pk.name if part == "pk" else part)
        except FieldDoesNotExist:
            continue  # a transform or an operator
        hops = getattr(field, "path_infos", ())
        if any(hop.m2m for hop in hops):
            return True
        if hops:
            opts = hops[-1].to_opts
    return False


def refuse_name(model: type[Model], rows: RelatedRows) -> None:
    """Refuse a `to_attr` that is missing, or that the model has for something else.

    Raises:
        RelatedRowsError: It is so.
    """
    if (rows.filter is not None or rows.limit is not None) and not rows.to_attr:
        cut = "filter" if rows.limit is None else "limit"
        raise RelatedRowsError(
            rows.path,
            f"a {cut} needs a to_attr: else .all() of the relation would show some rows as if they were all.",
        )
    if rows.to_attr and (hasattr(model, rows.to_attr) or rows.to_attr in _field_names(model)):
        raise RelatedRowsError(
            rows.path, f"to_attr={rows.to_attr!r} is an attribute of {model._meta.label} already."
        )


def _field_names(model: type[Model]) -> set[str]:
    return {field.name for field in model._meta.get_fields()}
