from __future__ import annotations

from tests.caching.processes import points
from tests.soak import disturbances, looks, names, report, writes
from tests.soak.crew import KILLS


def test_it_counts_all_there_is() -> None:
    assert list(looks.LOOKS) == list(names.LOOKS)
    assert list(writes.WRITES) == list(names.WRITES)
    assert set(looks.LOOKS) > looks.OF_ONE_ROW
    assert set(disturbances.DISTURBANCES) > report.OUTAGES
    assert len(set(names.COUNTERS)) == len(names.COUNTERS)


def test_it_kills_at_points_that_there_are() -> None:
    every = [point for points in names.POINTS.values() for point in points]
    assert {kill.partition(" ")[2] for kill in KILLS} == {"anywhere", "cut off from the database", *every}
    assert set(names.DOOMS) == {(deed, point) for deed in ("die", "freeze") for point in every}
    assert names.SEVERED not in names.DOOMS.values()
    text = f"{points.put_points.__doc__} {points.put_database_points.__doc__}"
    assert all(f"`{point.split()[1]}`" in text for point in every)
