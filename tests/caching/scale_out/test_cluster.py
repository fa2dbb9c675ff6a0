"""Processes that read and write on a cluster, stopped or killed at a point, and nodes that are not there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perfkit.caching.store.topology import slot_of
from perfkit.models import PendingInvalidation
from tests.caching.conftest import wait_until
from tests.caching.processes import Process
from tests.plugins.aliases import cluster_url
from tests.plugins.cluster import ClusterServer, DisposableCluster
from tests.testapp.models import Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

LEASE_MS = 700
WAITS = {"CACHE_OUTAGE_WRITES": "wait", "CACHE_TIMEOUT": 0.5}


@pytest.fixture
def cluster(start_cluster: Callable[..., DisposableCluster]) -> DisposableCluster:
    """Three primaries without replicas; what a dead one serves, the others do not miss."""
    return start_cluster(replicas=0, options=("--cluster-require-full-coverage", "no"))


@pytest.fixture
def open_on(cluster: DisposableCluster, start: Callable[..., Process]) -> Callable[..., Process]:
    """A function that starts a process which uses the cluster."""

    def open_on(**options: object) -> Process:
        return start(redis_url=cluster_url(cluster.addresses), **{**WAITS, **options})

    return open_on


@pytest.fixture
def pk() -> int:
    return Item.plain.create(name="old").pk


def keepers(cluster: DisposableCluster, reader: Process, pk: int) -> list[ClusterServer]:
    """Return the nodes that keep the tokens of a row's tags, as its reader has made them."""
    names = {
        key.rsplit(b"{", 1)[1].rstrip(b"}").decode()
        for node in cluster.primaries
        for key in node.client.scan_iter()
    }
    tags = [name for name in names if name.startswith("r:") and name.endswith(f":{pk}")]
    return [cluster.serving(slot_of(tag)) for tag in tags]


def cached(process: Process, pk: int, value: str) -> None:
    wait_until(lambda: process.call("get", pk) == [value, "hit"], seconds=30)


@pytest.mark.parametrize("atomic", [False, True])
def test_a_write_that_a_node_cannot_be_told_of_goes_on_in_silence(
    pk: int, atomic: bool, cluster: DisposableCluster, open_on: Callable[..., Process]
) -> None:
    reader, writer = open_on(), open_on()
    cached(reader, pk, "old")
    writer.call("update", pk, "older")
    cached(reader, pk, "older")
    [keeper] = keepers(cluster, reader, pk)
    keeper.kill()
    assert writer.call("update", pk, "new", atomic=atomic) == ""
    assert PendingInvalidation.objects.exists()
    assert reader.call("get", pk)[0] == "new"
    keeper.start()
    cached(writer, pk, "new")  # it takes its notice back
    cached(reader, pk, "new")
    wait_until(lambda: not PendingInvalidation.objects.exists(), seconds=30)
    assert writer.call("update", pk, "newer", atomic=atomic) == ""
    assert reader.call("get", pk)[0] == "newer"


def test_a_process_killed_after_commit(
    pk: int, cluster: DisposableCluster, open_on: Callable[..., Process]
) -> None:
    reader, writer = open_on(), open_on(lease_ms=LEASE_MS)
    cached(reader, pk, "old")
    writer.call("stop", "after COMMIT")
    writer.start("update", pk, "new", atomic=True)
    writer.wait_at("after COMMIT")
    writer.kill()
    assert reader.call("get", pk) == ["new", "bypass write in flight"]
    cached(reader, pk, "new")


@pytest.mark.parametrize("which", ["the row's", "another"])
def test_a_done_that_one_node_does_not_hear_is_not_heard(
    pk: int, which: str, cluster: DisposableCluster, open_on: Callable[..., Process]
) -> None:
    """It may be the one with the row's token, or one that keeps only what the table's lists depend on."""
    reader, writer = open_on(), open_on()
    cached(reader, pk, "old")
    [keeper] = keepers(cluster, reader, pk)
    others = [node for node in cluster.primaries if node is not keeper]
    writer.call("stop", "before done")
    writer.start("update", pk, "new", atomic=True)
    writer.wait_at("before done")
    hanging = [keeper] if which == "the row's" else others
    for node in hanging:
        node.pause()
    writer.go()
    assert writer.answer() == ""
    for node in hanging:
        node.resume()
    assert reader.call("get", pk)[0] == "new"
    cached(reader, pk, "new")
    wait_until(lambda: not PendingInvalidation.objects.exists(), seconds=30)


def test_a_reader_paused_before_its_fill_while_the_slots_of_its_tokens_move(
    pk: int, cluster: DisposableCluster, open_on: Callable[..., Process]
) -> None:
    reader, other, writer = open_on(), open_on(), open_on()
    cached(other, pk, "old")
    [keeper] = keepers(cluster, reader, pk)
    writer.call("update", pk, "old")
    reader.call("stop", "before fill")
    reader.start("get", pk)
    reader.wait_at("before fill")
    target = next(node for node in cluster.primaries if node is not keeper)
    slots = sorted(
        {slot_of(key.rsplit(b"{", 1)[1].rstrip(b"}").decode()) for key in keeper.client.scan_iter()}
    )
    for slot in slots:
        cluster.move(slot, keeper, target)
    assert writer.call("update", pk, "new") == ""
    for slot in slots:
        cluster.move(slot, target, keeper)
    reader.go()
    assert reader.answer()[0] == "old", "it began before the write"
    for process in (reader, other, writer):
        assert process.call("get", pk)[0] == "new"
    cached(reader, pk, "new")
