"""The published workload on a small shop: every statement runs, and every best index is one and helps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.advisor.judging import best_indexes

ROOT = Path(__file__).resolve().parents[3]
KINDS = {
    "equality",
    "composite",
    "range after equality",
    "range",
    "IN",
    "OR",
    "prefix",
    "contains",
    "expression",
    "date",
    "partial",
    "order and limit",
    "order with NULLS",
    "keyset page",
    "MIN and MAX",
    "DISTINCT ON",
    "latest of each group",
    "window",
    "covering",
    "JSON",
    "array",
    "full text",
    "ranges",
    "join",
    "many to many",
    "EXISTS",
    "IN sub-select",
    "aggregate",
    "group by",
    "update",
    "delete",
    "no index",
}

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def told(django_db_blocker: Any) -> list[dict[str, Any]]:
    """What a process says that has the shop among its apps, as tests have not."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.advisor.holding", f"shop_of_tests_{worker}"],
        capture_output=True,
        text=True,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.settings", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.fixture(scope="module")
def wanting(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in told if each["needs_index"]]


def test_it_has_a_hundred_shapes_that_need_an_index_and_twenty_that_need_none(
    told: list[dict[str, Any]], wanting: list[dict[str, Any]]
) -> None:
    assert len(wanting) >= 100
    assert len(told) - len(wanting) >= 20
    assert {each["kind"] for each in told} >= KINDS


def test_it_asks_most_with_several_values(told: list[dict[str, Any]]) -> None:
    counts = Counter(len(each["statements"]) for each in told)
    assert counts[0] == 0
    assert counts[1] <= 10, "Those without values, such as a count of all."


def test_it_was_searched_for_every_shape_and_no_other(told: list[dict[str, Any]]) -> None:
    assert {each["shape"] for each in told} == set(best_indexes())


def test_it_found_an_index_for_each_that_needs_one_and_none_for_the_others(
    told: list[dict[str, Any]],
) -> None:
    assert [each["shape"] for each in told if bool(each["indexes"]) != each["needs_index"]] == []


def test_its_best_indexes_still_help(wanting: list[dict[str, Any]]) -> None:
    harmed = [each["shape"] for each in wanting if each["cost"] > each["cost_before"] * 1.001]
    helped = [each["shape"] for each in wanting if each["cost"] < each["cost_before"] * 0.9]
    assert harmed == []
    assert len(helped) >= 0.95 * len(wanting), "On a tenth of the rows a few are read whole all the same."
