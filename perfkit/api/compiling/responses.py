"""Answers of operations: compiled where that is possible, and why where it is not."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from ninja.operation import Operation

from perfkit.api.compiling.answers import Shown, envelope_of, page_text
from perfkit.api.compiling.contracts import Contract, asked_fields, contract_of
from perfkit.api.compiling.fetching import Steps
from perfkit.api.compiling.nodes import NotCompiledError
from perfkit.errors import SchemaFieldError, SchemaPlanError
from perfkit.loading import from_schema
from perfkit.making import own_of_a_run
from perfkit.signals import answer_made

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


_verdicts: Final[ContextVar[list[Verdict] | None]] = own_of_a_run(
    ContextVar("perfkit_verdicts", default=None)
)
_told: Final[set[tuple[str, str]]] = set()


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
    request: HttpRequest, queryset: Any, make: Callable[[Shown], Steps[Any]]
) -> Steps[CompiledResponse | None]:
    """Return the answer of a paginated operation, None where it is made of instances.

    Args:
        make: Makes a page whose items are shown so.
    """
    contract = contract_of(request) if isinstance(queryset, QuerySet) else None
    if contract is None or contract.kind != "page":
        return None

    def made(shown: Shown) -> Steps[str | dict[str, Any]]:
        page = yield from make(shown)
        return page_text(page) if shown.dialect == "text" else envelope_of(page)

    return (yield from _answer(contract, request, queryset, made))


def plain_answer(request: HttpRequest, queryset: QuerySet[Any]) -> Steps[CompiledResponse | None]:
    """Return the answer of an operation that shows all rows of a queryset, or its only one; None as above.

    Raises:
        Http404: There is no row, where one is shown.
        MultipleObjectsReturned: There are several.
    """
    contract = contract_of(request)
    if contract is None or contract.kind == "page":
        return None

    def made(shown: Shown) -> Steps[Any]:
        if contract.kind == "one":
            return only((yield from shown.items(queryset[:2])), queryset)
        # Without an order the database shows them as it finds them, which depends on what is joined.
        items = yield from shown.items(queryset if queryset.ordered else queryset.order_by("pk"))
        return f"[{', '.join(items)}]" if shown.dialect == "text" else items

    return (yield from _answer(contract, request, queryset, made))


def only(rows: list[Any], queryset: QuerySet[Any]) -> Any:
    """Return the only one of the first two rows of a queryset.

    Raises:
        Http404: There is none.
        MultipleObjectsReturned: There are two.
    """
    name = queryset.model._meta.object_name
    if not rows:
        raise Http404(f"No {name} matches the given query.")
    if len(rows) > 1:
        raise queryset.model.MultipleObjectsReturned(f"More than one {name} matches the given query.")
    return rows[0]


def loaded(contract: Contract | None, queryset: QuerySet[Any]) -> QuerySet[Any]:
    """Return a queryset with what a schema reads of its rows, as far as a plan can tell."""
    return queryset if contract is None else loaded_for(contract.schema, queryset)


def loaded_for(schema: type, queryset: QuerySet[Any]) -> QuerySet[Any]:
    """Return the same, for a schema."""
    if vars(queryset)["_fields"] is not None or queryset.query.combinator:
        return queryset
    try:
        return from_schema(queryset, schema)
    except (SchemaPlanError, SchemaFieldError) as error:
        logger.debug("What %s reads is not loaded beforehand: %s", schema.__qualname__, error)
        return queryset


def _answer(
    contract: Contract, request: HttpRequest, queryset: QuerySet[Any], make: Callable[[Shown], Steps[Any]]
) -> Steps[CompiledResponse | None]:
    try:
        shown = contract.shown(queryset, asked_fields(request))
        content = yield from make(shown)
    except NotCompiledError as error:
        _tell(Verdict(contract.operation, str(error)))
        return None
    _tell(Verdict(contract.operation, "", len(shown.node.columns)))
    api = contract.api
    if not isinstance(content, str):
        content = api.renderer.render(request, content, response_status=200)
    return CompiledResponse(content, content_type=api.get_content_type())


def _tell(verdict: Verdict) -> None:
    found = _verdicts.get()
    if found is not None:
        found.append(verdict)
    if answer_made.receivers:
        path = str(verdict.operation.path)
        answer_made.send(None, route=path, reason=verdict.reason, columns=verdict.columns)
    key = verdict.operation.path, verdict.reason
    if verdict.reason and key not in _told:
        _told.add(key)
        logger.info("%s is answered by instances: %s.", *key)
