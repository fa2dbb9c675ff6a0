from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.admin.monitoring.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MOST_STEPS,
    RIGHT,
    TOP,
    WIDTH,
    Line,
    across,
    chart_of,
    heights,
    path_of,
)

VALUES = st.one_of(st.none(), st.floats(min_value=0, max_value=1e12))


def chart(moments: list[float], *lines: Line, **others: float) -> object:
    return chart_of(
        "c",
        "Title",
        moments,
        lines,
        text_of=lambda value: f"<{value}>",
        time_of=lambda at: f"@{at:g}",
        **others,
    )


@given(st.floats(min_value=1e-9, max_value=1e15))
def test_heights_are_few_grow_evenly_and_hold_the_greatest(greatest: float) -> None:
    found = heights(greatest)
    assert found[0] == 0
    assert found[-1] >= greatest * (1 - 1e-6)
    assert 2 <= len(found) <= MOST_STEPS + 1
    steps = [b - a for a, b in pairwise(found)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)


@given(st.lists(VALUES, min_size=1, max_size=80))
def test_every_point_is_within_the_drawing(values: list[float | None]) -> None:
    columns = across([60.0 * number for number in range(len(values))])
    path = path_of(columns, values, max([value for value in values if value is not None], default=0) or 1)
    for x, y in re.findall(r"[ML](\S+) ([\d.]+)", path):
        assert LEFT <= float(x) <= WIDTH - RIGHT
        assert TOP <= float(y) <= HEIGHT - BOTTOM
    assert len(re.findall("[ML]", path)) == len([value for value in values if value is not None])
    assert set(re.sub(r"[\d. ]", "", path)) <= set("MLh")


def test_it_breaks_the_line_where_nothing_was_measured() -> None:
    path = path_of([0, 1, 2, 3, 4], [1, 1, None, 1, None], 1)
    assert path == "M0 10.0L1 10.0M3 10.0h0"


def test_it_says_in_words_what_it_shows() -> None:
    found = chart([0, 60, 120], Line("All", [3, 9, 5]), Line("Failed", [None, None, None]))
    assert found is not None
    assert found.description == (
        "From @0 to @120. All: <5> at the end, <3> at the least, <9> at the most, at @60. "
        "Failed: nothing was measured."
    )
    assert [(row.time, row.texts) for row in found.rows] == [
        ("@0", ("<3>", "<None>")),
        ("@60", ("<9>", "<None>")),
        ("@120", ("<5>", "<None>")),
    ]
    assert [tick.anchor for tick in found.times] == ["start", "middle", "end"]
    assert found.names == ("All", "Failed")


def test_there_is_no_chart_of_nothing() -> None:
    assert chart([], Line("All", [])) is None
    assert chart([0, 1], Line("All", [None, None])) is None


def test_one_moment_is_a_dot_and_zeros_lie_at_the_bottom() -> None:
    found = chart([5], Line("All", [0]))
    assert found is not None
    assert found.lines[0].path == f"M{LEFT}.0 {HEIGHT - BOTTOM}.0h0"
    assert len(found.times) == 1


def test_a_share_has_all_of_it_at_the_top() -> None:
    found = chart([0, 1], Line("Rate", [0.2, 0.3]), most=1.0)
    assert found is not None
    assert found.heights[-1].text == "<1.0>"
    assert found.heights[-1].at == TOP
