"""Several hosts at once, and writers beside them: real processes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.caching.conftest import Outcome
from tests.caching.processes import Process
from tests.caching.warming.conftest import hits
from tests.testapp.models import Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

Start = Callable[..., Process]


@pytest.mark.parametrize("jobs", [1, 3])
def test_two_hosts_make_each_entry_about_once(
    start: Start, items: list[Item], reads: list[Outcome], jobs: int
) -> None:
    pks = [item.pk for item in items[:300]]
    hosts = [start(), start()]
    for host in hosts:
        host.start("warm_items", pks, jobs=jobs)
    told = [host.answer() for host in hosts]

    assert [result["error"] for result in told] == ["", ""]
    assert [result["wanted"] for result in told] == [900, 900]
    for result in told:
        assert result["entries"] + result["held"] == 900, "each waits until everything is there"
    assert sum(result["entries"] for result in told) == 900
    assert sum(result["calls"] for result in told) == 300
    assert hits(reads, items[:300]) == 300
    assert hosts[0].call("warm_items", pks)["held"] == 900


def test_a_host_does_what_one_that_dies_has_left(start: Start, items: list[Item]) -> None:
    pks = [item.pk for item in items[:300]]
    dying, other = start(), start()
    dying.start("warm_items", pks)
    assert dying.is_silent(0.05)
    dying.kill()
    told = other.call("warm_items_after", pks, lease_seconds=1)
    assert told["error"] == ""
    assert told["entries"] + told["held"] == 900


def test_writers_beside_it_leave_nothing_stale(start: Start, few: list[Item]) -> None:
    pks = [item.pk for item in few]
    seconds = 4.0
    writer, reader, *hosts = [start() for _ in range(4)]
    for host in hosts:
        host.start("warm_on", pks, seconds)
    writer.start("increment", pks[0], seconds)
    reader.start("watch_all", pks[0], seconds)
    told = reader.answer()
    assert told["stale"] == 0
    assert told["reads"] > 20
    assert writer.answer() > 20
    warmed = [host.answer() for host in hosts]
    assert sum(each["entries"] for each in warmed) > 100
    last = Item.plain.get(pk=pks[0]).count
    for process in (reader, *hosts):
        assert process.call("watch_all", pks[0], 0.2)["stale"] == 0
    assert Item.objects.get(pk=pks[0]).count == last
