"""Values of environment variables, refused in one line where they are none."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

Number = TypeVar("Number", int, float)

WORDS: Final = {
    **dict.fromkeys(("true", "yes", "on", "y", "ok", "1"), True),
    **dict.fromkeys(("false", "no", "off", "n", "0"), False),
}


def flag(name: str, *, default: bool) -> bool:
    """Return whether the variable `name` says yes; `default` where it is empty or not set.

    Raises:
        ImproperlyConfigured: It says neither yes nor no.
    """
    text = os.environ.get(name, "").strip().lower()
    if text and text not in WORDS:
        raise _refused(name, "must be true or false")
    return WORDS.get(text, default)


def number(name: str, *, default: Number, least: Number | None = None) -> Number:
    """Return the number in the variable `name`; `default` where it is empty or not set.

    Args:
        name: The variable.
        default: Its type is the type of number that is asked for.
        least: Smallest valid number.

    Raises:
        ImproperlyConfigured: It is no such number.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    kind = {int: "a whole number", float: "a number"}[type(default)]
    rule = f"must be {kind}" if least is None else f"must be {kind}, {least} or more"
    try:
        value = type(default)(text)
    except ValueError as error:
        raise _refused(name, rule) from error
    if not math.isfinite(value) or (least is not None and value < least):
        raise _refused(name, rule)
    return value


def choice(name: str, *, default: str, among: tuple[str, ...]) -> str:
    """Return the word in the variable `name`; `default` where it is empty or not set.

    Raises:
        ImproperlyConfigured: It is none of `among`.
    """
    text = os.environ.get(name, "").strip() or default
    if text not in (default, *among):
        raise _refused(name, f"must be {', '.join(among[:-1])} or {among[-1]}")
    return text


def address(name: str) -> str:
    """Return the address of a server over HTTP in the variable `name`; empty where it is empty or not set.

    Raises:
        ImproperlyConfigured: It is none, or holds a password, which the text does not show.
    """
    text = os.environ.get(name, "").strip()
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number
        is_address = False
    if text and (not is_address or parts.username or parts.password or parts.query or parts.fragment):
        raise ImproperlyConfigured(f"{name}: it must look like https://host:port/v1, without a password.")
    return text


def _refused(name: str, rule: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name}={os.environ[name]!r}: it {rule}.")


def mailer(mail: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of Django's `MAILERS` for the settings that `EMAIL_URL` stands for."""
    names = {
        "host": "EMAIL_HOST",
        "port": "EMAIL_PORT",
        "username": "EMAIL_HOST_USER",
        "password": "EMAIL_HOST_PASSWORD",
        "use_tls": "EMAIL_USE_TLS",
        "use_ssl": "EMAIL_USE_SSL",
        "file_path": "EMAIL_FILE_PATH",
    }
    options = {name: mail[setting] for name, setting in names.items() if mail.get(setting)}
    return {"BACKEND": mail["EMAIL_BACKEND"], "OPTIONS": options}
