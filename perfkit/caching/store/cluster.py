"""The store on a Redis or Valkey Cluster.

# Note [Over the nodes]
The keys of one call lie on several nodes, so it is one round trip to each of them, all under way together.
They answer at different moments, and no harm is done by that:

- A hit needs tokens equal to those that the entry was made with.
  Each is asked for after the read began, so a write that had returned by then has changed it.
- The tokens that a miss stores are all taken before its SELECT.
- A named value is stored with tokens taken just before; a write in between makes it dead on arrival.
- MARK must be heard by every node before COMMIT; if one does not answer, the write goes on in silence, and what
  the others have noted ends with its lease.
- DONE that one node does not hear is not heard: it goes into the outbox. See Note [A DONE that is not heard] in
  `coherence`.

So a cluster is used as a whole or not at all: one node that does not answer is an outage.

# Note [Slots that move]
Where a slot has gone, the node that had it says so (MOVED): the call is made again, over all nodes anew.
While a slot is on its way, keys that are not there any more are asked for elsewhere (ASK).
Nobody follows: a token must not be in two places, so until the slot has arrived that is an outage.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, ClassVar, Final, TypeVar

import redis

from perfkit.caching import tokens
from perfkit.caching.named.heads import head_of, tags_in, tokens_in
from perfkit.caching.store.contract import (
    PROBE,
    Batch,
    Put,
    Recalled,
    ScriptedStore,
    StoredRead,
    StoreError,
    StoreFigures,
)
from perfkit.caching.store.figures import WINDOW, added_up, count_arguments, figures_in, figures_of_all
from perfkit.caching.store.packing import Words, milliseconds
from perfkit.caching.store.redis import SCANNED_KEYS, glob_escaped
from perfkit.caching.store.scripts import FENCED, Script, ScriptForms
from perfkit.caching.store.server import Call, ServerChangedError, heard
from perfkit.caching.store.topology import Node, Topology, slot_of, slot_of_whole
from perfkit.caching.tags import ENTRY_KINDS
from perfkit.secrecy import without_secrets

T = TypeVar("T")

MOST_TRIES: Final = 3
"""Of one call, while slots move and nodes change."""


class ClusterStore(ScriptedStore):
    """Entries and tokens on all primaries of a cluster.

    Every method is one round trip to each node that it needs; a `read` without an entry may need a second one.
    Keys begin with the prefix, the run of the node and its reign. See Note [Reigns] in `reigns`.

    Args:
        topology: Says where keys are; its connections have our own time limits.
    """

    is_shared: ClassVar[bool] = True

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    def read(self, key: str, tags: Sequence[str]) -> StoredRead:
        entry, *found = self._peek((key, *tags))
        if entry is None and None in found:
            missing = [tag for tag, token in zip(tags, found, strict=True) if token is None]
            taken = dict(zip(missing, self.take(missing), strict=True))
            found = [taken.get(tag, token) for tag, token in zip(tags, found, strict=True)]
        return StoredRead(entry, tuple(found))

    def entries(self, keys: Sequence[str]) -> tuple[bytes | None, ...]:
        return tuple(self._peek(keys))

    def tokens(self, tags: Sequence[str]) -> tuple[bytes | None, ...]:
        return tuple(self._peek(tags))

    def take(self, tags: Sequence[str]) -> tuple[bytes, ...]:
        taken = self._scripted(FENCED.take, tags, tokens.TOKEN_TTL_MS, generation=tokens.new_generation)
        return tuple(taken)

    def fill(self, entries: Mapping[str, bytes], *, ttl_seconds: float) -> None:
        def fill() -> None:
            by_node: dict[Node, list[Call]] = {}
            for key, entry in entries.items():
                calls = by_node.setdefault(self._node_of(key), [])
                calls.append(Call(("SET",), (key,), entry, "PX", milliseconds(ttl_seconds)))
            _heard_from(by_node)

        self._call(fill)

    def offer(self, key: str, entry: bytes, *, ttl_seconds: float) -> None:
        def offer() -> None:
            node = self._node_of(key)
            node.tell("SET", node.key(key), entry, "PX", milliseconds(ttl_seconds))

        self._call(offer)

    def recall(self, keys: Sequence[str], wanted: Sequence[str]) -> Recalled:
        stored = self._peek(keys)
        named = [() if entry is None else tags_in(entry) for entry in stored]
        tags = list(dict.fromkeys(chain.from_iterable(named)))
        held = dict(zip(tags, self._peek(tags), strict=True))
        entries = []
        are_current = True
        for entry, names in zip(stored, named, strict=True):
            found = tuple(held[name] for name in names)
            are_current = are_current and bool(names) and tokens_in(entry or b"") == found
            entries.append((entry if names else None, found))
        return Recalled(tuple(entries), () if are_current else self.take(wanted))

    def look(self, key: str, tags: Sequence[str]) -> StoredRead:
        entry, *found = self._peek((key, *tags))
        return StoredRead(entry, tuple(found))

    def put(self, entries: Mapping[str, Put], *, ttl_seconds: int) -> None:
        own = self._renewed([put.own_tag for put in entries.values()])
        others = list(dict.fromkeys(tag for put in entries.values() for tag in put.tags if tag not in own))
        held = {**dict(zip(others, self.take(others), strict=True)), **own}
        made = {
            key: head_of(put.tags, [held[tag] for tag in put.tags]) + put.body for key, put in entries.items()
        }
        self.fill(made, ttl_seconds=ttl_seconds)

    def swap(self, tag: str, token: bytes) -> bytes | None:
        def swap() -> bytes | None:
            call = Call(FENCED.swap, (tag,), tokens.TOKEN_TTL_MS, token, generation=tokens.new_generation)
            [answer] = heard(self._node_of(tag).calls([call]))
            return answer  # type: ignore[no-any-return]

        return self._call(swap)

    def drop(self, keys: Sequence[str]) -> int:
        def drop() -> int:
            by_node: dict[Node, list[Call]] = {}
            for key in keys:
                by_node.setdefault(self._node_of(key), []).append(Call(("UNLINK",), (key,)))
            return sum(chain.from_iterable(_heard_from(by_node)))

        return self._call(drop)

    def find(self, pattern: str) -> Iterator[list[str]]:
        for node in self._call(self._topology.nodes):
            cursor: Any = "0"
            while True:
                cursor, keys = self._call(partial(_scanned, node, pattern=pattern, cursor=cursor))
                if keys:
                    yield keys
                if int(cursor) == 0:
                    break

    def lease(self, name: str, *, lease_ms: int) -> bool:
        def lease() -> bool:
            calls = [Call(("SET",), (name,), b"", "NX", "PX", lease_ms)]
            [answer] = heard(self._node_of(name).calls(calls, is_repeatable=False))
            return bool(answer)

        return self._call(lease)

    def is_leased(self, name: str) -> bool:
        return self._peek([name]) != [None]

    def release(self, name: str) -> None:
        def release() -> None:
            node = self._node_of(name)
            node.tell("UNLINK", node.key(name))

        self._call(release)

    def mark(self, tags: Sequence[str], *, writer: str) -> None:
        self._scripted(FENCED.mark, tags, writer, tokens.WRITE_LEASE_MS)

    def void(self, tags: Sequence[str], *, writers: Collection[str] = ()) -> None:
        self._scripted(FENCED.void, tags, tokens.TOKEN_TTL_MS, *writers, generation=tokens.new_generation)

    def probe(self) -> None:
        """Tell each node something, for one that cannot be told makes all of them useless."""

        def probe() -> None:
            left = {node: node for node in self._topology.nodes()}
            number = 0
            names = []
            while left:
                name = f"{PROBE}:{number}"
                number += 1
                if left.pop(self._node_of(name), None) is not None:
                    names.append(name)
            self._scripted(FENCED.void, names, tokens.TOKEN_TTL_MS, generation=tokens.new_generation)

        self._call(probe)

    def void_all(self) -> None:
        def void_all() -> None:
            for node in self._topology.nodes():
                for names in _all_names(node):
                    entries = [name for name in names if name.startswith(ENTRY_KINDS)]
                    node.ask_all([("UNLINK", node.key(name)) for name in entries])
                    self.void([name for name in names if not name.startswith((*ENTRY_KINDS, WINDOW))])

        self._call(void_all)

    def count(self, batch: Batch, *, windows: Mapping[str, int]) -> None:
        def count() -> None:
            by_node: dict[Node, list[Call]] = {}
            for name, seconds in windows.items():
                key = f"{WINDOW}{name}"
                call = Call(FENCED.count, (key,), *count_arguments(batch, kept_ms=seconds * 1000))
                by_node.setdefault(self._node_of(key), []).append(call)
            _heard_from(by_node)

        self._call(count)

    def counted(self, windows: Sequence[str]) -> dict[str, int]:
        def counted() -> dict[str, int]:
            by_node: dict[Node, list[Call]] = {}
            for name in windows:
                key = f"{WINDOW}{name}"
                by_node.setdefault(self._node_of(key), []).append(Call(("HGETALL",), (key,)))
            return added_up(chain.from_iterable(_heard_from(by_node)))

        return self._call(counted)

    def figures(self, *, counts_keys: bool = False) -> StoreFigures:
        def figures() -> StoreFigures:
            found = []
            for node in self._topology.nodes():
                node.meet()
                info, keys = node.ask_all([("INFO",), ("DBSIZE",)])
                found.append(figures_in(info, keys=keys))
            own = (
                sum(len(names) for node in self._topology.nodes() for names in _all_names(node))
                if counts_keys
                else None
            )
            return replace(figures_of_all(found), own_keys=own)

        return self._call(figures)

    def clear(self) -> None:
        def clear() -> None:
            for node in self._topology.nodes():
                for names in _all_names(node):
                    node.ask_all(
                        [("UNLINK", node.key(name)) for name in names]
                    )  # each may be of another slot

        self._call(clear)

    def run_script(self, script: ScriptForms, keys: Sequence[str], arguments: Words) -> Any:
        whole = [f"{self._topology.prefix}:{key}" for key in keys]

        def run() -> Any:
            node = self._topology.node_of(slot_of_whole(whole[0]))
            node.meet()
            return node.run_whole(script.fenced, whole, arguments)

        return self._call(run)

    def close(self) -> None:
        self._topology.leave()

    def _renewed(self, tags: Sequence[str]) -> dict[str, bytes]:
        """Give tags new generations, and return those that were sent last."""
        sent: dict[str, bytes] = {}

        def generation_of(tag: str) -> bytes:
            sent[tag] = tokens.new_generation()
            return sent[tag]

        def renew() -> None:
            by_node: dict[Node, list[Call]] = {}
            for tag in tags:
                call = Call(
                    ("SET",), (tag,), "PX", tokens.TOKEN_TTL_MS, generation=partial(generation_of, tag)
                )
                by_node.setdefault(self._node_of(tag), []).append(call)
            _heard_from(by_node)

        self._call(renew)
        return sent

    def _peek(self, names: Sequence[str]) -> list[bytes | None]:
        return self._scripted(FENCED.peek, names)

    def _scripted(
        self,
        script: Script,
        names: Sequence[str],
        *arguments: Any,
        generation: Callable[[], Any] | None = None,
    ) -> list[Any]:
        """Run a script on names wherever they are, and return what it says of each, in their order.

        A script may look at the keys of one slot only, so it runs once for each slot.
        """

        def scripted() -> list[Any]:
            by_node: dict[Node, list[Call]] = {}
            for slot, here in _by_slot(names).items():
                calls = by_node.setdefault(self._topology.node_of(slot), [])
                calls.append(Call(script, here, *arguments, generation=generation))
            told: dict[str, Any] = {}
            for calls, answers in zip(by_node.values(), _heard_from(by_node), strict=True):
                for call, answer in zip(calls, answers, strict=True):
                    if isinstance(answer, list):
                        told.update(zip(call.keys, answer, strict=True))
            return [told.get(name) for name in names]

        return self._call(scripted)

    def _node_of(self, name: str) -> Node:
        node = self._topology.node_of(slot_of(name))
        node.meet()
        return node

    def _call(self, command: Callable[[], T]) -> T:
        """Run `command` over the nodes as they are now.

        Raises:
            StoreError: One of them did not answer in time, or they changed again and again meanwhile.
        """
        problem: Exception = StoreError("nobody was asked")
        for _ in range(MOST_TRIES):
            try:
                return command()
            except (redis.exceptions.MovedError, ServerChangedError) as error:
                self._topology.doubt()
                problem = error
            except (redis.RedisError, OSError) as error:
                self._topology.doubt()  # another node may be in charge by the time it is tried again
                raise StoreError(without_secrets(str(error)) or type(error).__name__) from error
        text = f"the nodes of the cluster changed while they were asked: {problem}"
        raise StoreError(without_secrets(text)) from problem


def _by_slot(names: Iterable[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for name in dict.fromkeys(names):
        found.setdefault(slot_of(name), []).append(name)
    return found


def _heard_from(by_node: Mapping[Node, Sequence[Call]]) -> list[list[Any]]:
    """Have all nodes work at the same time, and return their answers."""
    for node in by_node:
        node.meet()
    exchanges = [node.calls(calls) for node, calls in by_node.items()]
    try:
        for exchange in exchanges:
            next(exchange)
        return [heard(exchange) for exchange in exchanges]
    finally:
        for exchange in exchanges:
            exchange.close()


def _scanned(node: Node, *, pattern: str, cursor: Any) -> tuple[Any, list[str]]:
    """Return where to look on, and the names of keys found now."""
    node.meet()
    before = f"{node.prefix}{{"
    cursor, keys = node.ask(
        *("SCAN", cursor, "MATCH", f"{glob_escaped(before)}{pattern}}}", "COUNT", SCANNED_KEYS)
    )
    return cursor, [key.decode()[len(before) : -1] for key in keys]


def _all_names(node: Node) -> Iterator[list[str]]:
    """Yield the names of all keys of this run of a node, some at a time."""
    cursor: Any = "0"
    while True:
        cursor, names = _scanned(node, pattern="*", cursor=cursor)
        yield names
        if int(cursor) == 0:
            return
