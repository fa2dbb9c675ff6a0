"""Where the work that this code does comes from: a request, a task or a command, by its id."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from django.http import HttpRequest

from perfkit.errors import UsageError
from perfkit.tracing.ids import LONGEST, new_request_id, valid_request_id


class Origin:
    """What a request, a task or a command is known by.

    Attributes:
        request_id: Its id.
        traceparent: Of whoever has sent it, as the W3C writes it; else empty.
        task: The name of the task or job; else empty.
        comment: What was made of it for SQL last: of which view, in which span, and what.
    """

    __slots__ = ("_request", "comment", "request_id", "task", "traceparent")

    def __init__(
        self, request_id: str, *, traceparent: str = "", task: str = "", request: HttpRequest | None = None
    ) -> None:
        self.request_id = request_id
        self.traceparent = traceparent
        self.task = task
        self.comment: tuple[Any, Any, str] = (None, None, "")
        # What a request has begun in the background must not keep it.
        self._request = None if request is None else weakref.ref(request)

    @property
    def match(self) -> Any:
        """What the request's address was resolved to; None before that, and where there is no request."""
        request = None if self._request is None else self._request()
        return None if request is None else request.resolver_match

    @property
    def view(self) -> str:
        """The name of the view, or of the task; empty where none is known."""
        match = self.match
        return self.task if match is None else match.view_name


current: Final[ContextVar[Origin | None]] = ContextVar("perfkit_origin", default=None)


def request_id() -> str:
    """Return the id of the request, task or command that this code is run for; empty where it has none."""
    origin = current.get()
    return "" if origin is None else origin.request_id


@contextmanager
def entered(origin: Origin | None) -> Iterator[None]:
    """Have the block be done for an origin, or for none."""
    token = current.set(origin)
    try:
        yield
    finally:
        current.reset(token)


@contextmanager
def use_request_id(request_id: str | None = None) -> Iterator[str]:
    """Have what is done in the block carry an id, as a request does: for commands and threads.

    Args:
        request_id: A new one where left out.

    Raises:
        UsageError: It is longer than 128 characters, or has others than letters, digits, `.`, `_` and `-`.

    Example:
        >>> with use_request_id("import-2024-05-01") as known_by:
        ...     known_by
        'import-2024-05-01'
    """
    known_by = new_request_id() if request_id is None else valid_request_id(request_id)
    if not known_by:
        raise UsageError(f"A request id is 1 to {LONGEST} letters, digits, dots, dashes and underscores.")
    with entered(Origin(known_by)):
        yield known_by
