"""Handlers of django-bolt that answer with finished JSON; it needs django-bolt, which is no part of any extra.

# Note [What stands around a handler]
Around a view Django sends `request_started` and `request_finished`. With these it closes connections that are
broken or too old, and perfkit's cache begins and ends what it knows for one request. Under ASGI each request
also has a thread of its own, where all of its code runs that is not async.
django-bolt sends no such signals unless it is told to. Its 0.3 keeps a broken connection, and what reads by
it fails until the server is restarted; a sync handler in whose source it sees no query runs on the event
loop, where Django refuses to read. So to django-bolt each handler here is async, and does around itself what
Django does.
"""

from __future__ import annotations

import inspect
import json
import logging
import math
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final

from asgiref.sync import ThreadSensitiveContext, iscoroutinefunction, sync_to_async
from django.core.signals import request_finished, request_started
from django.db import OperationalError, connections
from django_bolt.responses import Response

from perfkit.api.handlers import problems_of
from perfkit.conf import options
from perfkit.errors import RequestError, UnavailableError
from perfkit.postgres.middleware import retry_after
from perfkit.postgres.outages import UNAVAILABLE, is_outage

logger = logging.getLogger("perfkit.api")

MEDIA_TYPE: Final = "application/json; charset=utf-8"
"""As ninja has it. Bytes that are plain `application/json` are encoded once more by django-bolt 0.3."""


def json_handler(handler: Callable[..., Any]) -> Callable[..., Awaitable[Response]]:
    """Let a handler of django-bolt answer with the JSON that it returns as bytes; it may be sync or async.

    See Note [What stands around a handler]. `RequestError` becomes a 422, and a database or a service that cannot
    be reached a 503 with `Retry-After`, as `perfkit.api.add_error_handlers` has them. What else it raises is left
    to django-bolt.

    Example:
        @api.get("/flights")
        @json_handler
        def flights(cursor: str | None = None):
            return compiled_keyset(Flight.objects.order_by("-time_hour"), FlightOut, cursor, scope="flights")
    """
    run = handler if iscoroutinefunction(handler) else sync_to_async(handler)

    @wraps(handler)
    async def answered(*args: Any, **kwargs: Any) -> Response:
        async with ThreadSensitiveContext():
            await sync_to_async(request_started.send)(sender=json_handler)
            try:
                return _response(await run(*args, **kwargs))
            except RequestError as error:
                return _response(_written(problems_of(error)), status=422)
            except UnavailableError as error:
                return _unavailable(handler, error, str(math.ceil(options.CACHE_RETRY_AFTER)))
            except OperationalError as error:
                if not is_outage(error):
                    raise
                return _unavailable(handler, error, retry_after())
            finally:
                await sync_to_async(_end)()

    # django-bolt reads the parameters of the handler. It must not find its source, for it would warn of queries on
    # the event loop, nor what it returns, for it would check the bytes by that.
    answered.__signature__ = inspect.signature(handler)  # type: ignore[attr-defined]
    del answered.__wrapped__
    answered.__annotations__ = {
        name: kind for name, kind in handler.__annotations__.items() if name != "return"
    }
    return answered


def _end() -> None:
    """Tell that the request is over, and close its connections: nobody gets to them after its thread."""
    request_finished.send(sender=json_handler)
    connections.close_all()


def _response(content: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(content, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def _unavailable(handler: Callable[..., Any], error: Exception, retry: str) -> Response:
    logger.error("%s was answered with a 503: %s", handler.__qualname__, error)
    return _response(_written(UNAVAILABLE), status=503, headers={"Retry-After": retry})


def _written(detail: Any) -> bytes:
    return json.dumps({"detail": detail}).encode()
