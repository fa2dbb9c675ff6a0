"""What is told of the advisor: a table by kind, what is not as good as the best, and figures. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.advisor.judging import Proposal, Together, Verdict, share
from benchmarks.figures import Figure

Lines = list[tuple[str, ...]]


@dataclass(frozen=True)
class Hearing:
    """What was proposed and how it was judged.

    Attributes:
        needless: What was proposed for a workload of those shapes alone that need no index.
    """

    proposals: Sequence[Proposal]
    needless: Sequence[Proposal]
    alone: Sequence[Verdict]
    together: Together
    bound: Sequence[Verdict]

    @property
    def all_built(self) -> list[Verdict]:
        """The verdicts with all proposals built, on the shapes that need an index."""
        wanting = {verdict.shape for verdict in self.alone}
        return [verdict for verdict in self.together.verdicts if verdict.shape in wanting]


def figures(heard: Hearing, *, is_quick: bool = False, is_pretended: bool = False) -> list[Figure]:
    """Return the numbers; a quick run has too few shapes and rows for goals of shares."""
    goal = None if is_quick else 95 if is_pretended else 90
    unneeded = len(heard.together.verdicts) - len(heard.alone)
    title = f"the advisor{' with hypopg' if is_pretended else ''} on {len(heard.alone)} shapes"
    by_cost = 100 * sum(each.is_near_by_cost for each in heard.all_built) / len(heard.all_built)
    return [
        Figure(f"{title}: as good as the best, alone", share(heard.alone), "%", goal, "higher"),
        Figure(f"{title}: as good as the best, all built", share(heard.all_built), "%", goal, "higher"),
        Figure(f"{title}: the same by cost alone", by_cost, "%", None, "higher"),
        Figure(f"{title}: proposals", len(heard.proposals), "indexes", None, "lower"),
        Figure(f"{title}: proposals that no plan uses", len(heard.together.unused), "indexes", 0, "lower"),
        Figure(f"{title}: shapes made dearer", len(heard.together.harmed), "shapes", 0, "lower"),
        Figure(f"{title}: proposals for {unneeded} others", len(heard.needless), "indexes", 0, "lower"),
        *(
            []
            if is_pretended
            else [
                Figure(f"{title}: the best of one and two columns", share(heard.bound), "%", None, "higher")
            ]
        ),
    ]


def lines(heard: Hearing) -> Lines:
    """Return how many of each kind are served, what is not, and which proposals serve nothing."""
    alone, together, bound = map(_served, (heard.alone, heard.all_built, heard.bound))
    kinds = Counter(verdict.kind for verdict in heard.alone)
    unused = set(heard.together.unused)
    missed = [each for each in heard.all_built if not each.is_served]
    return [
        ("as good as the best", "shapes", "alone", "all built", "two columns"),
        *(
            (kind, str(count), str(alone[kind]), str(together[kind]), str(bound[kind]))
            for kind, count in kinds.items()
        ),
        ("not as good", "cost before", "best", "advised", "ms best, advised"),
        *(
            (
                each.shape,
                f"{each.before:,.0f}",
                f"{each.best:,.1f}",
                f"{each.advised:,.1f}",
                ", ".join(f"{time:.2f}" for time in each.milliseconds or ()),
            )
            for each in missed
        ),
        *(("no plan uses", each.ddl, "", "", "") for each in heard.proposals if each.name in unused),
    ]


def _served(verdicts: Sequence[Verdict]) -> Mapping[str, int]:
    return Counter(verdict.kind for verdict in verdicts if verdict.is_served)
