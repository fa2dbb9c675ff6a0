"""Partial responses: `?fields=` names the fields of the schema that the answer has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, wraps
from typing import Any, Final, TypeVar, cast, get_args

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Schema, Status
from ninja.errors import ValidationError
from ninja.operation import Operation, ResponseObject
from ninja.utils import contribute_operation_args, contribute_operation_callback, is_async_callable
from pydantic import BaseModel

from perfkit.api.compiling.contracts import Contract, Fields, ask_fields, contract_for, contract_of

View = TypeVar("View", bound=Callable[..., Any])
Tree = Mapping[str, "Tree"]

ARGUMENT: Final = "perfkit_partial"
MOST_FIELDS: Final = 200
LONGEST_TEXT: Final = 4_000


class FieldsIn(Schema):
    """What a request may say."""

    fields: str | None = Field(
        None,
        max_length=LONGEST_TEXT,
        description="Fields to answer with, separated by commas; of what is nested `airline.name`, or all of it: "
        "`airline`. Left out, all.",
    )


def partial_response(view: View) -> View:
    """Let a request name the fields that it wants: `?fields=id,airline.name`.

    They are limited to those of the operation's schema; any other is a 422 that lists what is allowed.
    Of a page it is the items that are cut. Where the answer is compiled, only the columns of these are read.
    It stands directly below the route and `strict_query`, above `@paginate` and `@compiled`.

    Example:
        @api.get("/flights", response=list[FlightOut])
        @strict_query
        @partial_response
        @paginate(KeysetPagination)
        def flights(request): return Flight.objects.order_by("-time_hour")
    """
    operations: list[Operation] = []

    def note(request: HttpRequest, values: dict[str, Any]) -> Fields | None:
        asked = values.pop(ARGUMENT).fields
        if asked is None:
            return None
        fields = _checked(asked, allowed_fields(_contract(request, operations)))
        ask_fields(request, fields)
        return fields

    def cut(request: HttpRequest, fields: Fields | None, result: Any) -> Any:
        if fields is None or isinstance(result, HttpResponse):
            return result
        if isinstance(result, Status):
            if result.status_code != 200:  # noqa: PLR2004  # another schema
                return result
            result = result.value
        return _cut(request, _contract(request, operations), fields, result)

    if is_async_callable(view):

        @wraps(view)
        async def partial_view(request: HttpRequest, **values: Any) -> Any:
            fields = note(request, values)
            return cut(request, fields, await view(request, **values))

    else:

        @wraps(view)
        def partial_view(request: HttpRequest, **values: Any) -> Any:
            fields = note(request, values)
            return cut(request, fields, view(request, **values))

    # ninja would look for annotations written as text in this module, not in the view's.
    partial_view.__signature__ = inspect.signature(view, eval_str=True)  # type: ignore[attr-defined]
    contribute_operation_args(partial_view, ARGUMENT, FieldsIn, Query(...))  # type: ignore[type-arg]  # called, as ninja has it
    contribute_operation_callback(partial_view, operations.append)
    return cast("View", partial_view)


@lru_cache(maxsize=512)
def allowed_fields(contract: Contract) -> Tree:
    """Return the names that a request may ask for, with those that are nested in each."""
    return _tree(contract.schema, by_alias=contract.operation.by_alias, above=())


def _tree(schema: type[BaseModel], *, by_alias: bool, above: tuple[type, ...]) -> Tree:
    tree: dict[str, Tree] = {}
    for name, info in {**schema.model_fields, **schema.model_computed_fields}.items():
        if getattr(info, "exclude", None):
            continue
        alias = getattr(info, "serialization_alias", None) or getattr(info, "alias", None)
        annotation = getattr(info, "annotation", None)
        nested = [each for each in _schemas(annotation) if each not in (*above, schema)]
        below = _tree(nested[0], by_alias=by_alias, above=(*above, schema)) if len(nested) == 1 else {}
        tree[alias if by_alias and alias else name] = below
    return tree


def _schemas(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _schemas(argument)


def _contract(request: HttpRequest, operations: list[Operation]) -> Contract:
    contract = contract_of(request) or contract_for(operations[0])
    if contract is None:
        raise TypeError(f"{operations[0].path} has no response schema of which a part could be shown.")
    return contract


def _checked(asked: str, allowed: Tree) -> Fields:
    """Return the paths that a request names.

    Raises:
        ValidationError: One is not in the schema, or there is none, or too many.
    """
    fields = tuple(dict.fromkeys(tuple(each.strip().split(".")) for each in asked.split(",")))
    problem = ""
    if len(fields) > MOST_FIELDS:
        problem = f"More than {MOST_FIELDS} fields are asked for."
    for path in fields:
        tree = allowed
        for name in path:
            if name not in tree:
                of = f" of {'.'.join(path[: path.index(name)])}" if path.index(name) else ""
                known = f"Allowed{of}: {', '.join(tree)}." if tree else f"Nothing is nested there{of}."
                problem = problem or f"Unknown field {name!r}. {known}"
                break
            tree = tree[name]
    if problem:
        raise ValidationError([{"type": "unknown_field", "loc": ("query", "fields"), "msg": problem}])
    return fields


def _cut(request: HttpRequest, contract: Contract, fields: Fields, result: Any) -> HttpResponse:
    """Return the answer that ninja makes of a result, with these fields only."""
    operation = contract.operation
    context = {"request": request, "response_status": 200}
    made = operation.response_models[200].model_validate(ResponseObject(result), context=context)
    data = made.model_dump(
        by_alias=operation.by_alias,
        exclude_unset=operation.exclude_unset,
        exclude_defaults=operation.exclude_defaults,
        exclude_none=operation.exclude_none,
        context=context,
    )["response"]
    if contract.kind == "page":
        data["items"] = kept(data["items"], fields)
    else:
        data = kept(data, fields)
    return operation.api.create_response(request, data, status=200)


def kept(data: Any, fields: Fields) -> Any:
    """Return what is asked for of nested dicts and lists.

    Example:
        >>> kept([{"id": 1, "airline": {"code": "UA", "name": "United"}}], (("airline", "code"),))
        [{'airline': {'code': 'UA'}}]
    """
    if isinstance(data, list):
        return [kept(each, fields) for each in data]
    if not isinstance(data, dict) or () in fields:
        return data
    below: dict[str, list[tuple[str, ...]]] = {}
    for head, *rest in fields:
        below.setdefault(head, []).append(tuple(rest))
    return {name: kept(value, tuple(below[name])) for name, value in data.items() if name in below}
