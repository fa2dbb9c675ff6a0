from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from benchmarks import run
from benchmarks.queued.layer import JOB, STAGES, TASK, _section


def test_it_tells_the_median_of_the_rounds_differences() -> None:
    """The bare task's own times differ more from round to round than the job's from it."""
    bare, more = [0.001, 0.009, 0.002], [0.0004, 0.0002, 0.0009]
    times: Any = defaultdict(list)
    for stage in STAGES:
        times[TASK, stage] = bare
        times[JOB, stage] = [own + extra for own, extra in zip(bare, more, strict=True)]
    section = _section("one row", (TASK, JOB), times, goal=0.5)
    assert [round(figure.value, 6) for figure in section.figures] == [0.4, 0.4, 0.4, 0.8]
    assert [figure.goal for figure in section.figures] == [None, None, 0.5, None]
    assert section.lines[2] == ("enqueued: perfkit job", "2.9", "0.4")


@pytest.mark.parametrize("arguments", [["bulk", "--jobs", "5"], ["tasks", "--jobs", "0"]])
def test_only_the_room_of_tasks_has_a_number_of_jobs(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        run._parsed(arguments)
    assert run._parsed(["tasks", "--jobs", "5"]).jobs == 5
