from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.soak import names
from tests.soak.report import MUST_HIT, Plan, Recovery, Report

PLAN = Plan(
    seconds=10,
    seed="seed",
    readers=1,
    writers=1,
    policy="wait",
    disturbances=("killed", "flushed"),
    kills=("writer anywhere",),
)


def report(**facts: Any) -> Report:
    """A run that has proved everything, but for what `facts` say."""
    looked = {f"hit {name}": 100 for name in MUST_HIT}
    written = {f"write {name}": 100 for name in names.WRITES}
    others = {
        "hit": 5_000,
        "outbox": 10,
        "bypass outage": 10,
        "bypass write in flight": 10,
        "look second sweep": 100,
        "hit second sweep": 95,
    }
    counts = Counter({**looked, **written, **others, **facts.pop("counts", {})})
    fine: dict[str, Any] = {
        "plan": PLAN,
        "began": 1000.0,
        "seconds": 10.0,
        "counts": counts,
        "kills": Counter({"writer anywhere": 3}),
        "recoveries": [
            Recovery("killed", 0.5, 0.4),
            Recovery("killed", 1.5, 0.6),
            Recovery("flushed", 0.1, 0.7),
        ],
        "events": [(1001.0, "killed"), (1003.5, "killed: over")],
        "faults": [],
        "unproved": [],
    }
    return Report(**{**fine, **facts})


def test_it_is_content_with_a_run_that_has_proved_everything() -> None:
    assert report().shortcomings() == []


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"counts": {"hit": 10}}, "Only 10 reads were hits."),
        ({"counts": {"hit count": 1}}, "It happened only 1 times: hit count."),
        ({"counts": {"hit in a scope": 0}}, "It happened only 0 times: hit in a scope."),
        ({"counts": {"write bulk insert": 0}}, "It happened only 0 times: write bulk insert."),
        ({"counts": {"hit in a snapshot": 1}}, "A read in a snapshot was a hit."),
        ({"counts": {"bypass write in flight": 0}}, "No reader met a writer in flight."),
        ({"counts": {"hit second sweep": 80}}, "Of 100 looks in the second sweep 80 were hits."),
        ({"counts": {"look second sweep": 0}}, "Of 0 looks in the second sweep 95 were hits."),
        ({"counts": {"outbox": 0}}, "No outage was noticed, or no write went through the outbox."),
        ({"counts": {"bypass outage": 0}}, "No outage was noticed, or no write went through the outbox."),
        ({"recoveries": [Recovery("killed", 0.5, 0.4)]}, "All was not well again after: flushed."),
        ({"kills": Counter()}, "Nobody was killed: writer anywhere."),
        ({"unproved": ["In 30 s it did not happen that ..."]}, "In 30 s it did not happen that ..."),
    ],
)
def test_it_tells_of_a_run_that_has_not(facts: dict[str, Any], text: str) -> None:
    assert report(**facts).shortcomings() == [text]


def test_it_tells_of_each_fault_with_what_happened_just_before() -> None:
    fault = {
        "problem": "stale",
        "at": 1004.0,
        "began": 1003.99,
        "read": "get, hit",
        "row": "gauge 3",
        "floor": 6,
        "seen": 4,
        "ceiling": 6,
    }
    [text] = report(faults=[fault]).shortcomings()
    assert text.splitlines() == [
        "4.000 s: stale: read: get, hit, row: gauge 3, floor: 6, seen: 4, ceiling: 6; the read took 10.0 ms",
        "    3.500 s: killed: over",
    ]


def test_it_shows_the_first_faults_of_many() -> None:
    shortcomings = report(faults=[{"problem": f"fault {number}"} for number in range(50)]).shortcomings()
    assert shortcomings[0] == "fault 0"
    assert shortcomings[-1] == "... and 30 more"
    assert len(shortcomings) == 21


def test_its_table_names_the_seed_and_all_that_was_done() -> None:
    lines = report().text().splitlines()
    assert "seed seed" in lines[0]
    assert any("0 of them wrong" in line for line in lines)
    for part in (*names.LOOKS, *names.WRITES, "writer anywhere", "flushed"):
        assert any(line.startswith(f"  {part} ") for line in lines), part
    assert f"  {'killed':<34}       2    1.0 s   50%" in lines
