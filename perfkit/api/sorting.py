"""Sorting of lists by a whitelist: `sort_by`, `sort_order`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar, get_args

from django.db.models import F, Model, QuerySet
from django.db.models.expressions import OrderBy
from ninja import Field, Schema

from perfkit.paging.columns import is_nullable

M = TypeVar("M", bound=Model)
R = TypeVar("R")


class Sorting(Schema):
    """What a request may sort by; a subclass names the columns, and any other is a 422 that lists them.

    Rows without a value come last in both directions.
    The names are those of the API; `paths` says where one differs from the model's.

    Example:
        class FlightSorting(Sorting):
            sort_by: Literal["scheduled", "distance"] = "scheduled"
            paths: ClassVar = {"scheduled": "time_hour"}

        @api.get("/flights", response=list[FlightOut])
        def flights(request, sorting: Query[FlightSorting]):
            return sorting.apply(Flight.objects.all())
    """

    sort_by: str
    sort_order: Literal["asc", "desc"] = Field(
        "desc", description="`asc` or `desc`; rows without a value come last."
    )

    paths: ClassVar[Mapping[str, str]] = {}

    def apply(self, queryset: QuerySet[M, R]) -> QuerySet[M, R]:
        """Return `queryset` ordered as asked, without a query; add a tie-breaker with `total_order`."""
        return queryset.order_by(ordering(queryset.model, self.path, descending=self.sort_order == "desc"))

    @property
    def path(self) -> str:
        """The model's path of the column that was asked for."""
        return self.paths.get(self.sort_by, self.sort_by)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a subclass whose whitelist is missing or disagrees with its paths."""
        super().__pydantic_init_subclass__(**kwargs)
        allowed = get_args(cls.model_fields["sort_by"].annotation)
        if not allowed:
            raise TypeError(f"{cls.__name__}.sort_by must be a Literal of the allowed names.")
        if unknown := set(cls.paths) - set(allowed):
            raise TypeError(f"{cls.__name__}.paths has names that sort_by does not allow: {sorted(unknown)}.")


def ordering(model: type[Model], path: str, *, descending: bool) -> OrderBy:
    """Return the term that sorts by `path`, rows without a value last.

    Where no value can be missing the term says nothing of NULLs, so that a plain index serves it.
    """
    nulls_last = True if is_nullable(model, path) else None
    column = F(path)
    return column.desc(nulls_last=nulls_last) if descending else column.asc(nulls_last=nulls_last)
