"""Keeps passwords out of what is told: errors of drivers may say where they were to connect to, and as whom."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

from django.conf import settings

HIDDEN: Final = "…"
LOGIN: Final = re.compile(r"(?<=://)[^\s/@]*:[^\s/]*@|(?<=://)[^\s/@:]+@")
"""What stands before the host of an address."""

SECRET_NAMES: Final = re.compile(
    r".*(PASS(WORD|WD)?|SECRET|TOKEN|(SECRET|API|ACCESS|PRIVATE)_?KEY(_FALLBACKS)?)", re.IGNORECASE
)
WITH_SERVERS: Final = re.compile(r"DATABASES|CACHES|PERFKIT|MAILERS|.*(URL|DSN|BACKEND)")
"""Settings that may hold addresses with passwords; those of the older kind of mails are not looked at."""

SHORTEST: Final = 4
"""A secret that is shorter would take letters out of other words."""

LONGEST: Final = 300


def told(error: BaseException) -> str:
    """Return what may be told of an error: its kind and its first line, without what is secret."""
    line = str(error).strip().partition("\n")[0]
    return without_secrets(f"{type(error).__name__}: {line}" if line else type(error).__name__)[:LONGEST]


def without_secrets(text: str) -> str:
    """Return a text without the secrets that the settings hold, and without any login before a host."""
    text = LOGIN.sub(f"{HIDDEN}@", text)
    for secret in sorted(set(_secrets()), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _secrets() -> Iterator[str]:
    for name in dir(settings):
        is_looked_at = name.isupper() and not name.startswith("EMAIL_")  # of these Django 6.1 warns
        if is_looked_at and (SECRET_NAMES.fullmatch(name) or WITH_SERVERS.fullmatch(name)):
            for secret in _within(name, getattr(settings, name)):
                for form in (secret, quote(secret, safe=""), unquote(secret)):
                    if len(form) >= SHORTEST:
                        yield form


def _within(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _within(str(key), each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _within(name, each)
    elif isinstance(value, str):
        for login in LOGIN.findall(value):
            yield login[:-1].partition(":")[2]
        if SECRET_NAMES.fullmatch(name):
            yield value
