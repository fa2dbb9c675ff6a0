"""Ids that come from elsewhere: which are taken, and new ones. Pure."""

from __future__ import annotations

import os
import re
from typing import Final

LONGEST: Final = 128

_ID: Final = re.compile(rf"[A-Za-z0-9._-]{{1,{LONGEST}}}")
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def new_request_id() -> str:
    """Return an id that nobody has."""
    return os.urandom(16).hex()


def valid_request_id(given: object) -> str:
    """Return an id as it was given, or nothing where it is none.

    Letters, digits, dots, dashes and underscores cannot end a line of a log, a header or a comment in SQL.

    Example:
        >>> valid_request_id("b7f3.checkout-1"), valid_request_id("two words"), valid_request_id(None)
        ('b7f3.checkout-1', '', '')
    """
    return given if isinstance(given, str) and _ID.fullmatch(given) else ""


def valid_traceparent(given: object) -> str:
    """Return what stands in the header field `traceparent`, or nothing where it is malformed.

    What a later version of the format adds behind is left away.

    Source:
        W3C Trace Context, "Traceparent header".
    """
    if not isinstance(given, str):
        return ""
    text = given if given.startswith("00-") else given[:55]
    rest = given[55:]
    return text if _TRACEPARENT.fullmatch(text) and (not rest or rest.startswith("-")) else ""
