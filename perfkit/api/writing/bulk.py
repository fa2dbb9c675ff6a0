"""Many rows in one request: how large it may be, and what is wrong with which row."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

from django.conf import settings
from django.db import connections, models, router, transaction
from django.http import HttpRequest, HttpResponse
from ninja.decorators import decorate_view
from ninja.errors import ValidationError
from ninja.operation import Operation
from ninja.utils import contribute_operation_callback

from perfkit.api.writing.references import Row, Wrong, key_name, missing_references
from perfkit.bulk import InsertResult, bulk_insert
from perfkit.errors import UsageError

View = TypeVar("View", bound=Callable[..., Any])

DEFERRED_SQL = """
    SELECT string_agg(format('%%I.%%I', nspname, conname), ', ')
      FROM pg_constraint JOIN pg_namespace ON pg_namespace.oid = connamespace
     WHERE conrelid = %s::regclass AND contype = 'f' AND condeferred
"""
"""The names of a table's foreign keys that are checked at COMMIT."""


def bulk_body(*, max_bytes: int) -> Callable[[View], View]:
    """Take a list of rows as the body of a view of django-ninja: no larger than so many bytes.

    It stands directly below the route. A larger body is a 413 before it is parsed,
    one that does not say its length a 411; how many rows there may be, the parameter's annotation says.
    What ninja refuses in row 3 has the `loc` `["body", 3, …]`, without the parameter's name,
    as has what `bulk_create` refuses.

    Args:
        max_bytes: Longest body; Django's `DATA_UPLOAD_MAX_MEMORY_SIZE` holds too.

    Raises:
        UsageError: The view has not exactly one parameter that is read from the body.

    Example:
        @api.post("/flights/bulk", response={201: Created})
        @bulk_body(max_bytes=1_000_000)
        def create(request, flights: Annotated[list[FlightIn], Body(max_length=1000)]):
            return 201, {"created": bulk_create(Flight, flights).rows}
    """

    def limited(run: Callable[..., Any]) -> Callable[..., Any]:
        operation: Operation | None = getattr(inspect.unwrap(run), "__self__", None)
        if operation is None:
            raise UsageError(
                "A decorator of this view hides its operation from @bulk_body: have it use functools.wraps."
            )

        def refused(request: HttpRequest) -> HttpResponse | None:
            problem = _problem_with_length(request, max_bytes)
            if problem is None:
                return None
            status, text = problem
            return operation.api.create_response(request, {"detail": text}, status=status)

        @wraps(run)
        def limited_run(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return refused(request) or run(request, *args, **kwargs)

        @wraps(run)
        async def limited_arun(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return refused(request) or await run(request, *args, **kwargs)

        return limited_arun if operation.is_async else limited_run

    def decorate(view: View) -> View:
        contribute_operation_callback(view, _name_rows_by_place)
        return decorate_view(limited)(view)

    return decorate


def bulk_create(
    model: type[models.Model],
    rows: Sequence[Row],
    *,
    loc: tuple[str | int, ...] = ("body",),
    return_ids: bool = False,
    using: str | None = None,
) -> InsertResult:
    """Insert the rows of a request, all of them or none, by `bulk_insert`; what is wrong with each becomes a 422.

    Foreign keys are looked up first, one query for each relation, so that every row that refers to nothing is
    told; what the database refuses is told for every row as well, and nothing is written then.
    The detail is as ninja's own: `{"type": …, "loc": ["body", 3, "flight_id"], "msg": …}`, the row counted from 0.

    Args:
        rows: Instances of ninja's schemas or of pydantic, or dicts by field name, such as
            `{**row.model_dump(), "author": request.user}`; one request's, so all are in memory.
        loc: Where the list is in the request.
        return_ids: Whether the result holds the primary keys.
        using: The alias of the database; the router's choice where not given.

    Raises:
        ValidationError: ninja's: some rows cannot be written; nothing was.

    Queries:
        One for each foreign key of the model, and those of `bulk_insert`.
        PostgreSQL checks the foreign keys with the rows, not at COMMIT, for three statements more.
    """
    alias = using or router.db_for_write(model)
    with transaction.atomic(using=alias):
        found = missing_references(model, rows, using=alias)
        if not found:
            with _references_checked_at_once(model, alias):
                result = bulk_insert(model, rows, return_ids=return_ids, on_error="report", using=alias)
            if not result.skipped:
                return result
            found = [
                Wrong(skipped.row_number, skipped.field, "row_refused", skipped.reason)
                for skipped in result.skipped
            ]
        # Out of the transaction, which takes back what was written of the others.
        raise ValidationError(
            [
                {
                    "type": kind,
                    "loc": [*loc, number, *([key_name(rows[number], model, field)] if field else [])],
                    "msg": text,
                }
                for number, field, kind, text in found
            ]
        )


@contextmanager
def _references_checked_at_once(model: type[models.Model], using: str) -> Iterator[None]:
    """Have PostgreSQL check the foreign keys of a table with each statement, while it is known which row is wrong.

    Those that are declared to wait for COMMIT, as Django's are, wait again after it;
    after an error the savepoint's end sees to that.
    """
    connection = connections[using]
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute(DEFERRED_SQL, [connection.ops.quote_name(model._meta.db_table)])
        (names,) = cursor.fetchone()
        if names:
            cursor.execute(f"SET CONSTRAINTS {names} IMMEDIATE")
    yield
    if names:
        with connection.cursor() as cursor:
            cursor.execute(f"SET CONSTRAINTS {names} DEFERRED")


def _problem_with_length(request: HttpRequest, max_bytes: int) -> tuple[int, str] | None:
    """Return the status and text for a body that is not to be read."""
    most = min(max_bytes, settings.DATA_UPLOAD_MAX_MEMORY_SIZE or max_bytes)
    length = request.META.get("CONTENT_LENGTH")
    if not length and request.META.get("HTTP_TRANSFER_ENCODING"):
        return 411, "The body must say its length."
    if length and length.isdecimal() and int(length) > most:
        return 413, f"The body is larger than {most} bytes."
    return None


class _WithoutParameter(dict[Any, Any]):
    """Where ninja looks up how an error's place is told: without the name of the one parameter."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def get(self, place: Any, default: Any = None) -> Any:
        """Return the place within the list."""
        return place[1:] if place[:1] == (self.name,) else default


def _name_rows_by_place(operation: Operation) -> None:
    bodies = [model for model in operation.models if model.__ninja_param_source__ == "body"]
    name = getattr(bodies[0], "__read_from_single_attr__", None) if len(bodies) == 1 else None
    if name is None:
        raise UsageError(
            f"{operation.view_func.__qualname__} is under @bulk_body: one parameter alone is read from the body."
        )
    body = cast("Any", bodies[0])
    body.__ninja_flatten_map_reverse__ = _WithoutParameter(name)
