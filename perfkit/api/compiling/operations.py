"""Has the operations of django-ninja answer by what their schema is compiled to, and say why where they do not.

# Note [How an operation is found]
ninja tells a pagination the request and the queryset, but not which operation it serves, whose schema and renderer
say what the answer is. Django tells the request which view answers it, and of ninja's views the variable `self` is
where its operations are. Where something else stands between, as in ninja's TestClient, the answer is made of
instances, and is the same.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar, get_args
from weakref import WeakKeyDictionary

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch
from ninja import NinjaAPI, Schema
from ninja.operation import Operation
from ninja.renderers import JSONRenderer
from pydantic import model_validator

from perfkit.api.compiling.answers import Shown, shown_of
from perfkit.api.compiling.schemas import NotCompiledError
from perfkit.errors import SchemaFieldError, SchemaPlanError
from perfkit.loading import from_schema

M = TypeVar("M", bound=Model)

logger = logging.getLogger("perfkit.api")


class Verdict(NamedTuple):
    """How a request was answered.

    Attributes:
        reason: Why by instances; empty where it was compiled.
        columns: How many are read of each row.
    """

    operation: Operation
    reason: str
    columns: int = 0


class Envelope(Schema):
    """What the answer of a pagination says beside the items; those of the paginations here are subclasses."""

    @model_validator(mode="before")
    @classmethod
    def of_answer(cls, values: Any) -> Any:
        """Read an answer that stands already: of a view that says the status itself, ninja makes it once more."""
        given = getattr(values, "_obj", values)
        return given.told() if isinstance(given, CompiledResponse) else values


class CompiledResponse(HttpResponse):
    """An answer that stands already.

    ninja puts the items that a pagination has returned into the envelope once more; here they are in it.
    """

    def __getitem__(self, name: Any) -> Any:
        """Return a header, or no items."""
        return () if name == "items" else super().__getitem__(name)

    def __setitem__(self, name: Any, value: Any) -> None:
        if name != "items":
            super().__setitem__(name, value)

    def told(self) -> Any:
        """Return what it says."""
        return json.loads(self.content)


@dataclass(frozen=True, slots=True)
class Contract:
    """What an operation says of its answers.

    Attributes:
        schema: Of each item, or of the only one.
        reason: Why its answers are made of instances whatever the rows are; empty for none.
    """

    operation: Operation
    schema: type
    reason: str

    @property
    def api(self) -> NinjaAPI:
        """Where it is mounted."""
        return self.operation.api

    def shown(self, queryset: QuerySet[Any]) -> Shown:
        """Return how rows are shown.

        Raises:
            NotCompiledError: They are made of instances.
        """
        if self.reason:
            raise NotCompiledError(self.reason)
        dialect = "text" if writes_as_ninja(self.api.renderer) else "values"
        return shown_of(queryset, self.schema, dialect=dialect, by_alias=self.operation.by_alias)  # type: ignore[arg-type]

    def response(self, request: HttpRequest, content: str | dict[str, Any]) -> CompiledResponse:
        """Return the answer, from its JSON or from what the renderer makes it of."""
        api = self.api
        if not isinstance(content, str):
            content = api.renderer.render(request, content, response_status=200)
        return CompiledResponse(content, content_type=api.get_content_type())


_verdicts: Final[ContextVar[list[Verdict] | None]] = ContextVar("perfkit_verdicts", default=None)
_contracts: Final[WeakKeyDictionary[Operation, Contract | None]] = WeakKeyDictionary()
_told: Final[set[tuple[int, str]]] = set()


@contextmanager
def verdicts() -> Iterator[list[Verdict]]:
    """Collect how the requests of a block are answered."""
    found: list[Verdict] = []
    token = _verdicts.set(found)
    try:
        yield found
    finally:
        _verdicts.reset(token)


def paged_answer(
    request: HttpRequest, queryset: Any, make: Callable[[Shown], Any]
) -> CompiledResponse | None:
    """Return the answer of a paginated operation, None where it is made of instances.

    Args:
        make: Makes a page whose items are shown so.
    """
    contract = contract_of(request) if isinstance(queryset, QuerySet) else None
    if contract is None:
        return None
    try:
        shown = contract.shown(queryset)
        page = make(shown)
    except NotCompiledError as error:
        _tell(Verdict(contract.operation, str(error)))
        return None
    _tell(Verdict(contract.operation, "", len(shown.node.columns)))
    envelope = {field.name: getattr(page, field.name) for field in fields(page)}
    return contract.response(request, envelope if shown.dialect == "values" else _text(envelope))


def loaded(request: HttpRequest, queryset: Any) -> Any:
    """Return a queryset with what the operation's schema reads of its rows, as far as a plan can tell."""
    contract = contract_of(request) if isinstance(queryset, QuerySet) else None
    if contract is None or vars(queryset)["_fields"] is not None:
        return queryset
    try:
        return from_schema(queryset, contract.schema)
    except (SchemaPlanError, SchemaFieldError) as error:
        logger.debug("What %s reads is not loaded beforehand: %s", contract.operation.path, error)
        return queryset


def contract_of(request: HttpRequest) -> Contract | None:
    """Return what the operation that a request is for says of its answers; None where it cannot be found."""
    match = getattr(request, "resolver_match", None)
    if type(match) is not ResolverMatch:
        return None
    operation = _operations(match.func).get(request.method or "")
    if operation is None:
        return None
    if operation not in _contracts:
        _contracts[operation] = _contract(operation)
    return _contracts[operation]


def writes_as_ninja(renderer: Any) -> bool:
    """Tell whether a renderer is ninja's own, as it is."""
    return type(renderer) is JSONRenderer and not renderer.json_dumps_params


@lru_cache(maxsize=1024)
def _operations(view: Callable[..., Any]) -> Mapping[str, Operation]:
    """Return the operations of one of ninja's views, by the method."""
    if not inspect.isfunction(view) or not view.__module__.startswith("ninja."):
        return {}
    path_view = inspect.getclosurevars(view).nonlocals.get("self")
    operations = getattr(path_view, "operations", [])
    return {method: operation for operation in operations for method in operation.methods}


def _contract(operation: Operation) -> Contract | None:
    found = operation.response_models.get(200)
    if found is None or not hasattr(found, "model_fields"):
        return None
    annotation = found.model_fields["response"].annotation
    if not isinstance(annotation, type) or not issubclass(annotation, Envelope):
        return None
    [schema] = get_args(annotation.model_fields["items"].annotation)
    reason = ""
    if not annotation.__mro__[1].__module__.startswith("perfkit."):
        reason = "its envelope is the project's own"
    elif operation.signature.response_arg:
        reason = "the view is given the response"
    elif operation.exclude_none or operation.exclude_unset or operation.exclude_defaults:
        reason = "it leaves fields out that are None, unset or defaults"
    elif not isinstance(schema, type):
        reason = "its items may be of several schemas"
    return Contract(operation, schema, reason)


def _tell(verdict: Verdict) -> None:
    found = _verdicts.get()
    if found is not None:
        found.append(verdict)
    key = id(verdict.operation), verdict.reason
    if verdict.reason and key not in _told:
        _told.add(key)
        logger.info("%s is answered by instances: %s.", verdict.operation.path, verdict.reason)


def _text(envelope: dict[str, Any]) -> str:
    items = ", ".join(envelope.pop("items"))
    rest = json.dumps(envelope)
    return f'{{"items": [{items}], {rest[1:]}'
