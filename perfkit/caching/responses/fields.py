"""Header fields that are lists: `Cache-Control`, `Vary`, `Accept-Encoding`, `Accept-Language`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

CODINGS: Final = frozenset({"br", "deflate", "gzip", "identity", "zstd", "*"})
"""Content codings that are told apart; others are sent by nobody here."""


def directives(text: str) -> dict[str, str]:
    """Return the directives of a `Cache-Control`, by name; a value without one is empty."""
    found = {}
    for part in _split(text):
        name, _, value = part.partition("=")
        found[name.strip().lower()] = value.strip().strip('"')
    return found


def names(text: str) -> list[str]:
    """Return the names in a list of header fields, in lower case."""
    return [part.lower() for part in _split(text)]


def with_names(text: str, more: Iterable[str]) -> str:
    """Return a list of header fields with more of them, each once."""
    known = names(text)
    if "*" in known:
        return "*"
    return ", ".join([*_split(text), *[name for name in dict.fromkeys(more) if name.lower() not in known]])


def weights(text: str) -> list[tuple[str, float]]:
    """Return what a client accepts, in lower case and in the order sent, with weights from 0 to 1."""
    found = []
    for part in _split(text):
        name, *parameters = [piece.strip() for piece in part.split(";")]
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                weight = _weight(value)
        found.append((name.lower(), weight))
    return found


def normal_value(name: str, text: str | None) -> str | None:
    """Return one text for all values of a header that mean the same, None where it is absent.

    Args:
        name: Of the header, in lower case.
    """
    if text is None:
        return None
    if name == "accept-encoding":
        alias = {"x-gzip": "gzip"}
        known = {alias.get(coding, coding): weight for coding, weight in weights(text)}
        return ",".join([f"{coding};{known[coding]:g}" for coding in sorted(known.keys() & CODINGS)])
    if name == "accept-language":
        wanted = [pair for pair in weights(text) if pair[1] > 0]
        wanted.sort(key=lambda pair: -pair[1])
        return ",".join([f"{language};{weight:g}" for language, weight in wanted])
    if name == "cookie":
        return ";".join(sorted(piece.strip() for piece in text.split(";")))
    return text.strip()


def seconds_of(value: str | None) -> int | None:
    """Return a number of seconds that a directive names, None where it names none."""
    if value is None or not (value.isascii() and value.isdigit()):
        return None
    return min(int(value[:12]), 2**31)


def _split(text: str) -> list[str]:
    return [part for piece in text.split(",") if (part := piece.strip())]


def _weight(value: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
