"""Which addresses of a project can be asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RegexPattern

from perfkit.errors import BenchmarkError

PARAMETER: Final = re.compile(r"<(?:\w+:)?(\w+)>")
NOT_ASKED_APPS: Final = frozenset({"admin", "djdt"})
"""Django's admin and the debug toolbar: nobody wants them faster before all else. `--url` asks for them too."""
DOCUMENTS: Final = frozenset({"openapi-json", "openapi-view", "api-root"})
"""What django-ninja calls the addresses of its documentation."""
PLAIN: Final = re.compile(r"[\w/.~-]*")


def addresses(values: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the paths of the project that can be asked for, and those that need a value for a parameter.

    Args:
        values: Of parameters, by their names.
    """
    found: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for path in _paths(get_resolver(), "/"):
        filled = PARAMETER.sub(lambda match: values.get(match[1], match[0]), path)
        if "<" in filled:
            unknown[PARAMETER.sub(r"{\1}", filled)] = None
        elif PLAIN.fullmatch(filled):
            found[filled] = None
    return list(found), list(unknown)


def own_path(url: str) -> str:
    """Return a path of this site as it is asked for.

    Raises:
        BenchmarkError: It is the address of another site, or does not begin with a slash.
    """
    if not url.startswith("/") or url.startswith("//"):
        raise BenchmarkError(
            f"--url {url!r} must begin with one slash, such as /products/?page=2; "
            "another server is named by --base-url."
        )
    return url


def _paths(resolver: URLResolver, prefix: str) -> Iterator[str]:
    for each in resolver.url_patterns:
        address = prefix + _plain(each)
        if isinstance(each, URLPattern):
            if each.name not in DOCUMENTS:
                yield address
        elif each.app_name not in NOT_ASKED_APPS:
            yield from _paths(each, address)


def _plain(each: URLPattern | URLResolver) -> str:
    text = str(each.pattern)
    if isinstance(each.pattern, RegexPattern):
        text = re.sub(
            r"\(\?P<(\w+)>[^()]*\)", r"<\1>", text.removeprefix("^").removesuffix("$").removesuffix("\\Z")
        )
    return text.lstrip("/")
