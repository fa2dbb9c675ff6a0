"""An outside write is seen within the second, and nothing is stale after it."""

from __future__ import annotations

import multiprocessing
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from perfkit.caching.silence import LOOK_EVERY_SECONDS
from tests.caching.conftest import Outcome
from tests.caching.processes import Process
from tests.caching.triggers.conftest import dsn
from tests.caching.triggers.writer import ITEMS, ROWS, row_of, write, zone
from tests.testapp.models import Booking, Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

TRIES = 1000
PAUSE_SECONDS = 0.01
CONTEXT = multiprocessing.get_context("forkserver")

READS: dict[str, list[Callable[[int], int]]] = {
    ITEMS: [
        lambda key: Item.objects.get(pk=key).count,
        lambda key: Item.objects.filter(id__in=[key], count__gte=-1)[0].count,
    ],
    "testapp_booking": [
        lambda key: Booking.objects.get(pk=key).number or 0,
        lambda key: Booking.objects.filter(zone=zone(key))[0].number or 0,
    ],
}


def newest_before(committed: Any, version: int, moment: float) -> int:
    """Return the newest version of the same row that was committed before."""
    while version > 0 and not 0.0 < committed[version] <= moment:
        version -= 2 * ROWS
    return max(version, 0)


def first_of(version: int) -> int:
    """Return the first version of the same row."""
    return (version - 1) % (2 * ROWS) + 1


def test_it_sees_each_of_1000_outside_writes_within_the_second(
    install: Callable[..., Any],
    outside: psycopg.Connection,
    reads: list[Outcome],
    start: Callable[..., Process],
) -> None:
    """While two other processes read too, and take out of the outbox what they find there first."""
    install(Item, Booking)
    outside.execute(
        f"INSERT INTO testapp_item (id, name, count) SELECT n, 'x', 0 FROM generate_series(1, {2 * ROWS}) n"
    )
    outside.execute(
        "INSERT INTO testapp_booking (id, name, number, zone, is_paid) "
        f"SELECT n, 'x', 0, 'zone ' || n, true FROM generate_series(1, {ROWS + 200}) n"
    )
    committed = CONTEXT.Array("d", TRIES + 1, lock=False)
    writer = CONTEXT.Process(
        target=write, args=(dsn(), committed), kwargs={"pause_seconds": PAUSE_SECONDS}, daemon=True
    )
    others = [start(), start()]
    for other in others:
        other.start("watch", 1, PAUSE_SECONDS * TRIES)
    writer.start()
    seen: dict[int, float] = {}
    stale, behind = [], [0.0]
    dice = random.Random(2013)
    ends_at = float("inf")
    while time.monotonic() < ends_at:
        if ends_at == float("inf") and not writer.is_alive():
            assert writer.exitcode == 0
            ends_at = time.monotonic() + LOOK_EVERY_SECONDS + 1
        # The newest version that the row may have, so that most reads are of what has just been written.
        newest = dice.choice(list(range(TRIES, TRIES - 2 * ROWS, -1)))
        while newest > 0 and committed[newest] == 0.0:
            newest -= 2 * ROWS
        if newest <= 0:
            continue
        table, key = row_of(newest)
        began = time.monotonic()
        found = dice.choice(READS[table])(key)
        ended = time.monotonic()
        must = newest_before(committed, newest, began - LOOK_EVERY_SECONDS)
        if found < must:
            stale.append((table, key, found, must))
        elif found < newest_before(committed, newest, began):
            behind.append(began - committed[found + 2 * ROWS if found else first_of(newest)])
        for version in range(found, 0, -2 * ROWS):
            if version in seen:
                break
            seen[version] = ended
    assert all(other.answer()["reads"] > 0 for other in others)
    assert stale == []
    assert set(seen) == set(range(1, TRIES + 1)), "each was seen, itself or by a later one to the same row"
    late = [seen[version] - committed[version] for version in seen]
    assert max(behind) < LOOK_EVERY_SECONDS
    outcomes = Counter(outcome for _, outcome, _ in reads)
    print(
        f"{TRIES} writes, {sum(outcomes.values())} reads ({dict(outcomes)}); "
        f"seen after {statistics.median(late):.2f} s (median); no read was more than {max(behind):.2f} s behind"
    )
    assert outcomes["hit"] > TRIES / 10 < outcomes["miss"], "the cache was asked, and answered"
