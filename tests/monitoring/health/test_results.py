from __future__ import annotations

import pytest

from perfkit.monitoring.health import CheckResult, Report, Status

OK, DEGRADED, FAILED = Status.OK, Status.DEGRADED, Status.FAILED


def report(*statuses: Status) -> Report:
    return Report(tuple(CheckResult(f"c{i}", status, 0.25, "text") for i, status in enumerate(statuses)))


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [((), OK), ((OK, OK), OK), ((OK, DEGRADED), DEGRADED), ((DEGRADED, FAILED, OK), FAILED)],
)
def test_it_is_as_bad_as_its_worst_check(statuses: tuple[Status, ...], worst: Status) -> None:
    assert report(*statuses).status is worst


def test_without_details_it_tells_the_status_and_nothing_else() -> None:
    told = report(FAILED)
    assert told.as_dict(has_details=False) == {"status": "failed"}
    assert told.as_text(has_details=False) == "failed\n"


def test_with_details_it_tells_all_checks() -> None:
    told = report(DEGRADED)
    check = {"name": "c0", "status": "degraded", "seconds": 0.25, "message": "text"}
    assert told.as_dict(has_details=True) == {"status": "degraded", "checks": [check]}
    assert told.as_text(has_details=True) == "degraded\nc0  degraded   0.2500 s  text\n"


def test_a_family_is_well_where_all_of_it_is() -> None:
    parts = (
        CheckResult("database.a", OK, 0),
        CheckResult("database.b", DEGRADED, 0),
        CheckResult("c", OK, 0),
    )
    assert Report(parts).is_well("c")
    assert not Report(parts).is_well("database")
    assert not Report(parts).is_well("data")
