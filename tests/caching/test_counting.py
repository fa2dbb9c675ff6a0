"""What is counted is what happened: in threads, in forks, in many processes, whatever becomes of the server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.core.signals import request_finished
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.caching import astatistics, cached, statistics, token_scope
from perfkit.caching import counting as module
from perfkit.caching.counting import LONGEST_TEXT, MOST_LABELS, OTHER, SLOT_SECONDS, Counting, counting
from perfkit.caching.reports import ReadStatistics, summed
from perfkit.caching.store import Store, StoreError, current_store, forget_store
from perfkit.caching.store.local import LocalStore
from perfkit.signals import cache_read
from tests.caching.conftest import Outcome, forget_everything, wait_until
from tests.caching.processes import Process
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Airfield, Item, Sample

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("counted")]

ITEM = "testapp.Item"


class Function:
    """As a cached function tells of itself."""

    def __init__(self, name: Any) -> None:
        self.name = name


def tell(sender: Any, outcome: str = "hit", reason: str = "", times: int = 1) -> None:
    for _ in range(times):
        cache_read.send(sender=sender, outcome=outcome, reason=reason)


def hit_often() -> None:
    for _ in range(5000):
        counting.hit(Item)


def look_often() -> None:
    for _ in range(300):
        counting.waiting(since=0)
        counting.tell()


def of(label: str, **options: Any) -> ReadStatistics:
    """Return what is known of a model or function."""
    labels = {each.label: each for each in statistics(**options).labels}
    return labels.get(label, ReadStatistics(label))


def read_in_some_way(way: str) -> None:
    if way == "get":
        Item.objects.get(pk=1)
    elif way == "absent":
        Item.objects.filter(pk=10_000).first()
    elif way == "list":
        list(Airfield.objects.filter(name__startswith="a"))
    elif way == "random":
        list(Item.objects.order_by("?"))
    elif way == "write":
        Item.plain.filter(pk=1).update(count=1)
    elif way == "in a transaction":
        with transaction.atomic():
            Item.plain.filter(pk=1).update(count=2)
            Item.objects.get(pk=1)
    else:
        list(Sample.objects.select_related("item"))


WAYS = ("get", "absent", "list", "random", "write", "in a transaction", "joined")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ways=st.lists(st.sampled_from(WAYS), max_size=30))
def test_it_counts_what_the_signal_tells(ways: list[str], reads: list[Outcome]) -> None:
    forget_everything()
    store = current_store()
    assert store is not None
    store.clear()
    Item.plain.get_or_create(pk=1, defaults={"name": "one"})
    reads.clear()
    for way in ways:
        read_in_some_way(way)
    told = Counter(reads)
    found = statistics()
    assert {
        (each.label.removeprefix("testapp."), outcome, reason): number
        for each in found.labels
        for outcome, reason, number in [
            ("hit", "", each.hits),
            ("miss", "", each.misses),
            *(("bypass", reason, number) for reason, number in each.bypasses.items()),
        ]
        if number
    } == dict(told)
    assert found.total.hits == sum(number for (_, outcome, _), number in told.items() if outcome == "hit")
    assert found.total.bypassed == sum(
        number for (_, outcome, _), number in told.items() if outcome == "bypass"
    )
    assert statistics(window="day").total == found.total


def test_it_says_what_share_was_answered() -> None:
    assert statistics().total.hit_rate is None
    tell(Item, times=9)
    tell(Item, "miss")
    tell(Function("shop.top"), "miss")
    tell(Function("shop.top"), "bypass", "size", times=3)
    found = statistics()
    assert (of(ITEM).hit_rate, found.total.hit_rate) == (0.9, 9 / 11)
    assert of("shop.top") == ReadStatistics("shop.top", misses=1, bypasses={"size": 3})
    assert found.total.refused_for_size == 3
    assert [each.label for each in found.labels] == [ITEM, "shop.top"]


def test_hits_that_ask_nobody_are_counted_whether_anybody_listens_or_not() -> None:
    item = Item.plain.create(name="one")
    heard: list[str] = []

    def listen(outcome: str, **_: Any) -> None:
        heard.append(outcome)

    with token_scope():
        for _ in range(20):
            Item.objects.get(pk=item.pk)
        cache_read.connect(listen)
        try:
            for _ in range(5):
                Item.objects.get(pk=item.pk)
        finally:
            cache_read.disconnect(listen)
    assert heard == ["hit"] * 5
    assert (of(ITEM).hits, of(ITEM).misses) == (24, 1)


def test_what_functions_return_is_counted_by_their_names() -> None:
    @cached(ttl=60)
    def doubled(number: int) -> int:
        return 2 * number

    with token_scope():
        assert [doubled(number) for number in (1, 1, 1, 2)] == [2, 2, 2, 4]
    found = of(doubled.name)
    assert (found.hits, found.misses, found.bypassed) == (2, 2, 0)


def test_it_loses_nothing_in_threads() -> None:
    switched = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=tell, args=(model, outcome), kwargs={"times": 5000})
            for model in (Item, Airfield)
            for outcome in ("hit", "miss", "hit")
        ]
        threads += [threading.Thread(target=hit_often) for _ in range(3)]
        threads += [threading.Thread(target=look_often) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(50):
            counting.tell()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switched)
    assert of(ITEM) == ReadStatistics(ITEM, hits=25_000, misses=5000)
    assert statistics().total == ReadStatistics("", hits=35_000, misses=10_000)


@pytest.mark.redis
def test_a_fork_tells_its_own_and_not_what_its_parent_has_counted() -> None:
    tell(Item, times=7)
    counting.add_up()
    tell(Item, times=1)
    child = os.fork()
    if child == 0:  # pragma: no cover  # in another process
        try:
            tell(Item, "miss", times=5)
            counting.tell()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert of(ITEM) == ReadStatistics(ITEM, hits=8, misses=5)


def test_it_tells_at_a_read_after_a_while_and_at_the_end_of_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[int] = []
    now = [1000.0]
    store = LocalStore()
    monkeypatch.setattr(module, "current_store", lambda: store)
    monkeypatch.setattr(store, "count", lambda batch, windows: told.append(sum(batch.counts.values())))
    mine = Counting(clock=lambda: now[0])
    monkeypatch.setattr(module, "counting", mine)

    mine.note(Item, "hit", "")
    assert told == []
    now[0] += 4.9
    mine.note(Item, "hit", "")
    assert told == []
    now[0] += 0.2
    mine.note(Item, "hit", "")
    assert told == [3]
    for _ in range(2000):
        mine.note(Item, "hit", "")
    module.work_ended()
    assert told == [3], "it is less than a second ago"
    now[0] += 1.1
    module.work_ended()
    assert told == [3, 2000]
    now[0] += 100
    module.work_ended()
    assert told == [3, 2000], "there is nothing"


def test_the_end_of_a_request_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TELL_AT_END_SECONDS", 0.0)
    tell(Item, times=2)
    store = current_store()
    assert store is not None
    monkeypatch.setattr(counting, "_told", 0.0)
    request_finished.send(sender=None)
    assert not counting.waiting(since=0)
    assert of(ITEM).hits == 2


def test_after_a_refusal_requests_do_not_wait_for_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    now = [1000.0]
    store = LocalStore()

    def count(*_: Any, **__: Any) -> None:
        asked.append(1)
        raise StoreError("down")

    monkeypatch.setattr(module, "current_store", lambda: store)
    monkeypatch.setattr(store, "count", count)
    mine = Counting(clock=lambda: now[0])
    monkeypatch.setattr(module, "counting", mine)
    for _ in range(58):
        now[0] += 1.0
        mine.note(Item, "hit", "")
        module.work_ended()
    assert len(asked) == 2
    mine.tell()
    assert len(asked) == 3, "who asks for it does"


@pytest.mark.redis
def test_a_process_tells_at_its_end() -> None:
    code = (
        "import django; django.setup()\n"
        "from perfkit.signals import cache_read\n"
        "from tests.testapp.models import Item\n"
        "for _ in range(3): cache_read.send(sender=Item, outcome='hit', reason='')\n"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=environment)
    assert of(ITEM).hits == 3


def test_it_counts_nothing_where_it_is_switched_off(settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_STATISTICS": False}
    tell(Item, times=2000)
    counting.add_up()
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_STATISTICS": True}
    assert statistics().labels == ()
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False, "CACHE_ALIAS": "nowhere"}
    tell(Item, times=2000)
    request_finished.send(sender=None)
    found = statistics()
    assert (found.labels, found.problem) == ((), "Caching is off.")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("a\tb\nc\x00", "a�b�c�"),
        ("x" * 5000, "x" * (LONGEST_TEXT - 1) + "…"),
        ("\ud800", "�"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        (7, OTHER),
        (None, OTHER),
        ("", ""),
    ],
)
def test_any_name_is_harmless(name: Any, label: str) -> None:
    tell(Function(name), reason=f"{name}")
    assert of(label).hits == 1


def test_a_sender_that_cannot_be_hashed_is_counted() -> None:
    class Odd(Function):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

    tell(Odd("odd"), times=3)
    tell(Item)
    assert (of("odd").hits, of(ITEM).hits) == (3, 1)


def test_it_has_room_for_so_many_names_only() -> None:
    for number in range(MOST_LABELS + 50):
        tell(Function(f"f{number}"))
    for number in range(200):
        tell(Function("f0"), "bypass", f"custom expression {number}")
    found = {each.label: each for each in statistics().labels}
    assert len(found) == MOST_LABELS + 1
    assert found[OTHER].hits == 50
    assert sum(found["f0"].bypasses.values()) == 200
    assert len(found["f0"].bypasses) <= module.MOST_REASONS + 1


def test_foreign_numbers_are_no_reads() -> None:
    assert summed({"hit\t\ta": 1, "hut\t\ta": 1, "": 5, "hit": 2, "hit\ta": 3, "outage\t\t": 4}) == (
        (ReadStatistics("a", hits=1),),
        4,
    )


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000 * SLOT_SECONDS + 1.0

    def __call__(self) -> float:
        return self.now


def test_the_hour_and_the_day_end_now(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(counting, "_now", clock)

    def seen() -> tuple[int, int]:
        return statistics().total.hits, statistics(window="day").total.hits

    tell(Item)
    assert seen() == (1, 1)
    clock.now += 3000
    tell(Item, times=10)
    assert seen() == (11, 11)
    clock.now += 3000
    assert seen() == (10, 11)
    assert (clock.now - statistics().since.timestamp()) // 60 in range(60, 66)
    assert (clock.now - statistics(window="day").since.timestamp()) // 3600 in {24, 25}
    clock.now += 22 * 3600
    assert seen() == (0, 11)
    clock.now += 4 * 3600
    assert seen() == (0, 0)


def test_what_waits_during_an_outage_keeps_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, store = Clock(), LocalStore()
    mine = Counting(now=clock)
    is_down = True

    def count(*args: Any, **kwargs: Any) -> None:
        if is_down:
            raise StoreError("down")
        LocalStore.count(store, *args, **kwargs)

    monkeypatch.setattr(store, "count", count)
    monkeypatch.setattr(module, "current_store", lambda: store)
    for _ in range(100):
        mine.note(Item, "hit", "")
        mine.tell()
        clock.now += SLOT_SECONDS
    assert sum(mine.waiting(since=0).values()) == 100
    assert sum(mine.waiting(since=clock.now - 3600).values()) == 12
    is_down = False
    for _ in range(20):
        mine.tell()
    assert mine.waiting(since=0) == {}
    slots = [int(clock.now // SLOT_SECONDS) - back for back in range(1, 101)]
    assert store.counted([f"m{slot}" for slot in slots]) == {f"hit\t\t{ITEM}": 100}
    assert store.counted([f"m{slots[3]}"]) == {f"hit\t\t{ITEM}": 1}


def test_it_remembers_a_day_of_an_outage_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, store = Clock(), LocalStore()
    mine = Counting(now=clock)
    monkeypatch.setattr(module, "current_store", lambda: store)
    monkeypatch.setattr(store, "count", _refuse)
    for _ in range(1000):
        mine.note(Item, "hit", "")
        mine.tell()
        clock.now += SLOT_SECONDS
    assert sum(mine.waiting(since=0).values()) <= module.MOST_SLOTS + 1


def _refuse(*_: Any, **__: Any) -> None:
    raise StoreError("down")


@pytest.mark.redis
class TestServer:
    """The cache server goes and comes back."""

    @pytest.fixture(autouse=True)
    def _counted(self, server: DisposableValkey, counted: None) -> None:
        pass

    def test_what_is_counted_while_it_hangs_is_told_once(self, server: DisposableValkey) -> None:
        tell(Item, times=3)
        counting.tell()
        server.pause()
        for _ in range(4):
            tell(Item, times=10)
            counting.tell()
        found = statistics()
        assert found.problem
        assert found.total.hits == 40, "the others are on the server"
        server.resume()
        assert of(ITEM).hits == 43
        assert statistics(window="day").total.hits == 43

    @pytest.mark.postgres
    def test_an_outage_is_counted_and_told_when_it_is_over(self, server: DisposableValkey) -> None:
        Item.plain.get_or_create(pk=1, defaults={"name": "one"})
        Item.objects.get(pk=1)
        server.kill()
        for _ in range(10):
            Item.objects.get(pk=1)
        found = statistics()
        assert found.is_down
        assert found.total.bypasses == {"outage": 10}
        assert found.outages == 1
        server.start()
        counting.tell()

        def is_back() -> bool:
            Item.objects.get(pk=1)
            return not statistics().is_down

        wait_until(is_back)
        found = statistics()
        assert found.outages == 1
        assert found.total.bypasses["outage"] >= 10
        assert not counting.waiting(since=0)

    def test_a_server_that_refuses_numbers_is_no_outage(
        self, server: DisposableValkey, direct: Any, outages: list[bool]
    ) -> None:
        tell(Item, times=3)
        direct.config_set("maxmemory-policy", "noeviction")
        direct.config_set("maxmemory", 1)
        counting.tell()
        assert outages == []
        direct.config_set("maxmemory", 0)
        assert of(ITEM).hits == 3

    def test_it_tells_figures_of_the_server(self, server: DisposableValkey) -> None:
        figures = statistics(counts_keys=True).store
        assert figures is not None
        assert figures.name.startswith("Valkey ")
        assert figures.used_bytes > 100_000
        assert figures.own_keys == 0


@pytest.mark.redis
@pytest.mark.postgres
def test_processes_are_merged_and_one_that_is_killed_loses_its_last_seconds_alone(
    start: Callable[..., Process],
) -> None:
    item = Item.plain.create(name="one")
    processes = [start(CACHE_STATISTICS=True) for _ in range(3)]
    happened: Counter[str] = Counter()
    for process in processes:
        happened.update(process.call("read_often", item.pk, 1500))
        process.call("tell_counts")
    lost = Counter(processes[0].call("read_often", item.pk, 20))
    processes[0].kill()
    for process in processes[1:]:
        happened.update(process.call("read_often", item.pk, 10))
        process.call("tell_counts")
    found = of(ITEM)
    assert found.bypassed == 0
    assert happened["hit"] <= found.hits <= happened["hit"] + lost["hit"]
    assert (found.hits + found.misses) - sum(happened.values()) in range(21)
    assert found.hits + found.misses >= 4520


def test_it_can_be_asked_from_async_code() -> None:
    tell(Item, times=2)
    assert async_to_sync(astatistics)(window="day").total.hits == 2


def test_a_window_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'hour', 'day'"):
        statistics(window="week")


def test_it_has_no_figures_where_there_is_no_store(settings: LazySettings) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    forget_store()
    tell(Item, times=600)
    counting.tell()
    found = statistics()
    assert (found.store, found.labels, found.problem) == (None, (), "Caching is off.")


def test_a_store_of_its_own_is_not_shared(settings: LazySettings) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    forget_store()
    tell(Item, times=3)
    found = statistics(counts_keys=True)
    assert isinstance(current_store(), Store)
    assert (found.is_shared, found.total.hits) == (False, 3)
    assert found.store is not None
    assert (found.store.own_keys, found.store.evicted) == (0, 0)


def test_the_local_store_counts_what_it_throws_out() -> None:
    store = LocalStore(most_bytes=1000)
    store.fill({f"e:{number}": bytes(300) for number in range(10)}, ttl_seconds=60)
    assert store.figures().evicted == 7
