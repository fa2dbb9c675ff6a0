"""Soaks on servers that are replaced: a cluster, and a primary that sentinels watch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Final

from tests.plugins.aliases import cluster_url
from tests.plugins.cluster import SLOTS, ClusterServer, DisposableCluster
from tests.plugins.nodes import wait_for
from tests.plugins.sentinel import Watch
from tests.soak.report import Plan
from tests.soak.run import Soak

MOVED_SLOTS: Final = 6


class ScaledSoak(Soak):
    """One whose servers nobody can be cut off from.

    Args:
        url: As `tests.plugins.aliases` has it.
        disturbances: What is done to the servers, by name.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        url: str,
        disturbances: Mapping[str, Callable[[Any], None]],
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(plan, server=None, tell=tell)  # type: ignore[arg-type]
        self._url = url
        self._disturbances = disturbances

    def _ways(self, stack: ExitStack) -> tuple[str, str]:
        return self._url, self._url


def on_cluster(cluster: DisposableCluster) -> tuple[str, dict[str, Callable[[Soak], None]]]:
    """Return the way to a cluster with a replica for each primary, and what may be done to it.

    Each ends when the cluster is whole again.
    """

    def primary_killed(soak: Soak) -> None:
        """A node crashes; its replica has whatever it had been told by then."""
        first, second = _pair(cluster)
        before = soak.counts()
        with soak.writers_spared():
            first.kill()
            soak.until_it_shows(before)
            _until(soak, second.is_primary)
        first.start()
        _until(soak, lambda: cluster.is_in_step(first))

    def primary_paused(soak: Soak) -> None:
        """A node hangs, and goes on when another has its slots."""
        first, second = _pair(cluster)
        before = soak.counts()
        with soak.writers_spared():
            first.pause()
            try:
                soak.until_it_shows(before)
                _until(soak, second.is_primary)
            finally:
                first.resume()
        _until(soak, lambda: not first.is_primary())
        _until(soak, lambda: cluster.is_in_step(first))

    def places_changed(soak: Soak) -> None:
        """A primary and its replica change places, twice; nobody is restarted."""
        first, second = _pair(cluster)
        for one, other in ((first, second), (second, first)):
            with soak.writers_spared():
                cluster.fail_over(one, other)
            soak.hold(0.2, 0.5)

    def slots_moved(soak: Soak) -> None:
        """Slots go to another node with all their keys, and come back."""
        source, target, _ = (server for server in cluster.servers if server.is_primary())
        slots = [slot for slot in range(0, SLOTS, 7) if cluster.serving(slot) is source][:MOVED_SLOTS]
        for one, other in ((source, target), (target, source)):
            for slot in slots:
                with soak.writers_spared():
                    cluster.move(slot, one, other)
                soak.hold(0.02, 0.1)

    acts = (primary_killed, primary_paused, places_changed, slots_moved)
    return cluster_url(cluster.addresses), {act.__name__: act for act in acts}


def on_watch(watch: Watch) -> tuple[str, dict[str, Callable[[Soak], None]]]:
    """Return the way to a primary that sentinels watch, and what may be done to it."""

    def primary_killed(soak: Soak) -> None:
        """The primary crashes; its replica has whatever it had been told by then."""
        first, second = watch.primary, watch.replica
        before = soak.counts()
        with soak.writers_spared():
            first.kill()
            soak.until_it_shows(before)
            _until(soak, lambda: watch.primary is second and second.is_primary())
        first.start()
        _until(soak, lambda: first.follows(second))

    def places_changed(soak: Soak) -> None:
        """The primary and its replica change places, twice; nobody is restarted."""
        for _ in range(2):
            with soak.writers_spared():
                watch.change_places()
            soak.hold(0.2, 0.5)

    return watch.url, {act.__name__: act for act in (primary_killed, places_changed)}


def _pair(cluster: DisposableCluster) -> tuple[ClusterServer, ClusterServer]:
    """Return a primary and its replica."""
    primaries = {server.port: server for server in cluster.servers if server.is_primary()}
    for server in cluster.servers:
        told = server.client.info("replication")
        if told["role"] == "slave" and told["master_port"] in primaries:
            return primaries[told["master_port"]], server
    raise AssertionError("No primary has a replica.")


def _until(soak: Soak, claim: Callable[[], bool]) -> None:
    """Wait for something that servers do, while processes are looked after."""

    def tended() -> bool:
        soak.tend()
        return claim()

    wait_for(tended)
