"""Rows, and pages of them, as a schema shows them, for code that is no operation of django-ninja."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.db.models import QuerySet
from ninja.responses import NinjaJSONEncoder
from pydantic import BaseModel

from perfkit.api.compiling.answers import page_text, shown_of
from perfkit.api.compiling.driving import afinished, finished
from perfkit.api.compiling.fetching import Steps
from perfkit.api.compiling.nodes import NotCompiledError
from perfkit.api.compiling.responses import loaded_for
from perfkit.api.compiling.writers import Dialect
from perfkit.api.keysets.pages import KeysetPage, keyset
from perfkit.api.pages import DEFAULT_PAGE_SIZE
from perfkit.signals import answer_made


def compiled_rows(
    queryset: QuerySet[Any], schema: type[BaseModel], *, by_alias: bool = False
) -> list[dict[str, Any]]:
    """Return the rows of a queryset as dicts, as django-ninja makes them by a schema.

    Without instances where the schema allows it; the dicts are the same.

    Args:
        queryset: Of instances; one without an order is read by primary key.
        by_alias: Whether the dicts have the aliases of the fields, where they have one.

    Queries:
        One, and one for each relation to many rows, at each level.

    Example:
        >>> compiled_rows(Airport.objects.filter(altitude__gt=5000), AirportOut)
    """
    return finished(_items(queryset, schema, "values", by_alias=by_alias), queryset)


async def acompiled_rows(
    queryset: QuerySet[Any], schema: type[BaseModel], *, by_alias: bool = False
) -> list[dict[str, Any]]:
    """Return the rows of a queryset as dicts; the async twin of `compiled_rows`.

    With `ASYNC_POOL_SIZE`, several that are gathered are read at the same time.

    Raises:
        PoolBusyError: No connection of the async pool was free in time.

    Example:
        airports, airlines = await asyncio.gather(
            acompiled_rows(Airport.objects.all(), AirportOut), acompiled_rows(Airline.objects.all(), AirlineOut)
        )
    """
    return await afinished(_items(queryset, schema, "values", by_alias=by_alias), queryset)


def compiled_json(queryset: QuerySet[Any], schema: type[BaseModel], *, by_alias: bool = False) -> bytes:
    """Return the rows of a queryset as the JSON list that django-ninja answers with; else as `compiled_rows`."""
    return _list_of(finished(_items(queryset, schema, "text", by_alias=by_alias), queryset))


async def acompiled_json(
    queryset: QuerySet[Any], schema: type[BaseModel], *, by_alias: bool = False
) -> bytes:
    """Return the rows of a queryset as a JSON list; the async twin of `compiled_json`."""
    return _list_of(await afinished(_items(queryset, schema, "text", by_alias=by_alias), queryset))


def compiled_keyset(
    queryset: QuerySet[Any],
    schema: type[BaseModel],
    cursor: str | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
    *,
    scope: str = "",
    by_alias: bool = False,
) -> bytes:
    """Return a page by cursor as the JSON that `KeysetPagination` answers with.

    Without instances where the schema allows it; the JSON is the same.

    Args:
        queryset: Of instances; not a slice.
        cursor: As a page before has given it; None for the first one.
        page_size: Rows on a page, 1 to 100.
        scope: As of `keyset`; that of an operation is its path, a question mark and its other parameters.
        by_alias: Whether the items have the aliases of the fields, where they have one.

    Raises:
        CursorError, KeysetOrderError, PageError: As `keyset`.

    Queries:
        As `keyset`, and one for each relation to many rows, at each level.

    Example:
        >>> flights = Flight.objects.order_by("-time_hour")
        >>> compiled_keyset(flights, FlightOut, request.GET.get("cursor"), scope=request.path)
    """
    return finished(_page(queryset, schema, cursor, page_size, scope=scope, by_alias=by_alias), queryset)


async def acompiled_keyset(
    queryset: QuerySet[Any],
    schema: type[BaseModel],
    cursor: str | None = None,
    page_size: int = DEFAULT_PAGE_SIZE,
    *,
    scope: str = "",
    by_alias: bool = False,
) -> bytes:
    """Return a page by cursor as JSON; the async twin of `compiled_keyset`.

    Raises:
        PoolBusyError: No connection of the async pool was free in time.
    """
    return await afinished(
        _page(queryset, schema, cursor, page_size, scope=scope, by_alias=by_alias), queryset
    )


def _items(
    queryset: QuerySet[Any], schema: type[BaseModel], dialect: Dialect, *, by_alias: bool
) -> Steps[list[Any]]:
    # Without an order the database shows them as it finds them, which depends on what is joined.
    rows = queryset if queryset.ordered else queryset.order_by("pk")
    try:
        shown = shown_of(rows, schema, dialect=dialect, by_alias=by_alias)
        items = yield from shown.items(rows)
    except NotCompiledError as error:
        _tell(schema, reason=str(error))
        return _of_instances(loaded_for(schema, rows), schema, dialect, by_alias=by_alias)
    _tell(schema, columns=len(shown.node.columns))
    return items


def _page(
    queryset: QuerySet[Any],
    schema: type[BaseModel],
    cursor: str | None,
    page_size: int,
    *,
    scope: str,
    by_alias: bool,
) -> Steps[bytes]:
    page: KeysetPage[Any]
    try:
        shown = shown_of(queryset, schema, dialect="text", by_alias=by_alias)
        page = yield from shown.keyset(queryset, cursor, page_size, scope=scope)
        _tell(schema, columns=len(shown.node.columns))
    except NotCompiledError as error:
        _tell(schema, reason=str(error))
        page = keyset(loaded_for(schema, queryset), cursor, page_size, scope=scope)
        page = replace(page, items=_of_instances(page.items, schema, "text", by_alias=by_alias))
    return page_text(page).encode()


def _of_instances(
    rows: Iterable[Any], schema: type[BaseModel], dialect: Dialect, *, by_alias: bool
) -> list[Any]:
    shown = [schema.model_validate(row, from_attributes=True) for row in rows]
    items = [each.model_dump(by_alias=by_alias) for each in shown]
    return items if dialect == "values" else [json.dumps(item, cls=NinjaJSONEncoder) for item in items]


def _tell(schema: type[BaseModel], *, reason: str = "", columns: int = 0) -> None:
    if answer_made.receivers:
        answer_made.send(None, route=schema.__qualname__, reason=reason, columns=columns)


def _list_of(items: list[str]) -> bytes:
    return f"[{', '.join(items)}]".encode()
