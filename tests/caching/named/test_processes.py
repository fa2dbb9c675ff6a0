"""Named values in several processes that are stopped, killed, or cut off from the cache server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from perfkit.caching.store import current_store
from perfkit.models import PendingInvalidation
from project.services.processes import free_port
from project.services.state import LOOPBACK
from tests.caching.conftest import wait_until
from tests.caching.processes import RENEWED_SECONDS, Process

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

LEASE_MS = 700


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[Callable[..., Process]]:
    """Start processes that end with the test."""
    started: list[Process] = []

    def begin(**options: Any) -> Process:
        started.append(Process(**options))
        return started[-1]

    yield begin
    for process in started:
        process.end()


def nowhere() -> str:
    return f"redis://{LOOPBACK}:{free_port()}/0"


VOIDS: dict[str, dict[str, Any]] = {
    "key": {"patterns": ["a:b:c"]},
    "pattern": {"patterns": ["a:*"]},
    "tag": {"tags": ["tagged"]},
}


@pytest.fixture(params=VOIDS)
def void(request: pytest.FixtureRequest) -> Callable[..., str]:
    what = VOIDS[request.param]

    def voided(process: Process, **options: Any) -> str:
        return str(process.call("void", *what.get("patterns", []), tags=what.get("tags", []), **options))

    voided.what = what  # type: ignore[attr-defined]
    return voided


def begin_void(process: Process, void: Any, **options: Any) -> None:
    process.start("void", *void.what.get("patterns", []), tags=void.what.get("tags", []), **options)


def test_all_processes_see_what_is_set_replaced_and_voided(start: Callable[..., Process], void: Any) -> None:
    one, other = start(), start()
    for value in ("first", "second"):
        assert one.call("set_value", "a:b:c", value, tags=["tagged"])
        assert other.call("get_value", "a:b:c") == [value, "hit"]
        assert other.call("get_value", "a:b:c") == [value, "hit"]
    assert void(one) == ""
    assert other.call("get_value", "a:b:c") == [None, "miss"]


@pytest.mark.parametrize("commits", [True, False])
def test_a_transaction_voids_with_its_commit(start: Callable[..., Process], void: Any, commits: bool) -> None:
    one, other = start(), start()
    one.call("set_value", "a:b:c", "value", tags=["tagged"])
    assert void(one, atomic=True, commits=commits) == ""
    assert other.call("get_value", "a:b:c") == ([None, "miss"] if commits else ["value", "hit"])


@pytest.mark.parametrize("point", ["before COMMIT", "after COMMIT"])
def test_a_process_killed_around_commit(start: Callable[..., Process], void: Any, point: str) -> None:
    one, other = start(lease_ms=LEASE_MS), start()
    one.call("set_value", "a:b:c", "value", tags=["tagged"])
    assert other.call("get_value", "a:b:c") == ["value", "hit"]
    one.call("stop", point)
    begin_void(one, void, atomic=True)
    one.wait_at(point)
    one.kill()
    assert other.call("get_value", "a:b:c")[0] is None, "it is marked"
    time.sleep(LEASE_MS / 1000 + 0.1)
    assert other.call("get_value", "a:b:c") == [None, "miss"], "and void when the mark ends"


@pytest.mark.parametrize("atomic", [False, True])
def test_a_process_cut_off_tells_by_the_outbox(
    start: Callable[..., Process], void: Any, atomic: bool
) -> None:
    one, other = start(redis_url=nowhere()), start()
    other.call("set_value", "a:b:c", "value", tags=["tagged"])
    assert other.call("get_value", "a:b:c") == ["value", "hit"]
    assert void(one, atomic=atomic) == ""
    voided = time.monotonic()
    while other.call("get_value", "a:b:c")[0] is not None:
        assert time.monotonic() - voided < 1.2, "stale for too long"
    assert not PendingInvalidation.objects.exists()


@pytest.mark.parametrize("atomic", [False, True])
def test_a_process_cut_off_that_waits(start: Callable[..., Process], void: Any, atomic: bool) -> None:
    one, other = start(redis_url=nowhere(), CACHE_OUTAGE_WRITES="wait"), start()
    other.call("set_value", "a:b:c", "value", tags=["tagged"])
    assert other.call("get_value", "a:b:c") == ["value", "hit"]
    assert void(one, atomic=atomic) == ""
    assert other.call("get_value", "a:b:c") == [None, "miss"]


@pytest.mark.parametrize("atomic", [False, True])
def test_a_process_cut_off_that_is_refused(start: Callable[..., Process], void: Any, atomic: bool) -> None:
    one, other = start(redis_url=nowhere(), CACHE_OUTAGE_WRITES="refuse"), start()
    other.call("set_value", "a:b:c", "value", tags=["tagged"])
    assert void(one, atomic=atomic) == "CacheUnavailableError"
    assert other.call("get_value", "a:b:c") == ["value", "hit"]
    assert not PendingInvalidation.objects.exists()


def test_while_the_server_is_down_there_is_nothing(start: Callable[..., Process]) -> None:
    one = start(redis_url=nowhere())
    assert one.call("set_value", "a", "value") is False
    value, outcome = one.call("get_value", "a")
    assert (value, outcome) == (None, "bypass outage")


def test_of_processes_that_miss_together_one_makes_the_value(start: Callable[..., Process]) -> None:
    processes = [start() for _ in range(4)]
    for number, process in enumerate(processes):
        process.start("slowly_made", 0.5, f"by {number}")
    answers = {process.answer() for process in processes}
    assert len(answers) == 1


def test_if_the_one_is_killed_another_takes_over(start: Callable[..., Process]) -> None:
    first, second = start(flight_seconds=0.5), start(flight_seconds=0.5)
    first.call("stop", "making")
    first.start("slowly_made", 0.0, "by the first")
    first.wait_at("making")
    second.start("slowly_made", 0.0, "by the second")
    assert second.is_silent(0.2), "it waits for the first"
    first.kill()
    started = time.monotonic()
    assert second.answer() == "by the second"
    assert time.monotonic() - started < 2.0


def test_who_has_waited_in_vain_waits_for_nobody_else(start: Callable[..., Process]) -> None:
    first, *others = [start() for _ in range(4)]
    for process in (first, *others):
        process.call("stop", "making")
    first.start("made_in_vain")
    first.wait_at("making")
    for process in others:
        process.start("made_in_vain")
    assert all(process.is_silent(0.1) for process in others), "they wait for the first"
    first.go()
    first.answer()
    for process in others:
        process.wait_at("making")  # all at once, though none of them has made anything yet
    for process in others:
        process.go()
        process.answer()


def test_of_all_processes_one_makes_it_anew_before_it_ends(start: Callable[..., Process]) -> None:
    processes = [start() for _ in range(4)]
    lifetimes = 3
    for process in processes:
        process.start("ask_numbered", lifetimes * RENEWED_SECONDS)
    told = [process.answer() for process in processes]
    made = sum(times for _, times in told)
    assert lifetimes <= made <= 2 * lifetimes, "once in each lifetime, or a little more often"
    shown_of_all = len({value for shown, _ in told for value in shown})
    # What a process makes ahead at its end nobody may have asked for any more.
    assert made - len(processes) <= shown_of_all <= made, "everything that was made was shown"
    for shown, _ in told:
        assert len(shown) == len(set(shown)), "nobody is shown an older one again"


def test_a_value_made_before_it_was_voided_is_not_shown_after(start: Callable[..., Process]) -> None:
    one, other = start(), start()
    one.call("stop", "making")
    one.start("slowly_made", 0.0, "old")
    one.wait_at("making")
    assert other.call("void", "slowly") == ""
    one.go()
    assert one.answer() == "old", "it began before"
    assert other.call("slowly_made", 0.0, "new") == "new"
    assert one.call("slowly_made", 0.0, "newer") == "new"


def test_a_flushed_server_has_forgotten(start: Callable[..., Process]) -> None:
    one = start()
    one.call("set_value", "a", "value")
    current_store().clear()  # type: ignore[union-attr]
    assert one.call("get_value", "a") == [None, "miss"]
    wait_until(lambda: one.call("set_value", "a", "again"))
    assert one.call("get_value", "a") == ["again", "hit"]
