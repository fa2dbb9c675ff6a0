"""What a read may yield: the pure core of the check.

# Note [Registers]
A row, and the place of a gauge in a panel, is a register: one value, changed by one writer at a time.
Its states are numbers that only grow: even while it is there (a row's is its version), odd while it is not.
Three numbers are known of each:

floor    the newest state whose commit has returned to its writer, taken before the read starts
ceiling  the newest state that a writer has begun to write and does not mean to roll back, taken after the read
grave    the newest odd state among those, likewise

A read that yields a state older than the floor is stale, one newer than the ceiling saw what nobody committed.
A writer that is killed between its commit and telling of it leaves the floor lower than it might be:
that makes the check weaker, never wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tests.soak.layout import zone_of

NEVER: Final = 1_000_000_000
"""Added to versions that are going to be rolled back."""

PRESENT: Final = "present"
ABSENT: Final = None
TORN: Final = "torn"


class Outside(NamedTuple):
    """A row was not among those of a zone."""

    zone: int


Seen = int | str | Outside | None
"""The version of a row, or only that it is there, or is not, or is in no zone but others."""


class Known(NamedTuple):
    """What is known of all registers at a read, by their numbers."""

    floors: Sequence[int]
    ceilings: Sequence[int]
    graves: Sequence[int]

    def may_be_absent(self, register: int) -> bool:
        return self.graves[register] >= self.floors[register]

    def may_be_present(self, register: int) -> bool:
        floor = self.floors[register]
        return floor % 2 == 0 or self.ceilings[register] > floor

    def may_be_outside(self, register: int, zone: int) -> bool:
        floor = self.floors[register]
        is_sure = not self.may_be_absent(register) and self.ceilings[register] == floor
        return not is_sure or zone_of(floor) != zone


class Answer(NamedTuple):
    """What one read said.

    Args:
        rows: By register, absent ones that the read would have shown included.
        counted: The registers that were counted or added up.
        number: How many of them there were, None where that was not asked.
        total: The sum of their versions, likewise.
    """

    rows: Mapping[int, Seen] = {}
    counted: Sequence[int] = ()
    number: int | None = None
    total: int | None = None


class Problem(NamedTuple):
    """A way in which an answer breaks the promise."""

    text: str
    register: int | None
    floor: int
    seen: Seen
    ceiling: int


def problems(answer: Answer, known: Known, *, twins: Iterable[tuple[int, int]] = ()) -> list[Problem]:
    """Return what is wrong with an answer.

    Args:
        twins: Pairs of registers that are never changed one without the other: one statement sees both the same.
    """
    found = []
    for register, seen in answer.rows.items():
        text = _problem_of(register, seen, known)
        if text:
            floor, ceiling = known.floors[register], known.ceilings[register]
            found.append(Problem(text, register, floor, seen, ceiling))
    for first, second in twins:
        seen, other = answer.rows.get(first, ABSENT), answer.rows.get(second, ABSENT)
        if isinstance(seen, int) and isinstance(other, int) and seen != other:
            found.append(
                Problem(
                    f"torn, its twin has {other}", first, known.floors[first], seen, known.ceilings[first]
                )
            )
    if answer.number is not None:
        least = sum(not known.may_be_absent(register) for register in answer.counted)
        most = sum(known.may_be_present(register) for register in answer.counted)
        found += _beyond("wrong count", answer.number, least, most)
    if answer.total is not None:
        least = sum(known.floors[each] for each in answer.counted if not known.may_be_absent(each))
        most = sum(known.ceilings[each] // 2 * 2 for each in answer.counted if known.may_be_present(each))
        found += _beyond("wrong sum", answer.total, least, most)
    return found


def _beyond(text: str, seen: int, least: int, most: int) -> list[Problem]:
    return [] if least <= seen <= most else [Problem(text, None, least, seen, most)]


def _problem_of(register: int, seen: Seen, known: Known) -> str:
    if seen == TORN:
        return "torn: columns of two versions"
    if isinstance(seen, int):
        return _problem_of_version(seen, known.floors[register], known.ceilings[register])
    if isinstance(seen, Outside):
        text, may_be = "it is in the zone, and was not seen", known.may_be_outside(register, seen.zone)
    elif seen is ABSENT:
        text, may_be = "it is there, and was not seen", known.may_be_absent(register)
    else:
        text, may_be = "it is gone, and was seen", known.may_be_present(register)
    return "" if may_be else f"stale: {text}"


def _problem_of_version(seen: int, floor: int, ceiling: int) -> str:
    if seen >= NEVER:
        return "rolled back"
    if seen < floor:
        return "stale"
    return "never written" if seen > ceiling or seen % 2 else ""
