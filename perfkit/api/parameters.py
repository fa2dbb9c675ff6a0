"""Refuses query parameters that a view does not know, and says which it does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from django.http import HttpRequest
from ninja.errors import ValidationError
from ninja.operation import Operation
from ninja.utils import contribute_operation_callback, is_async_callable

from perfkit.errors import nearest

View = TypeVar("View", bound=Callable[..., Any])


def strict_query(view: View) -> View:
    """Answer a request that has an unknown query parameter with a 422: the nearest name, and all that are allowed.

    A misspelt filter would else be ignored, and the answer be a list that nobody asked for.
    The allowed names are read off the operation, those that `@paginate` adds included,
    so this stands directly below the route and above `@paginate`.

    Example:
        @api.get("/flights", response=list[FlightOut])
        @strict_query
        @paginate(PagePagination)
        def flights(request, filters: Query[FlightFilters]): …
    """
    allowed: set[str] = set()

    if is_async_callable(view):

        @wraps(view)
        async def strict_view(request: HttpRequest, **values: Any) -> Any:
            refuse_unknown(request, allowed)
            return await view(request, **values)

    else:

        @wraps(view)
        def strict_view(request: HttpRequest, **values: Any) -> Any:
            refuse_unknown(request, allowed)
            return view(request, **values)

    # ninja would look for annotations written as text in this module, not in the view's.
    strict_view.__signature__ = inspect.signature(view, eval_str=True)  # type: ignore[attr-defined]
    contribute_operation_callback(strict_view, lambda operation: allowed.update(query_names(operation)))
    return cast("View", strict_view)


def query_names(operation: Operation) -> set[str]:
    """Return the names that the operation reads from the query string."""
    return {
        name
        for model in operation.models
        if model.__ninja_param_source__ == "query"
        for name in model.__ninja_flatten_map__
    }


def refuse_unknown(request: HttpRequest, allowed: set[str]) -> None:
    """Raise ninja's ValidationError, which becomes a 422, for each name that is not `allowed`."""
    unknown = [name for name in request.GET if name not in allowed]
    if unknown:
        names = sorted(allowed)
        listed = f"Allowed: {', '.join(names)}." if names else "There are none here."
        raise ValidationError(
            [
                {
                    "type": "unknown_parameter",
                    "loc": ("query", name),
                    "msg": f"Unknown query parameter.{_suggestion(name, names)} {listed}",
                    "ctx": {"allowed": names},
                }
                for name in unknown
            ]
        )


def _suggestion(wrong: str, names: Sequence[str]) -> str:
    hint = nearest(wrong, names)
    return hint if "Did you mean" in hint else ""
