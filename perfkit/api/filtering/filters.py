"""Filters of lists: a schema whose values fit the columns that they are compared with."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Annotated, Any, ClassVar, Self, TypeVar

from django.conf import settings
from django.db.models import Model, Q, QuerySet
from ninja import FilterLookup
from ninja.filter_schema import FilterSchema
from pydantic import (
    GetJsonSchemaHandler,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    create_model,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, ValidationError
from pydantic_core.core_schema import CoreSchema

from perfkit.api.filtering.columns import refuse_digits
from perfkit.api.filtering.declared import CONNECTORS, Filter, filters_of
from perfkit.api.filtering.documents import shown_parameter
from perfkit.api.filtering.types import annotation_of
from perfkit.api.filtering.values import checked_value, require_range, split
from perfkit.api.refusing import laid_on_list, refuse
from perfkit.errors import ListDeclarationError
from perfkit.indexing.declared import DeclaredIndex
from perfkit.indexing.offers import Unindexed, Unserved, offer
from perfkit.indexing.serving import lookup_index, suggested_lookup

logger = logging.getLogger("perfkit.api")

Q_ = TypeVar("Q_", bound=QuerySet[Any, Any])
F = TypeVar("F", bound="Filters")


class Filters(FilterSchema):
    """Which rows a list has: ninja's FilterSchema, held to the columns of a model.

    All that is said of `FilterSchema` and `FilterLookup` holds. With `model=…`, besides:

    - A lookup that the model does not have is an error where the class is made.
    - A value that the column cannot have is a 422 that names the parameter: an integer out of its range, a text
      that is too long or has a NUL, too many decimal places, a moment without a time zone that has none there.
    - Two parameters with `__gte` and `__lte` (or `gt`, `lt`, days) of one column are a range; one that ends before
      it begins is a 422.
    - A lookup `__in` takes a list, comma-separated or repeated or both, see `perfkit.api.In`.
    - OpenAPI shows these bounds.

    The form of the condition depends on which parameters are given, never on their values.

    Args:
        model: Given with the class, as in the example: whose rows; without it values are held to what any database
            takes, and nothing is known of indexes.
        unindexed: What is done about filters that no index of the model serves: with `"warn"` a system check tells
            of them, and with DEBUG the log, once; with `"refuse"` a request whose filters are all so is a 422 that
            lists the others; with `"allow"` nothing.

    Raises:
        ListDeclarationError: A parameter is declared in a way that cannot be.

    Example:
        class FlightFilters(Filters, model=Flight):
            airline: Annotated[list[str] | None, In("airline_id")] = None
            min_delay: Annotated[int | None, FilterLookup("dep_delay__gte")] = None
            cancelled: Annotated[bool | None, FilterLookup("dep_time__isnull")] = None
            date_from: Annotated[date | None, FromDay("time_hour", NEW_YORK)] = None

        @api.get("/flights", response=list[FlightOut])
        def flights(request, filters: Query[FlightFilters]):
            return filters.filter(Flight.objects.all())
    """

    _model: ClassVar[type[Model] | None] = None
    _unindexed: ClassVar[Unindexed] = "warn"
    _declared: ClassVar[Mapping[str, Filter]] = {}
    _told: ClassVar[set[frozenset[str]]] = set()

    def __init_subclass__(
        cls, *, model: type[Model] | None = None, unindexed: Unindexed | None = None, **kwargs: Any
    ) -> None:
        """Take the class arguments; what they mean waits for the fields."""
        super().__init_subclass__(**kwargs)
        cls._model = model or cls._model
        cls._unindexed = unindexed or cls._unindexed

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Read what the fields say."""
        super().__pydantic_init_subclass__()
        if cls._unindexed == "refuse" and cls._model is None:
            raise ListDeclarationError(cls.__name__, "", 'unindexed="refuse" needs model=…')
        cls._declared = {each.name: each for each in filters_of(cls, cls._model)}
        cls._told = set()
        if cls._model is not None:
            offer(cls)  # type: ignore[arg-type]  # a class stands for itself

    @classmethod
    def for_model(
        cls,
        model: type[Model],
        lookups: Mapping[str, str | FilterLookup],
        *,
        name: str = "",
        unindexed: Unindexed | None = None,
    ) -> type[Self]:
        """Return a subclass whose parameters have the types of the model's columns.

        Args:
            lookups: By the name of a parameter: a path with a lookup, or `In`, `FromDay`, `ToDay`, `Search`.
            name: Of the class.

        Raises:
            ListDeclarationError: The model has no such column, or the type of one is not known here.

        Example:
            >>> AirportFilters = Filters.for_model(Airport, {"above": "altitude__gte", "search": Search("name")})
        """
        title = name or f"{model.__name__}Filters"
        fields: dict[str, Any] = {}
        for parameter, given in lookups.items():
            lookup = FilterLookup(given) if isinstance(given, str) else given
            try:
                annotation = annotation_of(model, lookup)
            except LookupError as error:
                raise ListDeclarationError(title, parameter, str(error.args[0])) from error
            fields[parameter] = (Annotated[annotation | None, lookup], None)
        made: Any = create_model(
            title,
            __base__=cls,
            __cls_kwargs__={"model": model, "unindexed": unindexed},
            __module__=sys._getframe(1).f_globals.get("__name__", __name__),  # noqa: SLF001  # as namedtuple does
            **fields,
        )
        return made  # type: ignore[no-any-return]  # made of cls

    def condition(self) -> Q:
        """Return the condition of all that is given; an empty one where nothing is. No query."""
        return self.get_filter_expression()

    def get_filter_expression(self) -> Q:
        """Return the condition; `condition` by ninja's name."""
        if type(self).custom_expression is not FilterSchema.custom_expression:
            return self.custom_expression()
        config = self.model_config
        ignores_none = config.get("ignore_none", True)
        found = []
        for each in self._declared.values():
            value = getattr(self, each.name)
            if value is not None or not (ignores_none and each.lookup.ignore_none):
                found.append(each.q(self, value))
        return reduce(CONNECTORS[config.get("expression_connector", "AND")], found, Q())

    def filter(self, queryset: Q_) -> Q_:
        """Return the rows of `queryset` for which all that is given holds; no query."""
        if settings.DEBUG and self._unindexed == "warn":
            self._tell_unserved()
        return queryset.filter(self.get_filter_expression())

    @classmethod
    def unserved(cls) -> Iterator[Unserved]:
        """Yield the parameters that no declared index of the model serves."""
        if cls._unindexed == "allow" or cls._model is None:
            return
        for each in cls._declared.values():
            for one in each.conditions:
                if not lookup_index(cls._model, one.base, one.lookup):
                    advice = suggested_lookup(cls._model, one.base, one.lookup)
                    yield Unserved("filter", each.parameter, one.path, f"Declare {advice}." if advice else "")
                    break

    @classmethod
    def relied_on(cls) -> Iterator[DeclaredIndex]:
        """Yield the declared indexes that serve the parameters."""
        if cls._model is not None:
            lookups = [(one.base, one.lookup) for each in cls._declared.values() for one in each.conditions]
            yield from filter(None, [lookup_index(cls._model, *lookup) for lookup in lookups])

    @field_validator("*", mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Hold a value to its column, see `perfkit.api.filtering.columns`."""
        each = cls._declared[str(info.field_name)]
        if not each.is_list:
            refuse_digits(value, each.kind)
            read = handler(value)
            return None if read is None else checked_value(each, read)
        if value is None:
            return handler(value)
        values = split(value, each)
        for item in values:
            refuse_digits(item, each.kind)
        try:
            read = handler(values)
        except ValidationError as error:
            raise laid_on_list(cls.__name__, error, values) from error
        return type(read)(checked_value(each, item) for item in dict.fromkeys(read))

    @model_validator(mode="after")
    def _judge_together(self) -> Self:
        """Refuse ranges that end before they begin, and where the class says so filters without an index."""
        for each in self._declared.values():
            require_range(self, each)
        if self._unindexed == "refuse":
            self._require_index()
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Show what values are held to; a parameter is left out, and never null."""
        shown = handler(schema)
        properties = handler.resolve_ref_schema(shown).get("properties", {})
        for each in cls._declared.values():
            if each.parameter in properties:
                properties[each.parameter] = shown_parameter(properties[each.parameter], each)
        return shown

    def _require_index(self) -> None:
        given = self._given()
        if not given or any(map(self._is_served, given)):
            return
        unserved = {each.name for each in self.unserved()}
        allowed = [each.parameter for each in self._declared.values() if each.parameter not in unserved]
        text = "No index finds rows by this alone; give at least one of these too: {allowed}"
        problem = PydanticCustomError("unindexed_filter", text, {"allowed": ", ".join(allowed)})
        refuse(type(self).__name__, given[0].parameter, problem, getattr(self, given[0].name))

    def _given(self) -> list[Filter]:
        return [each for each in self._declared.values() if getattr(self, each.name) is not None]

    def _is_served(self, each: Filter) -> bool:
        """Whether an index serves a given filter; one that a method makes is its author's to know."""
        assert self._model is not None  # noqa: S101  # who calls has looked
        value = getattr(self, each.name)
        return all(lookup_index(self._model, one.base, one.lookup, value) for one in each.conditions)

    def _tell_unserved(self) -> None:
        given = self._given()
        names = frozenset(each.parameter for each in given)
        if self._model is None or not given or names in self._told or any(map(self._is_served, given)):
            return
        self._told.add(names)
        advice = next((each.advice for each in self.unserved() if each.name in names and each.advice), "")
        logger.warning(
            "%s: no index of %s finds rows by %s alone. %s",
            type(self).__name__,
            self._model._meta.label,
            ", ".join(sorted(names)),
            advice,
        )
