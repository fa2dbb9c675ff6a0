"""A primary that sentinels watch: who is believed, and how long anybody waits for an answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median

import pytest
from django.conf import LazySettings

from perfkit.caching import coherence
from perfkit.caching.store import Store, StoreError, current_store
from perfkit.caching.tokens import new_writer
from tests.caching.conftest import Outcome, wait_until
from tests.caching.store.conftest import KINDS
from tests.plugins.aliases import alias
from tests.plugins.sentinel import DOWN_AFTER_MS, Watch
from tests.testapp.models import Item

pytestmark = [pytest.mark.redis]
ROW = "r:default:t:1"


@pytest.fixture(params=KINDS)
def watch(request: pytest.FixtureRequest, start_watch: Callable[..., Watch]) -> Watch:
    return start_watch(kind=request.param)


@pytest.fixture
def store(watch: Watch, settings: LazySettings) -> Iterator[Store]:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 0.5}
    settings.CACHES = {"default": alias(watch.url)}
    store = current_store()
    assert store is not None
    yield store
    store.close()


def answers(act: Callable[[], object]) -> bool:
    try:
        act()
    except StoreError:
        return False
    return True


def test_it_trusts_nothing_when_the_first_one_is_back_in_charge(watch: Watch, store: Store) -> None:
    """Nobody is restarted; the first has heard nothing of the writes meanwhile."""
    first = watch.primary
    [token] = store.take([ROW])
    store.fill({"e:1": b"entry"}, ttl_seconds=60)
    assert store.read("e:1", [ROW]) == (b"entry", (token,))
    watch.change_places()
    wait_until(lambda: answers(store.probe), seconds=30)
    writer = new_writer()
    store.mark([ROW], writer=writer)
    store.done([ROW], writer=writer)
    watch.change_places()
    assert watch.primary is first
    wait_until(lambda: answers(store.probe), seconds=30)
    assert any(first.client.get(key) == token for key in first.client.scan_iter())
    entry, found = store.read("e:1", [ROW])
    assert entry is None or found != (token,)


def test_a_primary_that_does_not_refuse_writes_without_replicas_is_not_used(
    start_watch: Callable[..., Watch], settings: LazySettings
) -> None:
    """While sentinels put another in its place, two would be believed; the message says what to set."""
    watch = start_watch(options=())
    settings.CACHES = {"default": alias(watch.url)}
    store = current_store()
    assert store is not None
    with pytest.raises(StoreError, match="min-replicas-to-write"):
        store.take([ROW])
    watch.primary.client.config_set("min-replicas-to-write", 1)
    wait_until(lambda: answers(store.probe))
    store.close()


def test_a_primary_without_its_replica_is_not_believed(watch: Watch, store: Store) -> None:
    [token] = store.take([ROW])
    store.fill({"e:1": b"entry"}, ttl_seconds=60)
    assert store.read("e:1", [ROW]) == (b"entry", (token,))
    replica = watch.replica
    replica.kill()
    wait_until(lambda: not answers(lambda: store.read("e:1", [ROW])))
    assert not answers(lambda: store.tokens([ROW]))
    assert not answers(lambda: store.mark([ROW], writer="0a"))
    replica.start()
    wait_until(
        lambda: answers(store.probe), seconds=40
    )  # the sentinels tell it whom to follow, in their own time


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_reads_go_on_at_the_speed_of_the_database_while_nobody_is_in_charge(
    start_watch: Callable[..., Watch], settings: LazySettings, reads: list[Outcome], outages: list[bool]
) -> None:
    """The primary dies together with a sentinel, as on one machine."""
    watch = start_watch()
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 0.1, "CACHE_RETRY_AFTER": 0.2}
    settings.CACHES = {"default": alias(watch.url)}
    item = Item.plain.create(name="old")
    for _ in range(2):
        Item.objects.get(pk=item.pk)
    assert reads[-1][1] == "hit"
    first, second = watch.primary, watch.replica
    watch.sentinels[0].kill()
    first.kill()
    took, number = [], 0
    while coherence.breaker.is_open or number < 20:
        number += 1
        began = time.monotonic()
        Item.plain.filter(pk=item.pk).update(name=f"write {number}")
        assert Item.objects.get(pk=item.pk).name == f"write {number}"
        took.append(time.monotonic() - began)
        if second.is_primary() and not first.is_running:
            first.start()  # as a replica it makes the other one whole
        assert sum(took) < 60
    assert median(took) < 0.1, "nobody waited for servers that are not there"
    assert sum(took) > DOWN_AFTER_MS / 1000
    assert outages[:1] == [True]

    def is_hit() -> bool:
        assert Item.objects.get(pk=item.pk).name == f"write {number}"
        return reads[-1][1] == "hit"

    wait_until(is_hit, seconds=30)
    assert outages == [True, False]
