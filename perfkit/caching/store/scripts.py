"""The Lua scripts, and the two forms in which servers get them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, NamedTuple, Self

from perfkit.caching.store.packing import Words

FENCE: Final = "#!lua\n"
"""A first line by which a server refuses a script at once, its reads too, where it may write nothing.

That is a replica, and a primary that has fewer replicas than `min-replicas-to-write`: one that is cut off.
Source: https://redis.io/docs/latest/develop/programmability/lua-api/#script_flags
"""


class Script:
    """A Lua script, known to the server by its digest once it has run there.

    Args:
        name: Of its file, in the folder `lua` of a package.
        fence: A line to put first.
    """

    __slots__ = ("by_digest", "digest", "text")

    def __init__(self, name: str, *, fence: str = "", package: str = __package__) -> None:
        self.text = fence + (files(package) / "lua" / f"{name}.lua").read_text(encoding="utf-8")
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        self.by_digest = Words.of("EVALSHA", self.digest)


class ScriptForms(NamedTuple):
    """A script of another room, in both forms."""

    plain: Script
    fenced: Script

    @classmethod
    def loaded(cls, name: str, *, package: str) -> Self:
        """Return the script of that name in the folder `lua` of a package."""
        return cls(Script(name, package=package), Script(name, fence=FENCE, package=package))


@dataclass(frozen=True, slots=True)
class Scripts:
    """All of this room."""

    count: Script
    mark: Script
    peek: Script
    put: Script
    read: Script
    recall: Script
    swap: Script
    take: Script
    void: Script

    @classmethod
    def loaded(cls, fence: str) -> Self:
        """Return all of them, each with this first line."""
        return cls(*(Script(name, fence=fence) for name in cls.__dataclass_fields__))


PLAIN: Final = Scripts.loaded("")

FENCED: Final = Scripts.loaded(FENCE)
"""For servers that have replicas."""
