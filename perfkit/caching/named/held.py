"""What the process holds of named values, and what a scope may show of that without asking."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from perfkit.caching.counting import counting
from perfkit.caching.memory import memory
from perfkit.caching.named.copies import Copier
from perfkit.caching.named.recipes import Named, Recipe
from perfkit.caching.named.standing import Standing
from perfkit.caching.recorder import current_recorder
from perfkit.caching.scope import current_scope
from perfkit.caching.telling import tell_read
from perfkit.conf import options
from perfkit.signals import cache_read

MISSING: Final[Any] = object()
"""Stands for no value, for None is one."""


class Content(NamedTuple):
    """A value and what it depends on.

    Args:
        databases: Of the tables among `tags`, as tags name them.
        ends: When it is no longer to be shown, in seconds since 1970.
        copy: Returns the value for one who asks; None where it is unpacked each time.
    """

    tags: tuple[str, ...]
    databases: frozenset[str]
    kind: str
    payload: bytes
    copy: Copier | None
    ends: float

    def shown(self, recipe: Recipe) -> Any:
        """Return the value for one who asks."""
        return recipe.codec.unpacked(self.kind, self.payload) if self.copy is None else self.copy()


def known_value(recipe: Recipe, named: Named, standing: Standing | None) -> Any:
    """Return a value of which the scope knows that it holds, else MISSING. No round trip.

    See Note [The promise within a scope] in `scope`.

    Args:
        standing: How the thread stands.
    """
    scope = current_scope()
    if scope is None or standing is None:
        return MISSING
    held = memory.get(named.key)
    if held is None:
        return MISSING
    content: Content = held.content
    if not scope.knows_of(named.key, content.tags, held.tokens):
        return MISSING
    if not options.show_what_is_known():
        return MISSING
    recorder = current_recorder()
    if recorder is not None:
        recorder.read(content.tags, held.tokens, ends=content.ends)
    note_hit(recipe, named, content.tags)
    return content.shown(recipe)


def note_hit(
    recipe: Recipe,
    named: Named,
    tags: tuple[str, ...],
    *,
    tier: str = "request",
    begun: float = 0.0,
    made_seconds: float = 0.0,
) -> None:
    """Tell that a value was found; for what is told in detail see `telling.tell_read`."""
    if cache_read.receivers:
        tell_read(
            recipe.sender,
            "hit",
            key=named.key,
            tags=tags,
            tier=tier,
            begun=begun,
            family=recipe.name,
            made_seconds=made_seconds,
        )
    else:
        counting.hit(recipe.sender)  # which `send` does too, in twice the time
