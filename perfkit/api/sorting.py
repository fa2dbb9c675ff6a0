"""Sorting of lists by a whitelist: `sort_by`, `sort_order`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal, Self, TypeVar, get_args, get_origin

from django.conf import settings
from django.db.models import F, Model, QuerySet
from django.db.models.expressions import OrderBy
from ninja import Field, Schema
from pydantic import GetJsonSchemaHandler, ValidatorFunctionWrapHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, ValidationError
from pydantic_core.core_schema import CoreSchema

from perfkit.api.refusing import laid_on_list, refuse
from perfkit.api.sort_keys import SortKeys, listed, query_of, split_sign
from perfkit.errors import ListDeclarationError
from perfkit.indexing.declared import DeclaredIndex
from perfkit.indexing.offers import Unindexed, Unserved, offer
from perfkit.indexing.serving import OrderKey, order_index, served_orders, suggested_order
from perfkit.paging.columns import is_nullable

logger = logging.getLogger("perfkit.api")

M = TypeVar("M", bound=Model)
R = TypeVar("R")
S = TypeVar("S", bound="Sorting")

MOST_LISTED: Final = 20
"""Orders, in one message."""


class Sorting(Schema):
    """What a request may sort by; a subclass names the columns, and any other is a 422 that lists them.

    `sort_by` is a Literal of names, for one of them at a time, or a list of such a Literal, for several:
    `?sort_by=airline,-time_hour`, comma-separated or repeated.
    Of several each says its direction itself, `-` for descending, as in JSON:API; of one without a sign
    `sort_order` says it, which is `desc` where it is left out.

    Rows without a value come last in both directions.
    The names are those of the API; `paths` says where one differs from the model's.

    Args:
        model: Given with the class, as in the example: whose columns are sorted by; without it nothing is known of
            indexes before a request.
        unindexed: What is done about orders that no declared index of the model serves: with `"warn"` a system
            check tells of names that none serves, and with DEBUG the log of orders that were asked for, once;
            with `"refuse"` such an order is a 422 that lists the others; with `"allow"` nothing.

    Raises:
        ListDeclarationError: `sort_by` is no such Literal, or names what cannot be.

    Example:
        class FlightSorting(Sorting, model=Flight, unindexed="refuse"):
            sort_by: list[Literal["scheduled", "airline"]] = ["scheduled"]
            paths: ClassVar = {"scheduled": "time_hour", "airline": "airline_id"}

        @api.get("/flights", response=list[FlightOut])
        def flights(request, sorting: Query[FlightSorting]):
            return sorting.apply(Flight.objects.all())
    """

    sort_by: Any
    sort_order: Literal["asc", "desc"] = Field(
        "desc", description="`asc` or `desc`; rows without a value come last."
    )

    paths: ClassVar[Mapping[str, str]] = {}

    _model: ClassVar[type[Model] | None] = None
    _unindexed: ClassVar[Unindexed] = "warn"
    _allowed: ClassVar[tuple[str, ...]] = ()
    _takes_several: ClassVar[bool] = False
    _told: ClassVar[set[tuple[type[Model], SortKeys]]] = set()

    def __init_subclass__(
        cls, *, model: type[Model] | None = None, unindexed: Unindexed | None = None, **kwargs: Any
    ) -> None:
        """Take the class arguments; what they mean waits for the fields."""
        super().__init_subclass__(**kwargs)
        cls._model = model or cls._model
        cls._unindexed = unindexed or cls._unindexed

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a subclass whose whitelist is missing or disagrees with its paths or its default."""
        super().__pydantic_init_subclass__()
        annotation = cls.model_fields["sort_by"].annotation
        cls._takes_several = get_origin(annotation) is list
        literal = get_args(annotation)[0] if cls._takes_several else annotation
        cls._allowed = get_args(literal) if get_origin(literal) is Literal else ()
        cls._told = set()
        if not cls._allowed:
            problem = "must be a Literal of the allowed names, or a list of one"
            raise ListDeclarationError(cls.__name__, "sort_by", problem)
        if unknown := set(cls.paths) - set(cls._allowed):
            problem = f"has names that sort_by does not allow: {sorted(unknown)}"
            raise ListDeclarationError(cls.__name__, "paths", problem)
        cls._require_default()
        if cls._unindexed == "refuse" and cls._model is None:
            raise ListDeclarationError(cls.__name__, "", 'unindexed="refuse" needs model=…')
        if cls._model is not None:
            offer(cls)  # type: ignore[arg-type]  # a class stands for itself

    @classmethod
    def _require_default(cls) -> None:
        info = cls.model_fields["sort_by"]
        if info.is_required() or info.default_factory is not None:
            return
        names = [split_sign(each)[0] for each in listed(info.default)]
        if not names or not set(names) <= set(cls._allowed) or len(set(names)) < len(names):
            problem = f"has a default that it does not allow: {info.default!r}"
            raise ListDeclarationError(cls.__name__, "sort_by", problem)

    @property
    def sort_keys(self) -> SortKeys:
        """The names that are sorted by, in their order, each with whether it is descending."""
        keys = tuple(split_sign(each) for each in listed(self.sort_by))
        if len(keys) == 1 and not keys[0][1]:
            return ((keys[0][0], self.sort_order == "desc"),)
        return keys

    def terms(self, model: type[Model]) -> tuple[OrderBy, ...]:
        """Return what sorts as asked, in the words of Django; add a tie-breaker with `total_order`. No query."""
        return tuple(
            ordering(model, self.paths.get(name, name), descending=descending)
            for name, descending in self.sort_keys
        )

    def apply(self, queryset: QuerySet[M, R]) -> QuerySet[M, R]:
        """Return `queryset` ordered as asked, without a query; add a tie-breaker with `total_order`."""
        if settings.DEBUG and self._unindexed == "warn":
            self._tell_unserved(queryset.model)
        return queryset.order_by(*self.terms(queryset.model))

    @classmethod
    def unserved(cls) -> Iterator[Unserved]:
        """Yield the names by which no declared index of the model sorts.

        Where an order without an index is refused, one that has one in a single direction is none of them.
        """
        if cls._unindexed == "allow" or cls._model is None:
            return
        for name in cls._allowed:
            missing = [way for way in (False, True) if cls._index(cls._model, ((name, way),)) is None]
            if len(missing) == 2 or (missing and cls._unindexed == "warn"):  # noqa: PLR2004  # directions
                way = "" if len(missing) == 2 else "descending" if missing[0] else "ascending"  # noqa: PLR2004
                advice = cls._advice(cls._model, ((name, missing[0]),))
                yield Unserved("sort", name, f"{cls.paths.get(name, name)} {way}".strip(), advice)

    @classmethod
    def relied_on(cls) -> Iterator[DeclaredIndex]:
        """Yield the declared indexes by which one name each sorts."""
        if cls._model is not None:
            orders = [((name, way),) for name in cls._allowed for way in (False, True)]
            yield from filter(None, [cls._index(cls._model, keys) for keys in orders])

    @field_validator("sort_by", mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        """Read several keys with their signs; each of the names may be given once."""
        if not cls._takes_several:
            return handler(value)
        given = listed(value)
        keys = [split_sign(each) for each in given]
        try:
            names: Sequence[str] = handler([name for name, _ in keys])
        except ValidationError as error:
            raise laid_on_list(cls.__name__, error, given) from error
        if repeated := next((name for name in names if names.count(name) > 1), None):
            text = "'{repeated}' is given more than once. Allowed, each once: {allowed}"
            raise PydanticCustomError(
                "repeated_sort_key", text, {"repeated": repeated, "allowed": ", ".join(cls._allowed)}
            )
        return [f"-{name}" if descending else name for name, descending in keys]

    @model_validator(mode="after")
    def _judge_direction(self) -> Self:
        """Refuse a direction for keys that say theirs, and where the class says so an order without an index."""
        given = listed(self.sort_by)
        if "sort_order" in self.model_fields_set and (len(given) > 1 or given[0].startswith("-")):
            text = (
                "sort_order is for one key without a sign; write -name for descending, and name for ascending"
            )
            refuse(
                type(self).__name__, "sort_order", PydanticCustomError("sort_order", text), self.sort_order
            )
        if self._unindexed == "refuse" and self._model and not self._index(self._model, self.sort_keys):
            text = "No index sorts by {order}. Allowed: {allowed}"
            allowed = self._orders()
            context = {"order": query_of(self.sort_keys), "allowed": "; ".join(allowed)}
            refuse(
                type(self).__name__, "sort_by", PydanticCustomError("unindexed_sort", text, context), given
            )
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Show the names with their signs where several may be given."""
        shown = handler(schema)
        properties = handler.resolve_ref_schema(shown).get("properties", {})
        if cls._takes_several and "sort_by" in properties:
            names = [*cls._allowed, *(f"-{name}" for name in cls._allowed)]
            items = {"type": "string", "enum": names}
            properties["sort_by"] |= {
                "items": items,
                "minItems": 1,
                "maxItems": len(cls._allowed),
                "uniqueItems": True,
            }
        return shown

    @classmethod
    @lru_cache(maxsize=1024)
    def _index(cls, model: type[Model], keys: SortKeys) -> DeclaredIndex | None:
        """Return a declared index that serves an order."""
        return order_index(model, cls._order(model, keys))

    @classmethod
    def _order(cls, model: type[Model], keys: SortKeys) -> list[OrderKey]:
        order = []
        for name, descending in keys:
            path = cls.paths.get(name, name)
            order.append(OrderKey(path, descending, nulls_first=False if is_nullable(model, path) else None))
        return order

    @classmethod
    def _advice(cls, model: type[Model], keys: SortKeys) -> str:
        advice = suggested_order(model, cls._order(model, keys))
        return f"Declare {advice}." if advice else ""

    @classmethod
    def _orders(cls) -> list[str]:
        """Return the orders that declared indexes serve, as a request asks for them."""
        assert cls._model is not None  # noqa: S101  # who calls has looked
        names = {cls.paths.get(name, name): name for name in cls._allowed}
        found: dict[str, None] = {}
        for order in served_orders(cls._model, list(names)):
            keys = tuple((names[path], descending) for path, descending in order)
            if (len(keys) == 1 or cls._takes_several) and cls._index(cls._model, keys):
                found[query_of(keys)] = None
        return list(found)[:MOST_LISTED]

    def _tell_unserved(self, model: type[Model]) -> None:
        """Log an order that no index serves, once."""
        keys = self.sort_keys
        if (model, keys) in self._told or self._index(model, keys):
            return
        self._told.add((model, keys))
        logger.warning(
            "%s: no index of %s sorts by %s. %s",
            type(self).__name__,
            model._meta.label,
            query_of(keys),
            self._advice(model, keys),
        )


def ordering(model: type[Model], path: str, *, descending: bool) -> OrderBy:
    """Return the term that sorts by `path`, rows without a value last.

    Where no value can be missing the term says nothing of NULLs, so that a plain index serves it.
    """
    nulls_last = True if is_nullable(model, path) else None
    column = F(path)
    return column.desc(nulls_last=nulls_last) if descending else column.asc(nulls_last=nulls_last)
