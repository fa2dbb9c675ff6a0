"""What a request with an idempotency key is told apart by: the key, who sends it where, and what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from django.http import HttpRequest

from perfkit.api.limiting.identity import authenticated_name, is_nobody
from perfkit.errors import UsageError

HEADER: Final = "Idempotency-Key"
LONGEST_KEY: Final = 255
MULTIPART: Final = "multipart/form-data"


def idempotency_key(request: HttpRequest) -> str | None:
    """Return the key of the request, None where it has none.

    A key in quotation marks, as the draft writes it, is the same as without them.

    Raises:
        ValueError: The header holds no key: it is empty, too long, or has other characters than printable ASCII.

    Source:
        IETF draft "The Idempotency-Key HTTP Header Field"; RFC 8941, section 3.3.3 "Strings".
    """
    text = request.headers.get(HEADER)
    if text is None:
        return None
    key = text.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if not 1 <= len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise ValueError(f"{HEADER} holds 1 to {LONGEST_KEY} printable ASCII characters.")
    return key


def default_scope(request: HttpRequest) -> str:
    """Return who sends the request, as far as keys are concerned.

    It is what ninja's authentication found, as limits name it; all who need none share one scope,
    for the address of a client may change until it tries again.

    Raises:
        UsageError: What the authentication returns tells no clients apart: one would get the answer of another.
    """
    auth: Any = getattr(request, "auth", None)
    if is_nobody(auth):
        return ""
    name = authenticated_name(auth)
    if name is None:
        raise UsageError(
            f"The authentication returns a {type(auth).__qualname__}, which does not tell who it is: "
            "give @idempotent a scope=, a function of the request that does."
        )
    return name


def scope_digest(caller: str, request: HttpRequest) -> str:
    """Return 64 characters that name the caller and the route: a key is one of these two."""
    match = request.resolver_match
    route = match.route if match is not None else request.path_info
    return _digest([caller.encode(), str(request.method).encode(), str(route).encode()])


def request_digest(request: HttpRequest) -> str:
    """Return 64 characters that tell what the request says: its address and its body, byte by byte.

    Of a form with files, whose bytes differ each time they are sent, it is the fields and what is in the files.
    """
    head = [request.get_full_path().encode(), str(request.content_type).encode()]
    return _digest([*head, *(_form(request) if request.content_type == MULTIPART else [request.body])])


def _form(request: HttpRequest) -> Iterator[bytes]:
    for name, values in request.POST.lists():
        yield name.encode()
        yield from (str(value).encode() for value in values)
        yield b""
    for name, files in request.FILES.lists():
        yield name.encode()
        for file in files:
            yield str(file.name).encode()
            content = hashlib.sha256()
            for chunk in file.chunks():
                content.update(chunk)
            file.seek(0)
            yield content.digest()


def _digest(parts: list[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
