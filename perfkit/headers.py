"""Names of header fields in HTTP, as settings write them."""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


def header_name_of(text: str) -> str:
    """Return the name, if it is one that every server lets through.

    Raises:
        ValueError: It is none.

    Example:
        >>> header_name_of("X-Request-ID")
        'X-Request-ID'
    """
    if _NAME.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no name of a header field, such as 'X-Request-ID'.")
    return text
