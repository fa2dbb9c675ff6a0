"""Has a view that returns a queryset answer by what its schema is compiled to."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja.operation import Operation
from ninja.utils import contribute_operation_callback, is_async_callable

from perfkit.api.compiling.contracts import contract_for, contract_of
from perfkit.api.compiling.driving import afinished, finished
from perfkit.api.compiling.fetching import Steps
from perfkit.api.compiling.responses import loaded, only, plain_answer

View = TypeVar("View", bound=Callable[..., Any])


def compiled(view: View) -> View:
    """Answer with the rows of the queryset that a view returns: all of them, or the only one.

    Which of the two, the operation's `response` says: `list[FlightOut]`, or `FlightOut`. Where there is no row to
    show, the answer is a 404. Without instances where the schema allows it (`manage.py perfkit_routes` says why
    not); the answer is the same. What else the view returns is left to ninja.

    For lists without pages; `PagePagination` and `KeysetPagination` do this by themselves.

    Queries:
        One, and one for each relation to many rows, at each level.

    Example:
        @api.get("/flights/{flight_id}", response=FlightOut)
        @compiled
        def flight(request, flight_id: int): return Flight.objects.filter(pk=flight_id)
    """
    operations: list[Operation] = []

    def answer(request: HttpRequest, result: Any) -> Steps[Any]:
        if not isinstance(result, QuerySet):
            return result
        made = yield from plain_answer(request, result)
        if made is not None:
            return made
        contract = contract_of(request) or contract_for(operations[0])
        rows = loaded(contract, result)
        if contract is not None and contract.kind == "one":
            return only(list(rows[:2]), result)
        return list(rows)

    if is_async_callable(view):

        @wraps(view)
        async def compiled_view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            result = await view(request, *args, **kwargs)
            return await afinished(answer(request, result), result)

    else:

        @wraps(view)
        def compiled_view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            result = view(request, *args, **kwargs)
            return finished(answer(request, result), result)

    # ninja would look for annotations written as text in this module, not in the view's.
    compiled_view.__signature__ = inspect.signature(view, eval_str=True)  # type: ignore[attr-defined]
    contribute_operation_callback(compiled_view, operations.append)
    return cast("View", compiled_view)
