"""Which node of a cluster serves which key, as redis-py finds it out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import redis
from redis.cluster import ClusterNode, NodesManager
from redis.crc import key_slot
from redis.exceptions import RedisClusterException

from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.store.reigns import CLUSTERED
from perfkit.caching.store.server import Server

OURS: Final = ("host", "port", "db", "path", "retry")
"""Settings of a connection that differ from node to node, or that a cluster does not have."""


class Address(NamedTuple):
    """Where a node listens."""

    host: str
    port: int


class Node(Server):
    """A primary of a cluster, in one of its reigns.

    The braces around a name make its slot that of the name alone, so that it does not depend on who serves it.
    """

    def key(self, name: str) -> str:
        """Return the key by which `name` is known here."""
        return f"{self.prefix}{{{name}}}"


def slot_of(name: str) -> int:
    """Return the slot of the key that `Node.key` makes of `name`."""
    return key_slot(b"{%b}" % name.encode())


def slot_of_whole(key: str) -> int:
    """Return the slot of a key that is sent as it is: that of its text in braces, where it has one."""
    return key_slot(key.encode())


class Topology:
    """The primaries of a cluster, found out when they are first needed, and again after a doubt.

    Args:
        addresses: Of nodes that are asked at first; one that answers is enough.
        connection_class: A class of redis-py's connections.
        settings: What it is made with, apart from the address.
        prefix: Begins every key.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        connection_class: type[Any],
        settings: Mapping[str, Any],
        *,
        prefix: str,
    ) -> None:
        self._addresses = addresses
        self._connection_class = connection_class
        self._settings = {name: value for name, value in settings.items() if name not in OURS}
        self._retry = settings["retry"]
        self.prefix = prefix.replace("{", "(")  # else the slot of a key would not be that of its name
        self._lock = fork_safe_lock()
        self._found: NodesManager | None = None
        self._pid = os.getpid()
        self._nodes: dict[str, Node] = {}
        self._is_doubtful = False

    def node_of(self, slot: int) -> Node:
        """Return who serves a slot.

        Raises:
            ConnectionError: Nobody does, or no node answers.
        """
        found = self._known()
        try:
            primary = found.slots_cache[slot][0]
        except LookupError as error:
            raise redis.ConnectionError(f"no node of the cluster serves slot {slot}") from error
        return self._node(primary)

    def nodes(self) -> list[Node]:
        """Return all who serve slots."""
        found = self._known()
        primaries = {slot_nodes[0].name: slot_nodes[0] for slot_nodes in list(found.slots_cache.values())}
        return [self._node(primary) for primary in primaries.values()]

    def doubt(self) -> None:
        """Find out anew before the next answer."""
        self._is_doubtful = True

    def leave(self) -> None:
        """Close the connections that nobody uses at this moment."""
        for node in list(self._nodes.values()):
            node.leave()
        if self._found is not None:
            self._found.close()

    def _known(self) -> NodesManager:
        if self._found is not None and not self._is_doubtful and self._pid == os.getpid():
            return self._found
        with self._lock:
            try:
                return self._found_out()
            except RedisClusterException as error:  # none of redis-py's other errors
                raise redis.ConnectionError(str(error)) from error

    def _found_out(self) -> NodesManager:
        """Ask the nodes; the caller holds the lock."""
        if self._found is None or self._pid != os.getpid():  # its locks may have been held at the fork
            self._pid = os.getpid()
            self._found = NodesManager(
                [ClusterNode(*address) for address in self._addresses],  # type: ignore[no-untyped-call]
                from_url=True,  # so that it takes the settings of a connection
                require_full_coverage=True,
                connection_class=self._connection_class,
                **self._settings,
            )
        elif self._is_doubtful:
            self._found.initialize()
        self._is_doubtful = False
        names = {nodes[0].name for nodes in self._found.slots_cache.values()}
        for name in [name for name, node in self._nodes.items() if node.has_changed or name not in names]:
            self._nodes.pop(name).leave()
        return self._found

    def _node(self, primary: Any) -> Node:
        node = self._nodes.get(primary.name)
        if node is None:
            settings = {**self._settings, "host": primary.host, "port": primary.port, "retry": self._retry}
            node = Node(self._connection_class, settings, prefix=self.prefix, reign=CLUSTERED)
            node = self._nodes.setdefault(primary.name, node)
        return node
