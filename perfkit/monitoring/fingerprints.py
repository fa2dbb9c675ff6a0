"""Short names of statements, the same in each process."""

from __future__ import annotations

import hashlib


def fingerprint_of(text: str) -> str:
    """Return a short name for a statement without values.

    Example:
        >>> fingerprint_of("SELECT ?") == fingerprint_of("SELECT ?"), len(fingerprint_of("SELECT ?"))
        (True, 12)
    """
    return hashlib.blake2s(text.encode(), digest_size=6).hexdigest()
