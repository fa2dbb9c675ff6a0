"""A cluster of Valkey or Redis for one test, whose nodes may be killed, and whose slots may be moved."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from project.services.processes import free_port
from project.services.state import LOOPBACK
from tests.plugins.nodes import Node, programs, wait_for

SLOTS = 16_384
NODE_TIMEOUT_MS = 1_000
"""How long a node may be silent before the others give its slots to its replica."""

FAIL_OVER_SECONDS = 2.5 * NODE_TIMEOUT_MS / 1000
"""After that a replica that nobody has voted for asks again: nobody votes twice in a short time."""


class ClusterServer(Node):
    """One node of a cluster."""

    def __init__(self, program: Path, folder: Path, *options: str) -> None:
        port, self.bus_port = free_port(), free_port()
        password = options[options.index("--requirepass") + 1] if "--requirepass" in options else None
        super().__init__(
            program,
            folder,
            *("--bind", LOOPBACK, "--port", str(port), "--save", "", "--appendonly", "no"),
            *("--cluster-enabled", "yes", "--cluster-config-file", f"nodes-{port}.conf"),
            *("--cluster-port", str(self.bus_port), "--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
            *("--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0", *options),
            port=port,
            password=password,
        )

    @property
    def id(self) -> str:
        """What it is called in the cluster."""
        return text(self.ask("CLUSTER", "MYID"))

    def ask(self, *command: Any) -> Any:
        return self.client.execute_command(*command)

    def epochs(self) -> tuple[int, int]:
        """Return the latest epoch that it has heard of, and its own."""
        told = dict(line.split(":", 1) for line in text(self.ask("CLUSTER", "INFO")).split() if ":" in line)
        return int(told["cluster_current_epoch"]), int(told["cluster_my_epoch"])

    def sees(self, *claims: str) -> bool:
        """Say whether CLUSTER INFO says all of this."""
        with suppress(redis.RedisError):
            told = text(self.ask("CLUSTER", "INFO"))
            return all(claim in told.splitlines() for claim in claims)
        return False


class DisposableCluster:
    """Three primaries that share the slots, and as many replicas as are asked for."""

    def __init__(self, program: Path, *, replicas: int, options: tuple[str, ...] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self.primaries = [ClusterServer(program, folder, *options) for _ in range(3)]
        self.replicas = [ClusterServer(program, folder, *options) for _ in range(replicas)]

    @property
    def servers(self) -> list[ClusterServer]:
        return [*self.primaries, *self.replicas]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [(LOOPBACK, server.port) for server in self.servers]

    def start(self) -> None:
        """Start the nodes and make them one cluster; all of them know it when this returns."""
        for server in self.servers:
            server.start()
        share = SLOTS // len(self.primaries) + 1
        for number, server in enumerate(self.primaries):
            last = min((number + 1) * share, SLOTS) - 1
            server.ask("CLUSTER", "ADDSLOTSRANGE", number * share, last)
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        first = self.primaries[0]
        for server in self.servers[1:]:
            first.ask("CLUSTER", "MEET", LOOPBACK, server.port, server.bus_port)
        known = f"cluster_known_nodes:{len(self.servers)}"
        wait_for(lambda: all(server.sees(known, "cluster_state:ok") for server in self.servers))
        for number, replica in enumerate(self.replicas):
            replica.ask("CLUSTER", "REPLICATE", self.primaries[number].id)
        wait_for(lambda: all(self.is_in_step(replica) for replica in self.replicas))
        wait_for(lambda: all(self.knows_replicas(server) for server in self.servers))

    def is_in_step(self, replica: ClusterServer) -> bool:
        told = replica.client.info("replication")
        return bool(told["role"] == "slave" and told["master_link_status"] == "up")

    def knows_replicas(self, server: ClusterServer) -> bool:
        """Say whether a node has heard who is whose replica."""
        shares = server.ask("CLUSTER", "SLOTS")
        return sum(len(share) - 3 for share in shares) == len(self.replicas)

    def stop(self) -> None:
        for server in self.servers:
            server.client.close()
            if server.is_running:
                server.kill()
        self._folder.cleanup()

    def serving(self, slot: int) -> ClusterServer:
        """Return the node that serves a slot, as the first that can be asked says."""
        server = next(self.told_of(slot), None)
        assert server is not None, f"Nobody serves slot {slot}."
        return server

    def told_of(self, slot: int) -> Iterator[ClusterServer]:
        """Yield which node serves a slot, as each that can be asked says; a while after a change they differ."""
        for server in self.servers:
            if not server.is_running or server.is_paused:
                continue
            for first, last, (_, port, *_), *_ in server.ask("CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    yield next(each for each in self.servers if each.port == port)

    def first_slot_of(self, primary: ClusterServer) -> int:
        shares = primary.ask("CLUSTER", "SLOTS")
        return next(int(first) for first, _, (_, port, *_), *_ in shares if port == primary.port)

    def fail_over(self, primary: ClusterServer, replica: ClusterServer, *how: str) -> None:
        """Have a replica take the place of a living primary, and the primary become its replica."""
        asked = 0.0

        def is_done() -> bool:
            nonlocal asked
            if time.monotonic() - asked > FAIL_OVER_SECONDS:
                asked = time.monotonic()
                replica.ask("CLUSTER", "FAILOVER", *how)
            return replica.is_primary() and not primary.is_primary()

        slot = self.first_slot_of(primary)
        wait_for(is_done)
        wait_for(lambda: self.is_in_step(primary))
        wait_for(lambda: all(told is replica for told in self.told_of(slot)))

    def begin_to_move(self, slot: int, source: ClusterServer, target: ClusterServer) -> None:
        """Let both know that a slot is on its way."""
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)

    def move_keys(self, slot: int, source: ClusterServer, target: ClusterServer) -> int:
        """Move the keys of a slot, and return how many there were."""
        moved = 0
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            moved += len(keys)
            source.ask("MIGRATE", LOOPBACK, target.port, "", 0, 5000, "REPLACE", "KEYS", *keys)
        return moved

    def end_move(self, slot: int, target: ClusterServer) -> None:
        """Give the slot to its new node for good; everybody knows, and knows its epoch, when this returns."""
        for server in (target, *(each for each in self.primaries if each is not target)):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)
        wait_for(lambda: self.agrees() and all(told is target for told in self.told_of(slot)))

    def agrees(self) -> bool:
        """Say whether all nodes that can be asked know the latest epoch, and say the same of the slots."""
        asked = [server for server in self.servers if server.is_running and not server.is_paused]
        epochs = [server.epochs() for server in asked]
        owners = [
            {(first, last): port for first, last, (_, port, *_), *_ in server.ask("CLUSTER", "SLOTS")}
            for server in asked
        ]
        is_known = min(current for current, _ in epochs) == max(max(each) for each in epochs)
        return is_known and all(each == owners[0] for each in owners)

    def move(self, slot: int, source: ClusterServer, target: ClusterServer) -> int:
        """Move a slot with its keys, as `redis-cli --cluster reshard` does; return how many keys."""
        self.begin_to_move(slot, source, target)
        moved = self.move_keys(slot, source, target)
        self.end_move(slot, target)
        return moved


def text(answer: Any) -> str:
    return answer.decode() if isinstance(answer, bytes) else str(answer)


@pytest.fixture
def start_cluster() -> Iterator[Callable[..., DisposableCluster]]:
    """A function that starts a cluster of the test's own."""
    clusters = []

    def start(*, kind: str = "valkey", replicas: int = 3, options: tuple[str, ...] = ()) -> DisposableCluster:
        program = programs()[kind]()
        assert program is not None, "There is no redis-server on the path."
        cluster = DisposableCluster(program, replicas=replicas, options=options)
        clusters.append(cluster)
        cluster.start()
        return cluster

    yield start
    for cluster in clusters:
        cluster.stop()
