"""Which statements may be kept with their values: those that name nothing whose values are secret. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Final

_NAME: Final = re.compile(r'"((?:[^"]|"")*)"|`([^`]*)`|([^\W\d][\w$]*)')


def has_excluded(fingerprint: str, patterns: Sequence[str]) -> bool:
    """Say whether a statement names a table or a column that one of the patterns means, in whatever case.

    Example:
        >>> has_excluded('SELECT "id", "password" FROM "auth_user"', ("*password*",))
        True
    """
    matches = _compiled(tuple(patterns))
    if matches is None:
        return False
    return any(matches.match(name.lower()) for found in _NAME.findall(fingerprint) for name in found if name)


@lru_cache(maxsize=8)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(translate(each.lower()) for each in patterns)) if patterns else None
