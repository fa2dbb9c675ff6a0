"""Tokens of programs that write to the API: how they are made, and who sends one."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

from django.contrib.auth.models import User
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from ninja.errors import AuthenticationError
from ninja.security import HttpBearer

from project.flights.models import ApiToken

PREFIX = "flights_"
"""Lets a scanner of repositories know one that was published."""


def make_token(user: User, name: str, *, expires_at: datetime | None = None) -> str:
    """Make a token for `user` and return it; nobody can read it again."""
    token = PREFIX + secrets.token_urlsafe(32)
    ApiToken.objects.create(user=user, name=name, digest=digest_of(token), expires_at=expires_at)
    return token


def digest_of(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class TokenAuth(HttpBearer):
    """`Authorization: Bearer …` with a token that is kept, not expired, and whose user may log in."""

    def authenticate(self, request: HttpRequest, token: str) -> User:
        """Return the token's user, who is the request's from now on.

        Raises:
            AuthenticationError: No user has this token. A session is not asked for then, nor its CSRF token.

        Queries: 1.
        """
        current = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        found = ApiToken.objects.filter(current, digest=digest_of(token), user__is_active=True)
        kept = found.select_related("user").first()
        if kept is None:
            raise AuthenticationError
        request.user = kept.user
        return kept.user
