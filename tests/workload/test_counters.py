from __future__ import annotations

from perfkit.workload.counters import Counters, Sighting

SHAPE = "SELECT %s"


def test_what_could_not_be_written_down_is_there_with_what_came_since() -> None:
    counters = Counters()
    counter = counters.counter("default", SHAPE, most=1, may_keep=True)
    assert counter is not None
    counter.calls, counter.seconds = 4, 1.0
    counter.sightings = {slot: Sighting(f"SELECT {slot}", "a.py:1", 1.0, takings=2) for slot in (0, 1, 2)}
    taken = counters.take("default")
    counter.calls, counter.seconds = 2, 0.5
    counter.sightings = {1: Sighting("SELECT 1", "a.py:1", 2.0), 2: Sighting("SELECT 9", "a.py:1", 2.0)}
    counters.put_back("default", taken)
    (all_of_it,) = counters.take("default")
    assert (all_of_it.calls, all_of_it.seconds) == (6, 1.5)
    told = {slot: (seen.statement, seen.takings) for slot, seen in sorted(all_of_it.sightings.items())}
    assert told == {0: ("SELECT 0", 2), 1: ("SELECT 1", 3), 2: ("SELECT 9", 1)}
