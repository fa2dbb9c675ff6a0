"""One instance of a row in a request or a task: whoever asks for it again gets the same, without a query.

See Note [What the identity map promises] in `identity_scope`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import models, router
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from perfkit.loading.identity_scope import IdentityMap, current_map, identity_map
from perfkit.loading.many import key_of

M = TypeVar("M", bound=models.Model)
Handler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


def get_or_load(model: type[M], key: Any, *, using: str | None = None) -> M:
    """Return the row with this primary key, within a map the same instance each time.

    See Note [What the identity map promises].

    Args:
        model: Read by its default manager.
        key: The primary key, or what its field makes one of, such as the text of a number.
        using: The alias of the database; the router's choice where not given.

    Raises:
        DoesNotExist: The model's; no row has the key.
        UsageError: The key is none that the model's can be; before any query.

    Queries:
        One for each row in a map; outside of any, one each time.

    Example:
        with identity_map():
            assert get_or_load(Airline, "UA") is get_or_load(Airline, "UA")
    """
    alias = using or router.db_for_read(model)
    found = current_map()
    row = (found or IdentityMap()).get(alias, model, key_of(model, key))
    if row is None:
        raise model.DoesNotExist(f"No {model._meta.label} has this primary key.")  # type: ignore[attr-defined]  # missing in the stubs
    return row


async def aget_or_load(model: type[M], key: Any, *, using: str | None = None) -> M:
    """Return the row with this primary key; `get_or_load` for async code."""
    return await sync_to_async(get_or_load)(model, key, using=using)


@sync_and_async_middleware
def identity_mapped(get_response: Handler | AsyncHandler) -> Handler | AsyncHandler:
    """Let each request be a map, see `identity_map`."""
    if iscoroutinefunction(get_response):
        handle_async = cast("AsyncHandler", get_response)

        async def mapped_async(request: HttpRequest) -> HttpResponseBase:
            with identity_map():
                return await handle_async(request)

        return mapped_async
    handle = cast("Handler", get_response)

    def mapped(request: HttpRequest) -> HttpResponseBase:
        with identity_map():
            return handle(request)

    return mapped
