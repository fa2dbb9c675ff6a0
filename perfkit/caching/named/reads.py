"""One read of a named value: from the process, from the server, or made anew.

The steps are the same whether the maker is a plain function or a coroutine; `answers` drives them for both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any, Final, TypeGuard, cast

from perfkit.caching import tokens as token_kinds
from perfkit.caching.bypass import Bypass
from perfkit.caching.coherence import breaker
from perfkit.caching.entries import FAULTS
from perfkit.caching.flights import durations, waits
from perfkit.caching.memory import OBJECT_BYTES, Held, Tokens, memory
from perfkit.caching.named.entries import NamedEntry, decoded_body, decoded_entry
from perfkit.caching.named.heads import body_in, tags_in, tokens_in
from perfkit.caching.named.held import MISSING, Content
from perfkit.caching.named.making import IN_VAIN, Lease, Making
from perfkit.caching.named.recipes import Named, Recipe
from perfkit.caching.named.straight import Looked
from perfkit.caching.named.trust import Trust, is_in_transaction, require_committed_views
from perfkit.caching.reads import refuse_in_event_loop
from perfkit.caching.recorder import Recorder, current_recorder, recorded_by
from perfkit.caching.scope import Question, begin_question, note_recent, recent_tags
from perfkit.caching.store import Store, StoredRead, StoreError
from perfkit.caching.tags import databases_of, lease_name
from perfkit.caching.telling import read_begins, tell_read
from perfkit.caching.values import UnstorableError
from perfkit.conf import options
from perfkit.making import making_for_others

RELEARNT: Final = 2
"""How often an entry may turn out to depend on a database that nobody has looked at yet."""


@contextmanager
def _made_for_others(recorder: Recorder | None) -> Iterator[None]:
    with making_for_others(), recorded_by(recorder):
        yield


class NamedRead:
    """One read, step by step: `looks`; where these have found nothing, `recorded` around the making, and `made`.

    Attributes:
        value: What was found, MISSING where it is to be made.
        is_due: Whether what was found is to be made anew soon.

    Args:
        looked: What was asked for already, just now.
    """

    def __init__(self, recipe: Recipe, named: Named, *, looked: Looked | None = None) -> None:
        self.value: Any = MISSING
        self.is_due = False
        self._recipe = recipe
        self._named = named
        self._parent = current_recorder()
        self._question: Question | None = None
        self._making: Making | None = None
        self._refusal = ""
        self._taken: dict[str, bytes] = {}
        self._trust = Trust()
        self._looked = looked
        self._stale: NamedEntry | None = None
        self._lease: Lease | None = None
        self._is_glance = False
        self._begun = read_begins()

    def looks(self) -> Iterator[float]:
        """Look for the value; yield how long to wait before each next look, while another one makes it.

        Queries:
            None, but that the outbox of each database is looked into once a second.
            One round trip, two where the value depends on a database for the first time, or is to be made.
        """
        try:
            durations.require_keepable(self._named.key)
            yield from self._looks()
        except (Bypass, UnstorableError) as reason:
            self._pass(str(reason))
        except StoreError as error:
            breaker.failed(str(error))
            self._pass("outage")

    def glance(self) -> None:
        """Look for the value once, and make ready for nothing.

        Queries:
            As `looks`; at most two round trips.
        """
        self._is_glance = True
        try:
            refuse_in_event_loop()
            self._question = begin_question()
            store = self._trust.usable_store()
            if not self._found(store):
                self._tell("miss")
                if self._parent is not None:
                    self._parent.refuse("missing key")  # nobody tells when it is set
        except Bypass as reason:
            self._pass(str(reason))
        except StoreError as error:
            breaker.failed(str(error))
            self._pass("outage")

    def begin(self) -> None:
        """Take the tokens of what may be read, and look for nothing: the value is to be made in any case."""
        try:
            store = self._trust.usable_store(self._recipe.guessed_databases)
            self._trust.require(self._named.tags)
            self._take(store)
            self._begin_making(store)
        except Bypass as reason:
            self._pass(str(reason))
        except StoreError as error:
            breaker.failed(str(error))
            self._pass("outage")

    @property
    def own_tags(self) -> tuple[str, ...]:
        """The tag of the value alone."""
        return self._named.tags[:1]

    @property
    def kept_bytes(self) -> int:
        """Of the entry that was stored; 0 where none was."""
        return 0 if self._making is None else self._making.kept_bytes

    @property
    def refusal(self) -> str:
        """Why the value is not kept, empty where it may be."""
        return self._refusal or ("" if self._making is None else self._making.refusal)

    def recorded(self) -> AbstractContextManager[None]:
        """Return what the making is to run in."""
        return nullcontext() if self._making is None else _made_for_others(self._making.recorder)

    def failed(self) -> None:
        """Note that making it has failed: whoever waits may try."""
        if self._making is not None:
            self._making.failed()
        self._release(in_vain=True)

    def made(self, value: Any, *, seconds: float, replaces: bool = False) -> None:
        """Keep what was made, if it may be kept; see `Making.made`."""
        durations.took(self._recipe.name, seconds)
        if self._making is None:
            return
        try:
            self._making.made(value, seconds=seconds, replaces=replaces)
        finally:
            self._release(in_vain=not self.kept_bytes)

    def _looks(self) -> Iterator[float]:
        refuse_in_event_loop()
        self._question = begin_question()
        store = self._trust.usable_store(self._recipe.guessed_databases)
        if self._found(store):
            return
        require_committed_views()
        if durations.needs_flight(self._recipe.name) and not is_in_transaction():
            yield from self._awaited(store)
        if self.value is MISSING:
            self._begin_making(store)

    def _awaited(self, store: Store) -> Iterator[float]:
        """Wait for another one who makes the value, or become the one."""
        seconds = durations.lease_seconds(self._recipe.name)
        for wait in chain([0.0], waits(2 * seconds)):  # for one who dies, and for the next one
            if wait:
                yield wait
                durations.require_keepable(self._named.key)  # the one before may have found that out
            own = [self._taken[tag] for tag in self._named.tags]
            name = lease_name(self._named.key, own)
            if store.lease(name, lease_ms=int(seconds * 1000)):
                self._lease = Lease(store, name, seconds=seconds)
            if self._found(store):  # the one before may have stored it just now
                self._release()
                return
            if self._lease is not None or store.is_leased(f"{name}{IN_VAIN}"):
                return
            if self._stale is not None:
                self._show_stale(self._stale)
                return
            if not durations.needs_flight(self._recipe.name):
                return

    def _found(self, store: Store) -> bool:
        """Look for the value in the process and on the server; if it is nowhere, take tokens to make it with."""
        mode = options.CACHE_MEMORY
        if mode == "request" and not store.is_shared:
            mode = "strict"  # asking a store of this process costs no way to a server
        if mode != "request":
            self._question = None
        held = memory.get(self._named.key) if mode != "off" else None
        tier = "" if held is None else self._held_in(store, held)
        if held is not None and tier:
            content: Content = held.content
            self._show(content.shown(self._recipe), content.tags, held.tokens, ends=content.ends, tier=tier)
            return True
        if self._seen(store, mode) or (not self._taken and self._recalled(store, mode)):
            return True
        if not self._is_glance:
            if not self._taken:
                self._take(store)
            self._require_no_writer()
        return False

    def _seen(self, store: Store, mode: str) -> bool:
        """Look for an entry that depends on what it depended on the last time; what is there else is not shown.

        Where all the tokens are there, they are taken to make the value with.
        """
        self._taken = {}
        looked, self._looked = self._looked, None
        tags = self._recipe.tags_of.get(self._named.key)
        if tags is None or tags[: len(self._named.tags)] != self._named.tags:
            self._trust.require(self._named.tags)
            return False
        self._trust.looks_into(store, databases_of(tags))
        self._trust.require(tags)
        stored, found = self._look(store, tags, looked)
        _answered()
        entry = None
        if stored is not None:
            body = body_in(stored, tags, found)
            if body is not None:
                entry = decoded_body(self._named.key, tags, body)
                if self._holds(entry, found) and self._kept_in_process(
                    entry, found, mode, size_bytes=len(stored)
                ):
                    return True
            elif tags_in(stored) == tags:
                entry = decoded_entry(self._named.key, stored)
        is_another = stored is not None and entry is None
        if not is_another and not self._is_glance and None not in found:
            self._stale = entry if self._recipe.may_show_stale(self._named.key) else None
            self._taken = cast("dict[str, bytes]", dict(zip(tags, found, strict=True)))
        return False

    def _look(self, store: Store, tags: tuple[str, ...], looked: Looked | None) -> StoredRead:
        if looked is not None and looked.tags == tags and not self._trust.has_drained:
            return looked.stored
        return store.look(self._named.key, tags)

    def _recalled(self, store: Store, mode: str) -> bool:
        """Look for an entry whatever it depends on; take tokens to make the value with where there is none."""
        for _ in range(RELEARNT):
            wanted = () if self._is_glance else self._wanted
            recalled = store.recall([self._named.key], wanted)
            _answered()
            [(stored, found)] = recalled.entries
            self._taken = dict(zip(wanted, recalled.taken, strict=False))
            entry = None if stored is None else decoded_entry(self._named.key, stored)
            if entry is None or stored is None:
                return False
            if not self._is_current(entry, tokens_in(stored), found):
                self._stale = entry if self._recipe.may_show_stale(self._named.key) else None
                return False
            if self._trust.looks_into(store, databases_of(entry.tags)):
                continue  # what was found in an outbox may have voided the entry
            self._trust.require(entry.tags)
            return self._kept_in_process(entry, found, mode, size_bytes=len(stored))
        return False

    def _held_in(self, store: Store, held: Held) -> str:
        """Return who knows that what this process holds still does; an empty text where it does not."""
        content: Content = held.content
        tags = content.tags
        is_new = self._trust.looks_into(store, content.databases)
        self._trust.require(tags)
        question = self._question
        if not is_new and question is not None and question.scope.knows(tags, held.tokens):
            return "request"
        return "process" if self._asked(tags, store.tokens) == held.tokens else ""

    def _is_current(self, entry: NamedEntry, made_with: Tokens, found: Tokens) -> bool:
        return made_with == found and self._holds(entry, found)

    def _holds(self, entry: NamedEntry | None, found: Tokens) -> TypeGuard[NamedEntry]:
        """Say whether an entry that was made with the tokens that were found may be shown."""
        declared = self._named.tags if self._recipe.needs_tags else self.own_tags
        if entry is None or entry.tags[: len(declared)] != declared:
            return False
        if self._recipe.stale_seconds and entry.ends <= time.time():
            return False
        for token in found:  # noqa: SIM110  # a generator takes twice the time, on each hit
            if token is None or token_kinds.is_in_flight(token):
                return False
        return True

    def _kept_in_process(self, entry: NamedEntry, found: Tokens, mode: str, *, size_bytes: int) -> bool:
        """Show an entry that holds; return whether its bytes are a value."""
        codec = self._recipe.codec
        try:
            value = codec.unpacked(entry.kind, entry.payload)
        except FAULTS:
            return False
        self._recipe.note_tags(self._named.key, entry.tags)
        if self._question is not None and not self._recipe.is_all:
            self._question.remember(entry.tags, found)
            note_recent(entry.tags)
        if mode != "off":
            copies = codec.copies(value, entry_bytes=size_bytes)
            payload, held_bytes, copy = entry.payload, OBJECT_BYTES * size_bytes, None
            if copies is not None:
                payload, held_bytes, copy = b"", copies.size_bytes, copies.copy
            content = Content(entry.tags, databases_of(entry.tags), entry.kind, payload, copy, entry.ends)
            # Beyond the moment of refreshing, the server alone knows whether somebody has made it anew.
            left_seconds = min(entry.refresh_at - time.time(), self._recipe.ttl_seconds(value))
            memory.put(self._named.key, found, content, size_bytes=held_bytes, seconds=left_seconds)
            if copy is not None:
                value = copy()  # what the process holds is nobody's to change
        self.is_due = time.time() >= entry.refresh_at
        self._show(value, entry.tags, found, ends=entry.ends, tier="store", made_seconds=entry.made_seconds)
        return True

    def _asked(self, tags: tuple[str, ...], ask: Callable[[Sequence[str]], Tokens]) -> Tokens:
        """Ask for the tokens of `tags`; within a scope remember them, and ask for late ones at its first read."""
        question = None if self._recipe.is_all else self._question
        wanted = tags
        if question is not None and question.scope.is_new:
            late = [tag for tag in recent_tags() if tag not in tags and self._trust.covers(tag)]
            wanted = (*tags, *late)
        found = ask(wanted)
        _answered()
        if question is not None:
            question.remember(wanted, found)
            note_recent(tags)
        return found[: len(tags)]

    def _take(self, store: Store) -> None:
        self._taken = dict(zip(self._wanted, store.take(self._wanted), strict=True))
        _answered()
        self._require_no_writer()

    @property
    def _wanted(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._named.tags, *self._recipe.guessed)))

    def _require_no_writer(self) -> None:
        if any(map(token_kinds.is_in_flight, self._taken.values())):
            raise Bypass("write in flight")  # also where it concerns what was read the last time

    def _begin_making(self, store: Store) -> None:
        require_committed_views()
        self._making = Making(
            self._recipe,
            self._named,
            store,
            taken=self._taken,
            parent=self._parent,
            lease=self._lease,
            begun=self._begun,
        )

    def _show(
        self,
        value: Any,
        tags: tuple[str, ...],
        tokens: Tokens,
        *,
        ends: float,
        tier: str,
        made_seconds: float = 0.0,
    ) -> None:
        self.value = value
        if self._parent is not None:
            self._parent.read(tags, tokens, ends=ends)
        tell_read(
            self._recipe.sender,
            "hit",
            key=self._named.key,
            tags=tags,
            tier=tier,
            begun=self._begun,
            family=self._recipe.name,
            made_seconds=made_seconds,
        )

    def _show_stale(self, entry: NamedEntry) -> None:
        try:
            self.value = self._recipe.codec.unpacked(entry.kind, entry.payload)
        except FAULTS:
            return
        if self._parent is not None:
            self._parent.refuse("stale value")
        self._tell("hit", "stale")

    def _pass(self, reason: str) -> None:
        self._making = None
        if self._parent is not None:
            self._parent.refuse(reason)  # what it is made of now may be void by its own tags
        self._release()
        self._refusal = reason
        self._tell("bypass", reason)

    def _tell(self, outcome: str, reason: str = "") -> None:
        tier = "store" if outcome == "hit" else ""
        tell_read(
            self._recipe.sender,
            outcome,
            reason,
            key=self._named.key,
            tags=self._named.tags,
            tier=tier,
            begun=self._begun,
        )

    def _release(self, *, in_vain: bool = False) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            if in_vain:
                lease.say_in_vain()
            lease.release()


def _answered() -> None:
    if breaker.is_open:
        breaker.succeeded()
