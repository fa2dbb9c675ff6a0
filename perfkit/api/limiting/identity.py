"""Who sends a request, as far as a limit is concerned."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, get_args
from uuid import UUID

from django.db.models import Model
from django.http import HttpRequest

from perfkit.api.limiting.addresses import client_address
from perfkit.errors import UsageError

logger = logging.getLogger("perfkit.api")

Kind = Literal["user", "key", "address", "everyone"]
By = Kind | Callable[[HttpRequest], object]
"""What clients are told apart by; a function returns a name, or None for a request that is not limited."""

KINDS: Final = get_args(Kind)
_unnamed: Final[set[str]] = set()


def checked(by: By) -> By:
    """Return `by`.

    Raises:
        UsageError: It is no such thing.
    """
    if by not in KINDS and not callable(by):
        raise UsageError(f"A limit is by {', '.join(map(repr, KINDS))} or a function, not {by!r}.")
    return by


def client_of(request: HttpRequest, by: By) -> str | None:
    """Return who sends the request, None where it is not limited.

    Queries: none, but for `"user"` where the view has authenticated nobody: then those of `request.user`.
    """
    if callable(by):
        return _named(by(request))
    known = _known_without_query(request, by)
    if known is not None:
        return known
    return _logged_in(getattr(request, "user", None)) or _by_address(request)


async def aclient_of(request: HttpRequest, by: By) -> str | None:
    """Return what `client_of` does, from async code."""
    if callable(by):
        return _named(by(request))
    known = _known_without_query(request, by)
    if known is not None:
        return known
    load = getattr(request, "auser", None)
    return (_logged_in(await load()) if load is not None else None) or _by_address(request)


def _known_without_query(request: HttpRequest, by: Kind) -> str | None:
    """Return who it is, None where the session has to be asked."""
    if by == "everyone":
        return "everyone"
    if by == "address":
        return _by_address(request)
    found = _authenticated(getattr(request, "auth", None))
    if found is None and by == "key":
        return _by_address(request)
    return found


def _by_address(request: HttpRequest) -> str:
    return f"address {client_address(request)}"


def _logged_in(user: Any) -> str | None:
    return _authenticated(user) if getattr(user, "is_authenticated", False) is True else None


def _authenticated(auth: Any) -> str | None:
    name = authenticated_name(auth)
    if name is None and not is_nobody(auth) and not isinstance(auth, bool):
        kind = f"{type(auth).__module__}.{type(auth).__qualname__}"
        if kind not in _unnamed:
            _unnamed.add(kind)
            logger.warning("Clients authenticated as %s are limited by address: it has no __str__.", kind)
    return name


def is_nobody(auth: Any) -> bool:
    """Say whether what a view's authentication has returned means that nobody has logged in."""
    return auth is None or getattr(auth, "is_authenticated", True) is False


def authenticated_name(auth: Any) -> str | None:
    """Return the name of what a view's authentication has returned, None where it names nobody.

    The same client must have the same name in each request and each process, and two never the same.
    """
    if is_nobody(auth) or isinstance(auth, bool):
        return None
    if isinstance(auth, Model):
        return f"{auth._meta.label_lower} {auth.pk}"
    if isinstance(auth, str | bytes | int | UUID):
        return f"{type(auth).__name__} {auth!s}"
    if isinstance(auth, Mapping) and "sub" in auth:  # the claims of a token; others change with each of them
        return f"sub {auth['sub']}"
    if any({"__str__", "__repr__"} & vars(kind).keys() for kind in type(auth).__mro__[:-1]):
        return f"{type(auth).__qualname__} {auth}"
    return None


def _named(found: object) -> str | None:
    return None if found is None else f"named {found}"
