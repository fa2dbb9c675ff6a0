"""The six tests, with real processes that are stopped or killed at the exact point.

A read that starts after a commit has returned to its writer never yields an older value.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db.models import Max
from django.db.models.functions import Now

from perfkit.caching.store import current_store
from perfkit.models import PendingInvalidation
from project.services.processes import free_port
from project.services.state import LOOPBACK
from tests.caching.conftest import wait_until
from tests.caching.processes import Process
from tests.caching.processes.child import FIRST_BOOKING
from tests.testapp.models import Booking, Bundle, Item, Sample

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

LEASE_MS = 700


@pytest.fixture(scope="module")
def readers(django_db_setup: None) -> Iterator[list[Process]]:
    """The process that reads in all tests, for none of them kills it; others only where a test has failed."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.end()


@pytest.fixture
def reader(readers: list[Process]) -> Process:
    """A process that knows nothing yet."""
    if not readers or not readers[-1].is_at_rest:
        readers.append(Process())
    readers[-1].call("begin_anew")
    return readers[-1]


KINDS = (
    *("get", "list", "joined list", "many to many", "values", "aggregate", "declared list"),
    *("function", "async function", "function of raw SQL", "function of rows", "method"),
    *("page", "page by the middleware", "asynchronous page"),
)
"""See `child.READS`."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _patient(settings: Any) -> None:
    """This process writes too: on a busy machine it must not take the server for dead, and write in silence."""
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 5.0}


@pytest.fixture
def pk(_patient: None, request: pytest.FixtureRequest) -> int:
    if "kind" in request.fixturenames and request.getfixturevalue("kind") == "declared list":
        last = Booking.plain.aggregate(Max("pk"))["pk__max"] or FIRST_BOOKING
        return Booking.plain.create(pk=last + 1, name="old", zone="north").pk
    item = Item.plain.create(name="old")
    Sample.plain.create(item=item)
    Bundle.plain.create(pk=item.pk).items.add(item)
    return item.pk


def cached(process: Process, pk: int, kind: str = "get") -> None:
    """Have the answer in the cache, as this process sees it."""
    comes_to_hit(process, pk, kind)


def comes_to_hit(process: Process, pk: int, kind: str, value: str | None = None) -> None:
    """Have the process read until the cache answers it, each time with this value."""
    outcomes: Counter[str] = Counter()

    def is_hit() -> bool:
        found, *told = process.call("get", pk, kind)
        outcome = ", ".join(told)  # a function that is not kept tells of the reads within it too
        assert value is None or found == value
        outcomes[outcome] += 1
        return bool(outcome == "hit")

    try:
        wait_until(is_hit, seconds=30)
    except AssertionError as error:
        error.add_note(f"What the reads came to: {dict(outcomes)}")
        raise


def test_1_a_reader_paused_between_its_select_and_its_fill(
    pk: int, kind: str, reader: Process, start: Callable[..., Process]
) -> None:
    writer = start()
    for write in ({}, {"atomic": True}):
        current_store().clear()  # type: ignore[union-attr]
        writer.call("update", pk, "old")
        reader.call("stop", "before fill")
        reader.start("get", pk, kind)
        reader.wait_at("before fill")
        assert writer.call("update", pk, "new", **write) == ""
        reader.go()
        assert reader.answer() == ["old", "miss"], "it began before the write"
        for process in (reader, writer):
            assert process.call("get", pk, kind)[0] == "new"


def test_1_a_reader_paused_between_its_tokens_and_its_select(
    pk: int, kind: str, reader: Process, start: Callable[..., Process]
) -> None:
    writer = start()
    cached(writer, pk, kind)
    for point in ("before read", "after read", "before statement", "after statement"):
        current_store().clear()  # type: ignore[union-attr]
        writer.call("update", pk, "old")
        reader.call("stop", point)
        reader.start("get", pk, kind)
        reader.wait_at(point)
        writer.call("update", pk, "new")
        reader.go()
        reader.answer()
        assert writer.call("get", pk, kind)[0] == "new", point


@pytest.mark.parametrize("point", ["before mark", "before statement", "after statement", "before done"])
def test_2_a_reader_beside_an_autocommit_update(
    pk: int, kind: str, reader: Process, start: Callable[..., Process], point: str
) -> None:
    writer = start()
    cached(reader, pk, kind)
    writer.call("stop", point)
    writer.start("update", pk, "new")
    writer.wait_at(point)
    # What a save changes is known when it has run, so it runs in a transaction and is marked afterwards.
    is_marked = point == "before done" if kind == "declared list" else point != "before mark"
    is_committed = is_marked and point != "before statement"
    for _ in range(2):
        value, outcome = reader.call("get", pk, kind)
        assert value == ("new" if is_committed else "old")
        assert outcome == ("bypass write in flight" if is_marked else "hit")
    writer.go()
    assert writer.answer() == ""
    assert [reader.call("get", pk, kind) for _ in range(2)] == [["new", "miss"], ["new", "hit"]]


def test_3_a_process_killed_after_commit(
    pk: int, kind: str, reader: Process, start: Callable[..., Process]
) -> None:
    writer = start(lease_ms=LEASE_MS)
    cached(reader, pk, kind)
    writer.call("stop", "after COMMIT")
    writer.start("update", pk, "new", atomic=True)
    writer.wait_at("after COMMIT")
    writer.kill()
    assert reader.call("get", pk, kind) == ["new", "bypass write in flight"]
    comes_to_hit(reader, pk, kind, "new")


def test_3_a_process_killed_after_an_autocommit_statement(
    pk: int, kind: str, reader: Process, start: Callable[..., Process]
) -> None:
    writer = start(lease_ms=LEASE_MS)
    cached(reader, pk, kind)
    point = "after COMMIT" if kind == "declared list" else "after statement"  # it runs in a transaction
    writer.call("stop", point)
    writer.start("update", pk, "new")
    writer.wait_at(point)
    writer.kill()
    assert reader.call("get", pk, kind)[0] == "new"
    comes_to_hit(reader, pk, kind, "new")


@pytest.mark.parametrize("point", ["after mark", "before COMMIT"])
def test_3_a_process_killed_before_commit(
    pk: int, kind: str, reader: Process, start: Callable[..., Process], point: str
) -> None:
    writer = start(lease_ms=LEASE_MS)
    cached(reader, pk, kind)
    writer.call("stop", point)
    writer.start("update", pk, "never", atomic=True)
    writer.wait_at(point)
    writer.kill()
    assert reader.call("get", pk, kind) == ["old", "bypass write in flight"]
    comes_to_hit(reader, pk, kind, "old")


def test_3_a_dead_writer_is_not_kept_alive_by_those_who_write_on(
    pk: int, reader: Process, start: Callable[..., Process]
) -> None:
    dead, living = start(lease_ms=LEASE_MS), start()
    cached(reader, pk)
    dead.call("stop", "after COMMIT")
    dead.start("update", pk, "of the dead", atomic=True)
    dead.wait_at("after COMMIT")
    dead.kill()
    number = 0

    def is_cached_though_written_all_the_time() -> bool:
        nonlocal number
        number += 1
        living.call("update", pk, f"write {number}")
        answers = [reader.call("get", pk) for _ in range(2)]
        assert [value for value, _ in answers] == [f"write {number}"] * 2
        return bool(answers[1][1] == "hit")

    wait_until(is_cached_though_written_all_the_time)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_4_a_reader_that_would_fill_from_its_old_snapshot(
    pk: int, kind: str, reader: Process, start: Callable[..., Process], level: str
) -> None:
    writer = start()
    reader.call("execute", f"BEGIN ISOLATION LEVEL {level}")
    assert reader.call("plain", pk) == "old"
    writer.call("update", pk, "new")
    assert reader.call("get", pk, kind) == ["old", "bypass snapshot"]
    assert writer.call("get", pk, kind) == ["new", "miss"]
    assert reader.call("get", pk, kind) == ["old", "bypass snapshot"], "within one snapshot time stands still"
    reader.call("execute", "COMMIT")
    assert reader.call("get", pk, kind) == ["new", "hit"]


def nowhere() -> str:
    return f"redis://{LOOPBACK}:{free_port()}/0"


NOTICE_MS = 4_000
"""How long a notice holds here, that a process writes in silence."""

LONG_NOTICE_MS = 600_000
"""Longer than any test takes."""


def is_trusted_again(reader: Process, pk: int, kind: str, value: str) -> None:
    """See that what a dead process wrote in silence is read from the database until its notice ends."""
    assert reader.call("get", pk, kind) == [value, "bypass written in silence"]
    wait_until(lambda: reader.call("get", pk, kind) == [value, "hit"])
    assert not PendingInvalidation.objects.exists()


@pytest.mark.parametrize("atomic", [False, True])
def test_5_a_writer_cut_off_that_waits(
    pk: int, kind: str, reader: Process, start: Callable[..., Process], atomic: bool
) -> None:
    writer = start(redis_url=nowhere(), lease_ms=NOTICE_MS, CACHE_OUTAGE_WRITES="wait")
    cached(reader, pk, kind)
    for number in range(3):
        value = f"write {number}"
        seconds = writer.call("timed_update", pk, value, atomic=atomic)
        assert seconds >= 1.0 or number > 0
        assert reader.call("get", pk, kind)[0] == value
        assert writer.call("get", pk, kind)[0] == value
    writer.kill()
    is_trusted_again(reader, pk, kind, "write 2")


@pytest.mark.parametrize("kind", ["get", "declared list"], indirect=True)  # one of each table
@pytest.mark.parametrize("atomic", [False, True])
def test_5_a_writer_cut_off_waits_once(
    pk: int, kind: str, reader: Process, start: Callable[..., Process], atomic: bool
) -> None:
    writer = start(redis_url=nowhere(), lease_ms=LONG_NOTICE_MS, CACHE_OUTAGE_WRITES="wait")
    cached(reader, pk, kind)
    assert writer.call("timed_update", pk, "write 0", atomic=atomic) >= 1.0
    notices = PendingInvalidation.objects.filter(holds_until__isnull=False).order_by("pk")
    left = list(notices.values())
    assert left
    for number in range(1, 4):
        writer.call("timed_update", pk, f"write {number}", atomic=atomic)
        assert list(notices.values()) == left, "who leaves none need not wait"
        assert reader.call("get", pk, kind)[0] == f"write {number}"
    writer.kill()
    notices.update(holds_until=Now())
    wait_until(lambda: reader.call("get", pk, kind) == ["write 3", "hit"])
    assert not PendingInvalidation.objects.exists()


@pytest.mark.parametrize("atomic", [False, True])
def test_5_a_writer_cut_off_that_goes_on(
    pk: int, kind: str, reader: Process, start: Callable[..., Process], atomic: bool
) -> None:
    writer = start(redis_url=nowhere(), lease_ms=NOTICE_MS)
    cached(reader, pk, kind)
    assert writer.call("timed_update", pk, "write 0", atomic=atomic) < 1.0
    committed = time.monotonic()
    assert writer.call("get", pk, kind)[0] == "write 0", "never stale for the process that wrote"
    while reader.call("get", pk, kind)[0] != "write 0":
        assert time.monotonic() - committed < 1.1, "stale for too long"
    for number in range(1, 6):
        assert writer.call("timed_update", pk, f"write {number}", atomic=atomic) < 1.0
        assert reader.call("get", pk, kind)[0] == f"write {number}", "everybody knows"
    writer.kill()
    is_trusted_again(reader, pk, kind, "write 5")


def test_5_a_writer_cut_off_for_longer_than_its_notice_holds(
    pk: int, reader: Process, start: Callable[..., Process]
) -> None:
    writer = start(redis_url=nowhere(), lease_ms=1_000)
    cached(reader, pk)
    writer.call("update", pk, "write 0")
    wait_until(lambda: reader.call("get", pk)[0] == "write 0")
    deadline = time.monotonic() + 3.0
    number = 0
    while time.monotonic() < deadline:
        number += 1
        writer.call("update", pk, f"write {number}")
        assert reader.call("get", pk)[0] == f"write {number}"
    assert PendingInvalidation.objects.count() >= 1
    writer.kill()
    wait_until(lambda: reader.call("get", pk) == [f"write {number}", "hit"])


@pytest.mark.parametrize("atomic", [False, True])
def test_5_a_writer_cut_off_that_is_refused(
    pk: int, reader: Process, start: Callable[..., Process], atomic: bool
) -> None:
    writer = start(redis_url=nowhere(), CACHE_OUTAGE_WRITES="refuse")
    cached(reader, pk)
    for _ in range(2):
        assert writer.call("update", pk, "never", atomic=atomic) == "CacheUnavailableError"
        assert writer.call("plain", pk) == "old"
        assert reader.call("get", pk) == ["old", "hit"]
    assert not PendingInvalidation.objects.exists()


def test_5_a_writer_cut_off_that_rolls_back(pk: int, reader: Process, start: Callable[..., Process]) -> None:
    """The outbox tells of nothing that was not committed."""
    writer = start(redis_url=nowhere())
    cached(reader, pk)
    writer.call("execute", "BEGIN")
    writer.call("update", pk, "never")
    writer.call("execute", "ROLLBACK")
    assert not PendingInvalidation.objects.exists()
    assert reader.call("get", pk) == ["old", "hit"]


def test_6_a_process_killed_before_done_after_another_has_read(
    pk: int, kind: str, reader: Process, start: Callable[..., Process]
) -> None:
    writer, late = start(lease_ms=LEASE_MS), start()
    for process in (reader, late):
        process.call("get", pk, kind)  # the first time it takes longer, and the mark does not stand for long
    current_store().clear()  # type: ignore[union-attr]
    late.call("stop", "before fill")
    late.start("get", pk, kind)
    late.wait_at("before fill")
    writer.call("stop", "before COMMIT")
    writer.call("stop", "after COMMIT")
    writer.start("update", pk, "new", atomic=True)
    writer.wait_at("before COMMIT")
    assert reader.call("get", pk, kind) == ["old", "bypass write in flight"]
    writer.go()
    writer.wait_at("after COMMIT")
    writer.kill()
    late.go()
    assert late.answer() == ["old", "miss"], "it began before the write"
    for process in (reader, late):
        assert process.call("get", pk, kind)[0] == "new"
    comes_to_hit(reader, pk, kind, "new")
    assert late.call("get", pk, kind) == ["new", "hit"]


@pytest.mark.parametrize("point", ["", "before COMMIT", "after COMMIT"])
def test_it_follows_a_row_that_another_process_has_moved_meanwhile(
    reader: Process, start: Callable[..., Process], point: str
) -> None:
    """The instance was loaded in the north; what is saved leaves the south."""
    early, mover = start(lease_ms=LEASE_MS), start()
    moved = Booking.plain.create(pk=FIRST_BOOKING + 500, zone="north").pk
    for other, place in ((FIRST_BOOKING + 501, "north"), (FIRST_BOOKING + 502, "south")):
        Booking.plain.create(pk=other, zone=place)
    early.call("load", moved)
    mover.call("load", moved)
    mover.call("save", "south")
    for name, found in (("north", [moved + 1]), ("south", [moved, moved + 2])):
        reader.call("zone", name)
        assert reader.call("zone", name) == [found, "hit"]
    if point:
        early.call("stop", point)
    early.start("save", "north")
    if point:
        early.wait_at(point)
        early.kill()
    else:
        early.answer()
    if point != "before COMMIT":
        assert reader.call("zone", "south")[0] == [moved + 2]
        assert reader.call("zone", "north")[0] == [moved, moved + 1]
    wait_until(lambda: reader.call("zone", "south")[1] == "hit")
    assert (moved in reader.call("zone", "south")[0]) == (point == "before COMMIT")


def test_it_is_never_stale_under_load(pk: int, start: Callable[..., Process]) -> None:
    writer, *readers = (start() for _ in range(3))
    hits: Counter[int] = Counter()

    def each_has_hit() -> bool:
        for reader in readers:
            reader.start("watch", pk, 2.0)
        writer.start("increment", pk, 2.0)
        told = [reader.answer() for reader in readers]
        assert writer.answer() > 0
        assert [each["stale"] for each in told] == [0, 0]
        hits.update({number: each["hit"] for number, each in enumerate(told)})
        return all(hits[number] > 10 for number in range(len(readers)))

    wait_until(each_has_hit, seconds=60)
