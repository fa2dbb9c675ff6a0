from __future__ import annotations

import pytest

from tests.soak.history import ABSENT, NEVER, PRESENT, TORN, Answer, Known, Outside, Seen, problems
from tests.soak.layout import zone_of

GAUGE, OTHER = 0, 1


def known(*states: tuple[int, int, int]) -> Known:
    """What is known of registers, each by its floor, ceiling and grave."""
    return Known(*zip(*states, strict=True))


def texts(answer: Answer, about: Known, **options: object) -> list[str]:
    return [problem.text for problem in problems(answer, about, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("floor", "ceiling", "grave", "seen"),
    [
        (4, 4, 0, 4),  # nothing happens
        (4, 8, 0, 4),  # two writes happen while it is read: each answer is right
        (4, 8, 0, 6),
        (4, 8, 0, 8),
        (4, 5, 5, ABSENT),  # it is being deleted
        (4, 5, 5, 4),
        (4, 5, 5, PRESENT),
        (5, 5, 5, ABSENT),  # it was deleted
        (5, 6, 5, ABSENT),  # it is being made anew
        (5, 6, 5, 6),
        (5, 6, 5, PRESENT),
        (4, 10, 7, ABSENT),  # it came and went more than once
        (4, 10, 7, 10),
        (8, 8, 5, 8),  # deleted once, long ago
        (4, 4, 0, Outside(zone_of(6))),
        (4, 6, 0, Outside(zone_of(4))),  # it is being moved
        (4, 6, 0, Outside(zone_of(6))),
        (5, 5, 5, Outside(zone_of(4))),
    ],
)
def test_it_takes_what_may_be_seen(floor: int, ceiling: int, grave: int, seen: Seen) -> None:
    assert texts(Answer({GAUGE: seen}), known((floor, ceiling, grave))) == []


@pytest.mark.parametrize(
    ("floor", "ceiling", "grave", "seen", "text"),
    [
        (6, 6, 0, 4, "stale"),
        (6, 8, 0, 4, "stale"),
        (5, 5, 5, 4, "stale"),
        (5, 6, 5, 4, "stale"),
        (5, 5, 5, PRESENT, "stale: it is gone, and was seen"),
        (6, 6, 5, ABSENT, "stale: it is there, and was not seen"),
        (6, 8, 5, ABSENT, "stale: it is there, and was not seen"),
        (4, 4, 0, 6, "never written"),
        (4, 8, 7, 7, "never written"),
        (4, 8, 0, NEVER + 6, "rolled back"),
        (4, 4, 0, TORN, "torn: columns of two versions"),
        (4, 4, 0, Outside(zone_of(4)), "stale: it is in the zone, and was not seen"),
        (6, 6, 5, Outside(zone_of(6)), "stale: it is in the zone, and was not seen"),
    ],
)
def test_it_finds_what_may_not_be_seen(floor: int, ceiling: int, grave: int, seen: Seen, text: str) -> None:
    [problem] = problems(Answer({GAUGE: seen}), known((floor, ceiling, grave)))
    assert problem == (text, GAUGE, floor, seen, ceiling)


def test_it_looks_at_each_row_of_an_answer() -> None:
    about = known((4, 4, 0), (6, 6, 0), (5, 5, 5))
    assert texts(Answer({0: 4, 1: 6, 2: ABSENT}), about) == []
    assert [problem.register for problem in problems(Answer({0: 2, 1: 6, 2: 4}), about)] == [0, 2]


def test_it_finds_an_answer_from_two_moments() -> None:
    about = known((4, 8, 0), (4, 8, 0))
    assert texts(Answer({GAUGE: 6, OTHER: 6}), about, twins=[(GAUGE, OTHER)]) == []
    assert texts(Answer({GAUGE: 6, OTHER: 8}), about, twins=[(GAUGE, OTHER)]) == ["torn, its twin has 8"]
    assert texts(Answer({GAUGE: 6}), about, twins=[(GAUGE, OTHER)]) == [], "one of them was not asked for"


class TestSums:
    counted = (0, 1, 2)

    def faults(self, about: Known, *, number: int | None = None, total: int | None = None) -> list[str]:
        return texts(Answer(counted=self.counted, number=number, total=total), about)

    def test_only_one_is_right_while_nobody_writes(self) -> None:
        about = known((4, 4, 0), (6, 6, 5), (5, 5, 5))
        assert self.faults(about, number=2, total=10) == []
        assert self.faults(about, number=1) == self.faults(about, number=3) == ["wrong count"]
        assert self.faults(about, total=8) == self.faults(about, total=12) == ["wrong sum"]

    def test_each_is_right_that_a_write_under_way_may_lead_to(self) -> None:
        updated = known((4, 6, 0), (6, 6, 0), (5, 5, 5))
        assert [total for total in range(20) if not self.faults(updated, total=total)] == [10, 11, 12]
        deleted = known((4, 5, 5), (6, 6, 0), (5, 5, 5))
        assert [number for number in range(4) if not self.faults(deleted, number=number)] == [1, 2]
        made = known((4, 4, 0), (6, 6, 0), (5, 8, 5))
        assert [number for number in range(4) if not self.faults(made, number=number)] == [2, 3]
        assert self.faults(made, total=18) == []
        assert self.faults(made, total=19) == ["wrong sum"]

    def test_what_was_rolled_back_shows_in_a_sum(self) -> None:
        assert self.faults(known((4, 4, 0), (6, 6, 0), (6, 6, 0)), total=12 + NEVER) == ["wrong sum"]


def test_a_fine_history_passes_and_a_stale_read_in_it_does_not() -> None:
    """One row: written, deleted, made anew; floors and ceilings as the board has them at each moment."""
    moments = [
        (known((2, 2, 0)), 2),
        (known((2, 4, 0)), 2),  # the write has begun
        (known((2, 4, 0)), 4),  # it is committed, and has not returned
        (known((4, 4, 0)), 4),  # it has returned
        (known((4, 5, 5)), 4),
        (known((5, 5, 5)), ABSENT),
        (known((5, 6, 5)), ABSENT),
        (known((6, 6, 5)), 6),
    ]
    assert [texts(Answer({GAUGE: seen}), about) for about, seen in moments] == [[]] * len(moments)
    late = [(texts(Answer({GAUGE: seen}), moments[-1][0])) for _, seen in moments[:-1]]
    assert all(late), "each older answer is stale at the end"
