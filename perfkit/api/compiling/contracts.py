"""What an operation of django-ninja says of its answers: their schema, and how they are written.

# Note [How an operation is found]
ninja tells a pagination the request and the queryset, but not which operation it serves, whose schema and renderer
say what the answer is. Django tells the request which view answers it, and of ninja's views the variable `self` is
where its operations are. Where something else stands between, as in ninja's TestClient, the answer is made of
instances, and is the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, get_args, get_origin
from weakref import WeakKeyDictionary

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import ResolverMatch
from ninja import NinjaAPI, Schema
from ninja.operation import Operation
from ninja.renderers import JSONRenderer
from pydantic import BaseModel, model_validator

from perfkit.api.compiling.answers import Shown, shown_of
from perfkit.api.compiling.nodes import NotCompiledError

Fields = tuple[tuple[str, ...], ...]
"""Paths of the fields that a request asks for."""

_FIELDS: Final = "_perfkit_fields"


class Envelope(Schema):
    """What the answer of a pagination says beside the items; those of the paginations here are subclasses."""

    @model_validator(mode="before")
    @classmethod
    def of_answer(cls, values: Any) -> Any:
        """Read an answer that stands already: of a view that says the status itself, ninja makes it once more."""
        given = getattr(values, "_obj", values)
        return given.told() if hasattr(given, "told") else values


@dataclass(frozen=True, slots=True)
class Contract:
    """What an operation says of its answers.

    Attributes:
        kind: Whether it shows a page, a list, or one row.
        schema: Of each row.
        reason: Why its answers are made of instances whatever the rows are; empty for none.
    """

    operation: Operation
    kind: Literal["page", "list", "one"]
    schema: type
    reason: str

    @property
    def api(self) -> NinjaAPI:
        """Where it is mounted."""
        return self.operation.api

    def shown(self, queryset: QuerySet[Any], fields: Fields | None) -> Shown:
        """Return how rows are shown.

        Raises:
            NotCompiledError: They are made of instances.
        """
        if self.reason:
            raise NotCompiledError(self.reason)
        return shown_of(
            queryset,
            self.schema,
            dialect="text" if _writes_as_ninja(self.api.renderer) else "values",
            by_alias=self.operation.by_alias,
            fields=fields,
        )


_contracts: Final[WeakKeyDictionary[Operation, Contract | None]] = WeakKeyDictionary()


def contract_of(request: HttpRequest) -> Contract | None:
    """Return what the operation that a request is for says of its answers; None where it cannot be found.

    See Note [How an operation is found].
    """
    match = getattr(request, "resolver_match", None)
    if type(match) is not ResolverMatch:
        return None
    operation = operations_of(match.func).get(request.method or "")
    return None if operation is None else contract_for(operation)


def contract_for(operation: Operation) -> Contract | None:
    """Return what an operation says of its answers; None where it shows no rows."""
    if operation not in _contracts:
        _contracts[operation] = _contract(operation)
    return _contracts[operation]


@lru_cache(maxsize=1024)
def operations_of(view: Callable[..., Any]) -> Mapping[str, Operation]:
    """Return the operations of one of ninja's views, by the method."""
    if not inspect.isfunction(view) or not view.__module__.startswith("ninja."):
        return {}
    path_view = inspect.getclosurevars(view).nonlocals.get("self")
    operations = getattr(path_view, "operations", [])
    return {method: operation for operation in operations for method in operation.methods}


def asked_fields(request: HttpRequest) -> Fields | None:
    """Return the fields that a request asks for, None where it asks for all."""
    return vars(request).get(_FIELDS)


def ask_fields(request: HttpRequest, fields: Fields) -> None:
    """Take note of the fields that a request asks for."""
    vars(request)[_FIELDS] = fields


def _contract(operation: Operation) -> Contract | None:
    found: Any = operation.response_models.get(200)
    if not hasattr(found, "model_fields"):
        return None
    annotation: Any = found.model_fields["response"].annotation
    kind: Literal["page", "list", "one"] = "one"
    schema, reason = annotation, ""
    if isinstance(annotation, type) and issubclass(annotation, Envelope):
        kind, [schema] = "page", get_args(annotation.model_fields["items"].annotation)
        if not annotation.__mro__[1].__module__.startswith("perfkit."):
            reason = "its envelope is the project's own"
    elif get_origin(annotation) is list:
        kind, [schema] = "list", get_args(annotation)
    if not isinstance(schema, type) or not issubclass(schema, BaseModel):
        return None
    if operation.signature.response_arg:
        reason = "the view is given the response"
    elif operation.exclude_none or operation.exclude_unset or operation.exclude_defaults:
        reason = "it leaves fields out that are None, unset or defaults"
    return Contract(operation, kind, schema, reason)


def _writes_as_ninja(renderer: Any) -> bool:
    """Tell whether a renderer is ninja's own, as it is."""
    return type(renderer) is JSONRenderer and not renderer.json_dumps_params
