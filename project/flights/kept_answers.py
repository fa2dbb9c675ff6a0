"""How long the demo keeps what it answers; none of it outlives a write to what it was made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from ninja.decorators import decorate_view

from perfkit.caching import cache_response

LIST_SECONDS: Final = 60
DETAIL_SECONDS: Final = 5 * 60
STATISTICS_SECONDS: Final = 2 * 60

View = TypeVar("View", bound=Callable[..., Any])


def kept(seconds: int) -> Callable[[View], View]:
    """Keep the answers of an operation for everybody; a kept one does not count against the limit of requests."""
    # The address of the client is what the throttle looks at, and changes no answer.
    ignores = ["REMOTE_ADDR", "X-Forwarded-For"]
    return decorate_view(cache_response(ttl=seconds, ignores=ignores))
