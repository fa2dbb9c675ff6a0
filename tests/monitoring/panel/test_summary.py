"""What a request came to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from perfkit.monitoring.panel.collecting import MOST_LABELS, Collector
from perfkit.monitoring.panel.reasons import BEGINNINGS, EXACT, advice_on
from perfkit.monitoring.panel.summary import summary

DOCS = Path(__file__).parents[3] / "docs" / "reference" / "signals.md"


def documented_reasons() -> list[str]:
    """Return the reasons that the reference lists: in the first column of tables, and in its last line."""
    text = DOCS.read_text().partition("## Reasons of a bypass")[2]
    lines = [line.split("|")[1] if line.startswith("| `") else line for line in text.splitlines()]
    listed = [line for line in lines if line.startswith((" `", "Where a page"))]
    return sorted(set(re.findall(r"`([^`]+)`", "\n".join(listed))))


def read(collector: Collector, outcome: str, **told: Any) -> None:
    values = {"reason": "", "key": "k", "tags": [], "tier": "", "seconds": None, "rebuild_seconds": None}
    collector.read(told.pop("label", "app.Model"), outcome=outcome, **{**values, **told})


class TestTimeSaved:
    def test_it_is_what_the_answer_takes_to_make_less_what_the_hit_took(self) -> None:
        collector = Collector()
        read(collector, "hit", seconds=0.001, rebuild_seconds=0.101)
        read(collector, "hit", seconds=None, rebuild_seconds=0.1)

        assert summary(collector)["saved"] == {"ms": 200.0, "measured": 2, "assumed": 0, "unknown": 0}

    def test_a_hit_that_takes_longer_saves_nothing(self) -> None:
        collector = Collector()
        read(collector, "hit", seconds=0.2, rebuild_seconds=0.1)

        assert summary(collector)["saved"]["ms"] == 0

    def test_else_it_is_the_mean_of_the_misses_of_the_same_label(self) -> None:
        collector = Collector()
        read(collector, "miss", key="a", seconds=0.1)
        read(collector, "miss", key="b", seconds=0.3)
        read(collector, "hit", seconds=0.05)
        read(collector, "hit", label="app.Other", seconds=0.05)

        assert summary(collector)["saved"] == {"ms": 150.0, "measured": 0, "assumed": 1, "unknown": 1}


def test_a_miss_that_is_not_stored_is_one_read() -> None:
    collector = Collector()
    read(collector, "miss", seconds=0.1)
    read(collector, "bypass", reason="size")
    read(collector, "bypass", key="other", reason="size")

    told = summary(collector)
    assert (told["misses"], told["bypasses"]) == (1, 1)
    first, second = told["reads"]
    assert (first["outcome"], first["is_unkept"], first["reason"]) == ("miss", True, "size")
    assert (second["outcome"], second["is_unkept"]) == ("bypass", False)


def test_labels_are_bounded() -> None:
    collector = Collector()
    for number in range(MOST_LABELS + 10):
        read(collector, "hit", label=f"app.Model{number:04}")

    labels = summary(collector)["labels"]
    assert len(labels) == MOST_LABELS + 1
    assert {each["label"]: each["hits"] for each in labels}["other"] == 10


@pytest.mark.parametrize("reason", documented_reasons())
def test_each_reason_that_the_reference_names_has_words(reason: str) -> None:
    asked = reason.replace("…", "whatever")
    advice = advice_on(asked)
    assert advice.words != asked
    assert advice.words.endswith(".")


def test_words_and_remedies_are_sentences() -> None:
    for advice in (*EXACT.values(), *BEGINNINGS.values()):
        assert advice.words.endswith(".")
        assert not advice.remedy or advice.remedy.endswith(".")


def test_a_reason_of_tomorrow_speaks_for_itself() -> None:
    assert advice_on("moon phase").words == "moon phase"
