"""What this process has learnt of addresses: by what their pages are told apart.

See Note [A learnt variation cannot be wrong] in `variations`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.responses.variations import Variations

MOST_KNOWN: Final = 10_000

_lock: Final = fork_safe_lock()
_known: Final[OrderedDict[str, Variations]] = OrderedDict()
_NONE: Final[Variations] = frozenset()


def learnt_of(path: str) -> Variations:
    """Return what was learnt of the address with this key path."""
    return _known.get(path, _NONE)


def learn(path: str, variations: Variations) -> None:
    """Note by what the pages of an address are told apart; what was known before remains."""
    if not variations or variations <= _known.get(path, _NONE):
        return
    with _lock:
        _known[path] = _known.get(path, _NONE) | variations
        _known.move_to_end(path)
        while len(_known) > MOST_KNOWN:
            _known.popitem(last=False)


def forget_learnt() -> None:
    """Know nothing, as a process that has just started."""
    with _lock:
        _known.clear()
