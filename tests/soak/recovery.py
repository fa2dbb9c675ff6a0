"""When all are well again: readers hit, writers commit, each process uses the cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple, Self

from tests.soak.board import Board
from tests.soak.plot import Role

HITS: Final = 100
"""Of all processes together."""

COMMITS: Final = 2
"""Of each writer."""


class Progress(NamedTuple):
    """How far all have come: the hits of each process, and the commits of each writer."""

    hits: list[int]
    commits: list[int]

    @classmethod
    def of(cls, board: Board, roles: Sequence[Role]) -> Self:
        return cls(
            [board.counted_by(role.number, "hit") for role in roles],
            [board.counted_by(role.number, "commits") for role in roles if role.station is not None],
        )

    def shows_health_since(self, before: Progress) -> bool:
        """Say whether since then everybody has done what one who is well does."""
        hits = [now - old for now, old in zip(self.hits, before.hits, strict=True)]
        commits = [now - old for now, old in zip(self.commits, before.commits, strict=True)]
        return sum(hits) >= HITS and all(hits) and all(number >= COMMITS for number in commits)


def reads_in(counts: Counter[str]) -> int:
    """Return how many cached reads there were, however they ended."""
    return sum(
        number for name, number in counts.items() if name in {"hit", "miss"} or name.startswith("bypass ")
    )
