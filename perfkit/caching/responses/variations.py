"""What tells the pages of one address apart: headers, cookies, who asks. Pure.

A variation is a text: `header:accept-language`, `cookie:theme`, `meta:REMOTE_ADDR`, `user` (who is logged in),
`visitor` (whether anybody is).
Some are declared, others are learnt from what a response says it varies on, and from what its view looked at.

# Note [A learnt variation cannot be wrong]
A page is kept under a key that holds the values of all its variations, and the names of these.
A reader who knows fewer of them has another key, and finds a signpost there, or nothing;
one who knows more has another key too. So it does not matter when somebody learns of one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from perfkit.caching.responses.fields import names

USER: Final = "user"
VISITOR: Final = "visitor"
ALL_COOKIES: Final = "header:cookie"
AUTHORIZATION: Final = "header:authorization"
DIGEST_CHARACTERS: Final = 16

Variations = frozenset[str]

_CREDENTIAL: Final = re.compile(
    r"auth|token|secret|session|credential|password|signature|api-?key|^remote-user$|^ssl-client",
    re.IGNORECASE,
)


def declared(vary_on: Iterable[str]) -> Variations:
    """Return the variations that a project names: header fields, `cookie:name`, `user`."""
    return frozenset(
        [text if text == USER or text.startswith("cookie:") else header(text) for text in vary_on]
    )


def header(name: str) -> str:
    """Return the variation by a header field."""
    return f"header:{name.strip().lower()}"


def cookie(name: str) -> str:
    """Return the variation by one cookie."""
    return f"cookie:{name}"


def meta(key: str) -> str:
    """Return the variation by a key of `request.META`: of a header, that of the header."""
    if key.startswith("HTTP_"):
        return header(key.removeprefix("HTTP_").replace("_", "-"))
    return f"meta:{key}"


def of_vary(text: str) -> Variations:
    """Return what a response says it varies on."""
    return frozenset(map(header, names(text)))


def header_fields(variations: Iterable[str]) -> list[str]:
    """Return what the header `Vary` says of variations, in a fixed order."""
    found = set()
    for variation in variations:
        kind, _, name = variation.partition(":")
        if kind == "header":
            found.add("-".join(part.capitalize() for part in name.split("-")))
        elif kind != "meta":
            found.add("Cookie")
    return sorted(found)


def is_private(variations: Iterable[str]) -> bool:
    """Say whether caches on the way to the client cannot tell the pages apart, or should not keep them."""
    return any(not variation.startswith("header:") or variation == ALL_COOKIES for variation in variations)


def digest(values: Mapping[str, str | None]) -> str:
    """Return what names variations and their values; empty where there are none."""
    if not values:
        return ""
    parts = []
    for name in sorted(values):
        value = values[name]
        parts.append(f"{name}\0" + ("-" if value is None else f"{len(value)}:{value}"))
    text = "\0".join(parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARACTERS]


class Looked(NamedTuple):
    """What a view has looked at.

    Args:
        variations: Headers, keys of META and cookies.
        facts: Other things: `"csrf token"`, `"session"`, `"user"` (who is logged in), `"visitor"` (nobody is),
            `"message"`, `"all headers"`.
    """

    variations: Variations
    facts: frozenset[str]


class Sent(NamedTuple):
    """What a request has with it, for a judgement.

    Args:
        variations: Of those that the view looked at, the ones of which the request has a value.
        session_cookie: The name of the session's cookie.
        has_session: Whether the request has one, or its session holds something.
    """

    variations: Variations
    session_cookie: str
    has_session: bool


def judged(looked: Looked, known: Variations, sent: Sent) -> tuple[str, Variations]:
    """Say of a page why it may not be kept, empty where it may, and what it is to be kept apart by.

    What a visitor has not sent tells the page from those of visitors who have, and so may be looked at.
    A cookie or a credential that was sent may only be looked at where the page is kept apart by it.

    Args:
        known: What the page is declared, or says itself, to vary on.
    """
    learnt = set()
    refusal = next((fact for fact in ("csrf token", "message", "all headers") if fact in looked.facts), "")
    for variation in looked.variations - known:
        kind, _, name = variation.partition(":")
        if variation == AUTHORIZATION or (kind == "cookie" and ALL_COOKIES in known):
            continue  # who sends one gets no page, unless pages are told apart by it
        learnt.add(variation)
        is_secret = kind == "cookie" or variation == ALL_COOKIES or _CREDENTIAL.search(name.replace("_", "-"))
        if is_secret and variation in sent.variations:
            refusal = refusal or (kind if kind == "cookie" else f"header {name}")
    for fact in looked.facts & {"session", "user", "visitor"}:
        if fact in {"user", "visitor"} and USER in known:
            continue
        learnt |= {cookie(sent.session_cookie), VISITOR}
        if sent.has_session or fact == "user":
            refusal = refusal or ("user" if fact == "visitor" else fact)
    return refusal, frozenset(learnt)
