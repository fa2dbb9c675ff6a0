"""A named value that is being made: what it is made of is seen, others wait for it, and then it is kept."""

from __future__ import annotations

import time
from typing import Final

from perfkit.caching.coherence import breaker
from perfkit.caching.flights import durations
from perfkit.caching.named.entries import NamedEntry, body_of
from perfkit.caching.named.heads import head_of
from perfkit.caching.named.recipes import REFRESH_SHARE, Named, Recipe
from perfkit.caching.named.recording import Recording
from perfkit.caching.recorder import Recorder
from perfkit.caching.store import Store, StoreError
from perfkit.caching.telling import tell_read
from perfkit.caching.trust import warn_once
from perfkit.caching.values import UnstorableError
from perfkit.errors import UncacheableResultError

IN_VAIN: Final = ":in vain"
"""Ends the name of a mark that stands for a while after a making that has left nothing."""


class Lease:
    """The right to make a value, for which others wait meanwhile.

    Args:
        seconds: That it lasts.
    """

    def __init__(self, store: Store, name: str, *, seconds: float) -> None:
        self._store = store
        self._name = name
        self._seconds = seconds

    def say_in_vain(self) -> None:
        """Have those who wait for this making wait no longer, nor for each other: it has left nothing."""
        try:
            self._store.lease(f"{self._name}{IN_VAIN}", lease_ms=int(self._seconds * 1000))
        except StoreError as error:
            breaker.failed(str(error))  # they wait for the lease to end

    def release(self) -> None:
        """Let others make the value."""
        try:
            self._store.release(self._name)
        except StoreError as error:
            breaker.failed(str(error))  # it ends by itself


class Making:
    """One value, from before it is made until it is kept.

    Attributes:
        recorder: To be told of what is read meanwhile; None where nobody wants to know.
        kept_bytes: Of the entry that was stored, 0 where none was.
        refusal: Why the value is not kept, empty where it may be.

    Args:
        taken: Tokens of the value's own tags, and of what it is likely to read, from before.
        parent: Who is told what the value is made of.
        lease: None where nobody waits.
        begun: When the read began; see `telling.read_begins`.
    """

    def __init__(
        self,
        recipe: Recipe,
        named: Named,
        store: Store,
        *,
        taken: dict[str, bytes],
        parent: Recorder | None,
        lease: Lease | None,
        begun: float = 0.0,
    ) -> None:
        self.kept_bytes = 0
        self.refusal = ""
        self._recipe = recipe
        self._named = named
        self._store = store
        self._taken = taken
        self._parent = parent
        self._lease = lease
        self._begun = begun
        self._recording = Recording(store, taken)
        self._recording.tokens.update({tag: taken[tag] for tag in named.tags})
        self.recorder = self._recording if recipe.records else None

    def failed(self) -> None:
        """Note that making it has failed: whoever waits may try."""
        if self._parent is not None:
            self._tell_parent(self._parent, ends=self._recording.ends)

    def made(self, value: object, *, seconds: float, replaces: bool) -> None:
        """Keep what was made, if it may be kept.

        Args:
            seconds: That it took.
            replaces: Whether what others hold in their processes is void.

        Raises:
            UncacheableResultError: It would not come back the same.
        """
        recording = self._recording
        ends = min(time.time() + self._recipe.ttl_seconds(value), recording.ends)
        tags = tuple(recording.tokens)
        tell_read(self._recipe.sender, "miss", key=self._named.key, tags=tags, begun=self._begun)
        if self._parent is not None:
            self._tell_parent(self._parent, ends=ends)
        if recording.refusal:
            self._refuse(recording.refusal)
            if recording.is_lasting:  # then let nobody wait for it
                durations.cannot_keep(self._named.key, UnstorableError(recording.refusal))
            if recording.advice:
                warn_once(f"what {self._recipe.name} returns is not kept. {recording.advice}")
        elif self._recipe.wants(value):
            self._recipe.guess(tuple(recording.tokens))
            try:
                self._keep(value, ends=ends, seconds=seconds, replaces=replaces)
            except StoreError as error:
                breaker.failed(str(error))

    def _keep(self, value: object, *, ends: float, seconds: float, replaces: bool) -> None:
        named, store = self._named, self._store
        tokens = {**dict.fromkeys(named.tags, b""), **self._recording.tokens}
        if any(tokens[tag] != self._taken[tag] for tag in named.tags):
            return  # voided meanwhile
        left_seconds = ends - time.time()
        if left_seconds <= 0:
            return  # something that it was made from has ended meanwhile
        bodies = self._bodies(
            value, tuple(tokens), ends=ends, left_seconds=left_seconds, made_seconds=seconds
        )
        if not bodies:
            return
        if replaces:
            swapped = store.swap(named.tags[0], tokens[named.tags[0]])
            if swapped is None:
                return  # voided meanwhile
            tokens[named.tags[0]] = swapped
        head = head_of(tuple(tokens), tuple(tokens.values()))
        kept_seconds = left_seconds + self._recipe.stale_seconds
        self._recipe.note_tags(named.key, tuple(tokens))
        if self._lease is not None or replaces or len(bodies) > 1:
            store.fill({key: head + body for key, body in bodies.items()}, ttl_seconds=kept_seconds)
        else:
            for key, body in bodies.items():
                store.offer(key, head + body, ttl_seconds=kept_seconds)
        self.kept_bytes = sum([len(head) + len(body) for body in bodies.values()])

    def _bodies(
        self,
        value: object,
        tags: tuple[str, ...],
        *,
        ends: float,
        left_seconds: float,
        made_seconds: float,
    ) -> dict[str, bytes]:
        """Return what is to be stored, by the keys of entries, but for its head; nothing where it is too large."""
        recipe, named = self._recipe, self._named
        refresh_at = ends - REFRESH_SHARE * left_seconds if recipe.refreshes_ahead else ends
        bodies = {}
        try:
            for key, part in recipe.parts(named.key, value).items():
                entry = NamedEntry(*recipe.codec.packed(part), tags, ends, refresh_at, made_seconds)
                bodies[key] = body_of(key, entry)
        except UnstorableError as error:
            if error.reason != "size":
                raise UncacheableResultError(recipe.name, error.reason) from error
            durations.cannot_keep(named.key, error)
            self._refuse(error.reason)
            warn_once(f"a value of {recipe.name} cannot be kept: it is larger than a megabyte.")
            return {}
        return bodies

    def _refuse(self, reason: str) -> None:
        self.refusal = reason
        tell_read(self._recipe.sender, "bypass", reason, key=self._named.key, tags=self._named.tags)

    def _tell_parent(self, parent: Recorder, *, ends: float) -> None:
        recording = self._recording
        if recording.refusal:
            parent.refuse(recording.refusal)
        else:
            parent.read(tuple(recording.tokens), tuple(recording.tokens.values()), ends=ends)
