"""A request with an idempotency key has its effect once, however often it is sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar, cast, overload

from django.db import DEFAULT_DB_ALIAS, IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja.decorators import decorate_view
from ninja.operation import Operation
from ninja.utils import contribute_operation_callback, is_async_callable

from perfkit.api.writing.answers import KeptAnswers, again
from perfkit.api.writing.requests import (
    HEADER,
    LONGEST_KEY,
    default_scope,
    idempotency_key,
    request_digest,
    scope_digest,
)
from perfkit.errors import UsageError

View = TypeVar("View", bound=Callable[..., Any])

RETRY_AFTER_SECONDS: Final = 1
OPERATION: Final = "_perfkit_operation"
"""The request's attribute that holds the operation which answers it."""

FIRST_SERVER_ERROR: Final = 500


class _RolledBackError(Exception):
    """Carries an answer out of a transaction that is not to be committed."""

    def __init__(self, response: HttpResponseBase) -> None:
        super().__init__(response)
        self.response = response


@overload
def idempotent(view: View) -> View: ...
@overload
def idempotent(
    *,
    required: bool = False,
    using: str = DEFAULT_DB_ALIAS,
    scope: Callable[[HttpRequest], str] = default_scope,
) -> Callable[[View], View]: ...
def idempotent(
    view: View | None = None,
    *,
    required: bool = False,
    using: str = DEFAULT_DB_ALIAS,
    scope: Callable[[HttpRequest], str] = default_scope,
) -> View | Callable[[View], View]:
    """Run a view of django-ninja once for each `Idempotency-Key`, and give the same answer again after that.

    It stands directly below the route. A request without the header is answered as before.

    The view runs in a transaction, and its answer is kept in the same one. So with a key the view's writes to the
    database `using` happen once, whatever crashes, and whoever sends the same request how often and where;
    what the view does elsewhere, such as a call of another service, may happen again after a crash.
    See Note [Why a request runs once].

    The same request under the same key gets the kept answer, with `Idempotent-Replayed: true`.
    Another address or body under it is a 422.
    While the first request runs, others under its key get a 409 with `Retry-After`; on SQLite they wait for it.
    A key that is none is a 400, and so is a request without one where it is `required`.

    An exception that the view raises, ninja's HttpError too, and an answer from 500 on roll back what it has
    written, and are not kept: the same request runs again. So is one that ninja refuses before the view.
    Any other answer is kept for `PERFKIT["IDEMPOTENCY_TTL"]` seconds, with its headers and without its cookies;
    `manage.py clear_idempotency_keys` removes what is older.

    Args:
        required: Whether a request without a key is refused.
        using: The database that the view writes.
        scope: Returns who sends a request; keys of different callers do not meet. By default it is what ninja's
            authentication has found, and all who need none are one caller: give them random keys, such as UUIDs.

    Raises:
        UsageError: The view is a coroutine, which cannot hold a transaction; or it streams its answer.
            With a request: what its authentication returns does not tell who it is, and no `scope` was given.

    Queries:
        A transaction, a lock, a look and, after the view, an INSERT; without a key none.

    Source:
        IETF draft "The Idempotency-Key HTTP Header Field"; Stripe, "Idempotent requests".

    Example:
        @api.post("/reports", response={201: ReportOut})
        @idempotent
        def report(request, report: ReportIn): …
    """

    def decorate(view: View) -> View:
        if is_async_callable(view):
            raise UsageError(
                f"{view.__qualname__} is a coroutine, so @idempotent cannot keep its answer in the transaction of "
                "its writes: make it a plain function."
            )

        @wraps(view)
        def once(request: HttpRequest, **values: Any) -> Any:
            operation: Operation = getattr(request, OPERATION)
            try:
                key = idempotency_key(request)
            except ValueError as error:
                return _refused(operation, request, 400, "invalid", str(error))
            if key is None:
                if required:
                    return _refused(operation, request, 400, "missing", f"{HEADER} is missing.")
                return view(request, **values)
            answers = KeptAnswers(using=using, scope=scope_digest(scope(request), request), key=key)
            try:
                with transaction.atomic(using=using):
                    return _answer(operation, request, answers, lambda: view(request, **values), values)
            except _RolledBackError as rolled_back:
                return rolled_back.response

        # ninja would look for annotations written as text in this module, not in the view's.
        once.__signature__ = inspect.signature(view, eval_str=True)  # type: ignore[attr-defined]
        contribute_operation_callback(once, lambda operation: _describe(operation, required=required))
        return cast("View", decorate_view(_noting_operation)(once))

    return decorate if view is None else decorate(view)


def _answer(
    operation: Operation,
    request: HttpRequest,
    answers: KeptAnswers,
    run: Callable[[], Any],
    values: dict[str, Any],
) -> HttpResponseBase:
    """Return the kept answer, or run the view and keep its own; within a transaction."""
    digest = request_digest(request)
    if not answers.hold():
        return _still_running(operation, request)
    kept = answers.find()
    if kept is not None:
        if kept.request_digest == digest:
            return again(kept)
        return _refused(operation, request, 422, "reused", f"This {HEADER} was used for another request.")
    response = _made(operation, request, run(), values)
    if response.status_code >= FIRST_SERVER_ERROR:
        raise _RolledBackError(response)
    if not isinstance(response, HttpResponse):
        raise UsageError(f"{operation.view_func.__qualname__} streams its answer, which cannot be kept.")
    try:
        answers.keep(response, request_digest=digest)
    except IntegrityError as error:
        raise _RolledBackError(_still_running(operation, request)) from error
    return response


def _made(
    operation: Operation, request: HttpRequest, result: Any, values: dict[str, Any]
) -> HttpResponseBase:
    """Return what ninja makes of the view's result; it has no public way to ask for that."""
    argument = operation.signature.response_arg
    begun = values[argument] if argument else operation.api.create_temporal_response(request)
    return operation._result_to_response(request, result, begun)  # noqa: SLF001


def _noting_operation(run: Callable[..., Any]) -> Callable[..., Any]:
    """Note on the request which operation answers it: a mounted router has others than it was made with."""
    operation = getattr(inspect.unwrap(run), "__self__", None)
    if operation is None:
        raise UsageError(
            "A decorator of this view hides its operation from @idempotent: have it use functools.wraps."
        )

    @wraps(run)
    def noted(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        setattr(request, OPERATION, operation)
        return run(request, *args, **kwargs)

    return noted


def _still_running(operation: Operation, request: HttpRequest) -> HttpResponse:
    text = f"A request with this {HEADER} is still running."
    response = operation.api.create_response(request, {"detail": text}, status=409)
    response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _refused(
    operation: Operation, request: HttpRequest, status: int, problem: str, text: str
) -> HttpResponse:
    detail = [{"type": f"idempotency_key_{problem}", "loc": ["header", HEADER], "msg": text}]
    return operation.api.create_response(request, {"detail": detail}, status=status)


def _describe(operation: Operation, *, required: bool) -> None:
    """Say in the OpenAPI schema which header is read."""
    extra = operation.openapi_extra = dict(operation.openapi_extra or {})
    parameter = {
        "name": HEADER,
        "in": "header",
        "required": required,
        "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
        "description": "A value of your own, such as a UUID: the request has its effect once under it.",
    }
    extra["parameters"] = [*extra.get("parameters", []), parameter]
    told = {400: f"{HEADER} is no key.", 409: f"A request with this {HEADER} is still running."}
    responses = {status: {"description": text} for status, text in told.items()}
    declared = {*operation.response_models, *extra.get("responses", {})}
    extra["responses"] = {
        **extra.get("responses", {}),
        **{status: text for status, text in responses.items() if status not in declared},
    }
