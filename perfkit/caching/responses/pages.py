"""A page as it is kept: headers, and the body in each coding; its bytes, its entity tags, its response."""

from __future__ import annotations

import hashlib
import time
from typing import Any, Final, NamedTuple

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import parse_http_date_safe

from perfkit.caching.entries import LARGEST_PAYLOAD_BYTES
from perfkit.caching.named.copies import Copies
from perfkit.caching.named.recipes import Codec
from perfkit.caching.responses.encodings import (
    GZIP,
    IDENTITY,
    gunzipped,
    is_compressible,
    padding_of,
    smallest_coding,
    variants,
)
from perfkit.caching.responses.fields import directives, with_names
from perfkit.caching.responses.variations import Variations, header_fields, is_private
from perfkit.caching.values import UnstorableError
from perfkit.conf import options

HEADERS_BYTES: Final = 4_000
"""That the headers of a page take in memory, about."""

_MADE_ANEW: Final = frozenset(
    {
        *("age", "cache-control", "content-length", "etag", "server-timing", "vary"),
        *("ratelimit", "ratelimit-limit", "ratelimit-policy", "ratelimit-remaining", "ratelimit-reset"),
    }
)
"""Headers that stand in the page's own fields, depend on who asks, or tell of the request that made the page."""


class Page(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A response that may be sent to all who ask for it in the same way.

    Attributes:
        headers: But for those in `_MADE_ANEW`.
        bodies: By coding; the plain one is left out where it can be made of gzip.
        size_bytes: Of the plain body.
        etag: Of the plain body, with its quotes.
        is_own_etag: Whether it is perfkit's digest; else the view has set it.
        made_at: Seconds since 1970.
        lasts_when_sent: Whether its `max-age` is the project's option: it counts from each hit, for a hit has just
            been found to hold. What the view says itself counts from when the page was made.
    """

    headers: tuple[tuple[str, str], ...]
    vary: str
    cache_control: str
    bodies: dict[str, bytes]
    size_bytes: int
    etag: str
    is_own_etag: bool
    made_at: float
    ttl_seconds: int
    lasts_when_sent: bool = False

    def age_seconds(self) -> int:
        """Return how long ago the page was made, or found to hold."""
        return 0 if self.lasts_when_sent else max(0, int(time.time() - self.made_at))

    def body(self, coding: str) -> bytes:
        """Return the body in a coding that there is; `identity` there always is.

        Raises:
            ValueError: What is kept is no page of ours.
        """
        if coding in self.bodies:
            return self.bodies[coding]
        plain = gunzipped(self.bodies[GZIP], most_bytes=self.size_bytes)
        if len(plain) != self.size_bytes:
            raise ValueError("a body is not of the size that it was")
        return plain

    def etag_in(self, coding: str) -> str:
        """Return the entity tag of the body in a coding.

        Each coding has its own; what a view has set is weak for all but the plain body, as Django's gzip has it.
        """
        if coding == IDENTITY:
            return self.etag
        if self.is_own_etag:
            return f'{self.etag[:-1]}-{coding}"'
        return self.etag if self.etag.startswith("W/") else f"W/{self.etag}"


class Signpost(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Stands where a page would, and says what the pages of this address are told apart by."""

    variations: tuple[str, ...]
    ttl_seconds: int


def page_of(response: HttpResponse, *, ttl_seconds: int, variations: Variations, max_age: int | None) -> Page:
    """Return the page that a response is.

    Args:
        variations: What it is told from others by.
        max_age: Seconds for which clients need not ask again; None where they have to.

    Raises:
        UnstorableError: It is too large ("size").
    """
    body = response.content
    if len(body) > LARGEST_PAYLOAD_BYTES:
        raise UnstorableError("size")
    said = response.get("Cache-Control", "")
    bodies = {IDENTITY: body}
    if is_compressed(response, size_bytes=len(body)):
        bodies = variants(body, pad=padding if is_private(variations) else None)
    more = [*header_fields(variations), *(["Accept-Encoding"] if set(bodies) != {IDENTITY} else [])]
    etag = response.get("ETag", "")
    return Page(
        headers=tuple([(name, value) for name, value in response.items() if name.lower() not in _MADE_ANEW]),
        vary=with_names(response.get("Vary", ""), more),
        cache_control=said or _cache_control(max_age, is_private=is_private(variations)),
        bodies=bodies,
        size_bytes=len(body),
        etag=etag or f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"',
        is_own_etag=not etag,
        made_at=time.time(),
        ttl_seconds=ttl_seconds,
        lasts_when_sent=not said and max_age is not None,
    )


def is_compressed(response: HttpResponse, *, size_bytes: int) -> bool:
    """Say whether a response is one that is compressed for those who take that; RFC 9110, section 7.7."""
    return (
        size_bytes >= options.COMPRESS_FROM_BYTES
        and not response.has_header("Content-Encoding")
        and not response.has_header("Content-Range")
        and is_compressible(response.get("Content-Type", ""))
        and "no-transform" not in directives(response.get("Cache-Control", ""))
    )


def padding(coded: bytes) -> int:
    """Return how many bytes are put beside a coded body that may hold a secret."""
    return padding_of(coded, most=options.COMPRESS_PADDING_BYTES, secret=settings.SECRET_KEY)


class Ready(NamedTuple):
    """What every response to those who take one coding has in common.

    Args:
        headers: All but the age, by their names in lower case, as Django keeps them.
    """

    body: bytes
    headers: dict[str, tuple[str, str]]


class KeptPage:
    """A page that was found, with what was made ready to be sent of it. Nobody changes it.

    Attributes:
        page: Itself.
    """

    __slots__ = ("_ready", "page")

    def __init__(self, page: Page) -> None:
        self.page = page
        self._ready: dict[str, Ready] = {}

    @property
    def ttl_seconds(self) -> int:
        """How long it is shown."""
        return self.page.ttl_seconds

    def ready(self, coding: str) -> Ready:
        """Return what is sent to those who take a coding, made once."""
        ready = self._ready.get(coding)
        if ready is None:
            body = self.page.body(coding)
            response = HttpResponse(body, headers=dict(self.page.headers))
            _name_page(response, self.page, coding)
            headers = {name.lower(): (name, value) for name, value in response.items()}
            ready = self._ready[coding] = Ready(body, headers)
        return ready


def shown(kept: KeptPage, request: HttpRequest) -> HttpResponseBase:
    """Return the response to one who asks: the page in a coding that it takes, or that it has not changed."""
    page = kept.page
    coding = smallest_coding(request.META.get("HTTP_ACCEPT_ENCODING", ""), page.bodies)
    ready = kept.ready(coding)
    response = HttpResponse(ready.body, content_type=ready.headers["content-type"][1])  # or it looks for one
    _put_headers(response, ready.headers)
    response.headers["Age"] = str(page.age_seconds())
    return _answered(response, request, page.etag_in(coding), size_bytes=len(ready.body))


def shown_first(page: Page, request: HttpRequest, response: HttpResponse) -> HttpResponseBase:
    """Return the response that a page was made of as those get it who ask later; it keeps its attributes."""
    coding = smallest_coding(request.META.get("HTTP_ACCEPT_ENCODING", ""), page.bodies)
    body = page.body(coding)
    if coding != IDENTITY:
        response.content = body
        if response.has_header("Content-Length"):
            response.headers["Content-Length"] = str(len(body))
    _name_page(response, page, coding)
    return _answered(response, request, page.etag_in(coding), size_bytes=len(body))


def _name_page(response: HttpResponse, page: Page, coding: str) -> None:
    """Put the headers that say which page it is, in which coding."""
    if coding != IDENTITY:
        response.headers["Content-Encoding"] = coding
    response.headers["ETag"] = page.etag_in(coding)
    response.headers["Cache-Control"] = page.cache_control
    if page.vary:
        response.headers["Vary"] = page.vary


def _put_headers(response: HttpResponse, headers: dict[str, tuple[str, str]]) -> None:
    """Give a response these headers and no others.

    They have been headers before; to have Django look at each of them again takes most of the time of a hit.
    """
    store = vars(response.headers).get("_store")
    if type(store) is dict:
        store.clear()
        store.update(headers)
        return
    for name in list(response.headers):
        del response.headers[name]
    for name, value in headers.values():
        response.headers[name] = value


def _answered(
    response: HttpResponse, request: HttpRequest, etag: str, *, size_bytes: int
) -> HttpResponseBase:
    """Return the response without its body where the request asks for none, or has it already."""
    if request.method == "HEAD":
        response.headers["Content-Length"] = str(size_bytes)
        response.content = b""
    if not _CONDITIONS.isdisjoint(request.META):
        modified = response.get("Last-Modified")
        answer = get_conditional_response(
            request, etag, parse_http_date_safe(modified) if modified else None, response
        )
        assert answer is not None  # noqa: S101  # it is given one
        return answer
    return response


_CONDITIONS: Final = frozenset(
    {"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE"}
)


def _cache_control(max_age: int | None, *, is_private: bool) -> str:
    lasting = "no-cache" if max_age is None else f"max-age={max_age}"
    return f"private, {lasting}" if is_private else lasting


class Made:
    """What a view has returned, and what of it is kept.

    Args:
        page: None where it is not kept.
        refusal: Why it is not.
        parts: By the keys of entries, what is kept there.
        variations: By what the pages of its address are told apart, as far as it is known.
    """

    __slots__ = ("page", "parts", "refusal", "response", "variations")

    def __init__(
        self,
        response: HttpResponseBase,
        *,
        page: Page | None = None,
        parts: dict[str, Page | Signpost] | None = None,
        refusal: str = "",
        variations: Variations = frozenset(),
    ) -> None:
        self.response = response
        self.page = page
        self.parts = parts or {}
        self.refusal = refusal
        self.variations = variations

    @property
    def ttl_seconds(self) -> int:
        """How long what is kept of it is shown."""
        return 0 if self.page is None else self.page.ttl_seconds


class PageCodec(Codec):
    """How pages and signposts become bytes and back."""

    def packed(self, value: Any) -> tuple[str, bytes]:
        """Return the kind and the bytes of a page or a signpost."""
        return ("p" if isinstance(value, Page) else "s"), _encode(value)

    def unpacked(self, kind: str, payload: bytes) -> KeptPage | Signpost:
        """Return the page or the signpost. Foreign bytes raise one of `entries.FAULTS`."""
        value: Page | Signpost = _DECODERS[kind].decode(payload)
        if not isinstance(value, Page):
            return value
        if value.bodies.keys().isdisjoint({IDENTITY, GZIP}) or value.size_bytes > LARGEST_PAYLOAD_BYTES:
            raise ValueError(kind)
        return KeptPage(value)

    def copies(self, value: Any, *, entry_bytes: int) -> Copies:
        """Have all who ask get the same page, for nobody changes it.

        In memory it takes its bodies, and the plain one besides where that was asked for.
        """
        plain_bytes = value.page.size_bytes if isinstance(value, KeptPage) else 0
        return Copies(lambda: value, HEADERS_BYTES + entry_bytes + plain_bytes)


_encode: Final = msgspec.msgpack.Encoder().encode
_DECODERS: Final[dict[str, msgspec.msgpack.Decoder[Any]]] = {
    "p": msgspec.msgpack.Decoder(Page),
    "s": msgspec.msgpack.Decoder(Signpost),
}
