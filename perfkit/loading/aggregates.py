"""Aggregates of related rows, each counted by itself: two of them in one queryset never multiply each other."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.core.exceptions import FieldError
from django.db import models
from django.db.models.expressions import Expression

from perfkit.errors import RelationPathError
from perfkit.loading.relations import relations_of

LOOKUP_SEPARATOR: Final = "__"


class RelatedAggregate(Expression):
    """An aggregate over the rows that a relation leads to, for `annotate`.

    Django's own `annotate(a=Count("reports"), b=Count("labels"))` joins both relations, and counts every pair of
    their rows. Here each is a subquery about one row, by its primary key.

    Args:
        path: A relation of the model by its attribute, nested with double underscores; of any kind that a query
            can follow.
        name: The field of the related model that is aggregated; left out for a count.
        filter: Which related rows count, by the names of their own fields.
        default: Instead of None where no row counts.

    Raises:
        RelationPathError: The path leads along no relation; where the queryset is built.
        FieldError: A name is that of no field, or the filter holds an expression; likewise.

    Queries:
        None of its own: it is a part of the queryset's.

    Example:
        >>> Airport.objects.annotate(  # doctest: +SKIP
        ...     late=RelatedCount("departures", filter=Q(dep_delay__gte=60)),
        ...     worst=RelatedMax("departures", "dep_delay"),
        ... )
    """

    aggregate: ClassVar[type[models.Aggregate]]

    def __init__(
        self,
        path: str,
        name: str = "",
        *,
        filter: models.Q | None = None,  # noqa: A002  # as of Django's aggregates
        default: Any = None,
    ) -> None:
        super().__init__()
        self.path = path
        self.name = name
        self.filter = filter
        self.default = default

    def __repr__(self) -> str:
        named = [self.path, *([self.name] if self.name else [])]
        return f"{type(self).__name__}({', '.join(map(repr, named))})"

    def resolve_expression(self, query: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Make the subquery for the query's model."""
        model: type[models.Model] = query.model
        path = query_path(model, self.path)
        over = LOOKUP_SEPARATOR.join([path, self.name]) if self.name else path
        condition = None if self.filter is None else along(path, self.filter)
        options = {} if self.default is None else {"default": self.default}
        counted = self.aggregate(over, filter=condition, **options)
        rows = model._base_manager.filter(pk=models.OuterRef("pk")).order_by().values("pk")
        subquery = models.Subquery(rows.annotate(perfkit_related=counted).values("perfkit_related"))
        return subquery.resolve_expression(query, *args, **kwargs)


class RelatedCount(RelatedAggregate):
    """How many related rows there are, 0 where none; see `RelatedAggregate`."""

    aggregate = models.Count


class RelatedSum(RelatedAggregate):
    """The sum of a field of the related rows, None or `default` where there are none."""

    aggregate = models.Sum


class RelatedAvg(RelatedAggregate):
    """The average of a field of the related rows, None or `default` where there are none."""

    aggregate = models.Avg


class RelatedMin(RelatedAggregate):
    """The least value of a field of the related rows, None or `default` where there are none."""

    aggregate = models.Min


class RelatedMax(RelatedAggregate):
    """The greatest value of a field of the related rows, None or `default` where there are none."""

    aggregate = models.Max


def query_path(model: type[models.Model], path: str) -> str:
    """Return what Django's filters call the relation that a path of attributes leads to.

    Raises:
        RelationPathError: It leads along no relation, or a generic one, which no query can follow.
    """
    names = []
    for part in path.split(LOOKUP_SEPARATOR):
        relations = {name: each for name, each in relations_of(model).items() if each.model is not None}
        relation = relations.get(part)
        if relation is None or relation.model is None:
            raise RelationPathError(model._meta.label, path, part, sorted(relations))
        names.append(relation.join_name)
        model = relation.model
    return LOOKUP_SEPARATOR.join(names)


def along(path: str, condition: models.Q) -> models.Q:
    """Return a condition on related rows as one on the rows that they are related to.

    Raises:
        FieldError: It holds an expression, whose names cannot be seen.
    """
    said = models.Q(_connector=condition.connector, _negated=condition.negated)
    for child in condition.children:
        if isinstance(child, models.Q):
            said.children.append(along(path, child))
        elif isinstance(child, tuple):
            name, value = child
            if hasattr(value, "resolve_expression"):
                raise FieldError(f"The filter of a related aggregate compares {name!r} with an expression.")
            said.children.append((LOOKUP_SEPARATOR.join([path, name]), value))
        else:
            raise FieldError("The filter of a related aggregate holds an expression: name fields and values.")
    return said
