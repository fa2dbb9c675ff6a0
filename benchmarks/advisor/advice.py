"""The advisor on the shop's workload, judged beside the exhaustive search: lines and figures of room indexing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.advisor.filling import Sizes
from benchmarks.advisor.ground import Ground
from benchmarks.advisor.judging import Judge, best_indexes
from benchmarks.advisor.place import shop_database
from benchmarks.advisor.pretending import is_installed, pretending_server
from benchmarks.advisor.proposing import additions, workload_of
from benchmarks.advisor.routing import ALIAS
from benchmarks.advisor.shapes import SHAPES
from benchmarks.advisor.statements import shop_connection, statements_of
from benchmarks.advisor.telling import Hearing, Lines, figures, lines
from benchmarks.figures import Figure

QUICK_PART: Final = 0.15
QUICK_EVERY: Final = 4
"""In a quick run every fourth shape is judged, on a smaller shop."""


def hear(*, is_quick: bool, url: str = "", extensions: Sequence[str] = ()) -> Hearing:
    """Fill a shop, ask the advisor, and judge what it says.

    Args:
        url: Of another server than the benchmark's.
        extensions: That the shop's database has.
    """
    sizes = Sizes().part(QUICK_PART) if is_quick else Sizes()
    shapes = list(SHAPES.values())[:: QUICK_EVERY if is_quick else 1]
    kinds = {shape.name: shape.kind for shape in shapes}
    wanting = [shape.name for shape in shapes if shape.needs_index]
    with shop_database(sizes, url=url, extensions=extensions):
        ground = Ground(shop_connection())
        statements = {shape.name: statements_of(shape, sizes) for shape in shapes}
        times = {name: ground.measure(of[:1], times=1).milliseconds for name, of in statements.items()}
        ground.settle()
        judge = Judge(ground, statements, kinds, best_indexes())
        proposals = additions(workload_of(statements, times, alias=ALIAS))
        unneeded = {name: of for name, of in statements.items() if name not in wanting}
        needless = additions(workload_of(unneeded, times, alias=ALIAS))
        alone = judge.alone(proposals, wanting)
        return Hearing(
            proposals,
            needless,
            alone,
            judge.together(proposals, alone),
            judge.upper_bound_of_two_columns(wanting),
        )


def measure(*, is_quick: bool) -> tuple[Lines, list[Figure]]:
    """Return a table by kind, what is not served, and the figures; with hypopg as well, where it is installed."""
    heard = hear(is_quick=is_quick)
    table, found = lines(heard), figures(heard, is_quick=is_quick)
    if is_quick:
        return table, found
    if not is_installed():
        table += [("no run with hypopg, for there is no postgresql-15-hypopg", "", "", "", "")]
        return table, found
    with pretending_server() as url:
        pretended = hear(is_quick=is_quick, url=url, extensions=["hypopg"])
    table += [("with hypopg", "", "", "", ""), *lines(pretended)]
    return table, [*found, *figures(pretended, is_pretended=True)]
