"""The plan that loads what serialising rows by a schema reads, and no other column."""

from __future__ import annotations

from functools import lru_cache

from django.db.models import Model

from perfkit.loading.plan import EagerPlan, plan_of
from perfkit.loading.schema_reading import Reading
from perfkit.loading.wanted import Wanted


@lru_cache(maxsize=1024)
def schema_plan(model: type[Model], schema: type, given: frozenset[str] = frozenset()) -> EagerPlan:
    """Return the plan that loads what serialising rows of `model` by `schema` reads.

    Cached by its arguments.

    Args:
        model: Of the rows.
        schema: Of django-ninja, a pydantic model, or a Struct of msgspec.
        given: Attributes that the rows have besides, such as annotations of a queryset.

    Raises:
        SchemaFieldError: The schema, or a declared need, reads what the model does not have.
        SchemaPlanError: A schema contains itself, or reads what no plan can load.
    """
    wanted = Wanted(model, model._meta.label)
    Reading(given).schema(wanted, schema, ())
    return plan_of(wanted)
