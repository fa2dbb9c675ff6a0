"""Searches the best indexes of every shape, on real builds: `python -m benchmarks.advisor.search [--only NAME …]`.

It takes a quarter of an hour, and writes benchmarks/advisor/best.json, with how and in which runs it was found.

Exhaustive are the indexes of up to three columns, each alone; what is wider, and sets, are sought from the best of
these on.

1. Every order of up to three of the columns that stand in the statement, and of the expressions and operator
   classes that the shape's author names, plain and as it is sorted; whole indexes of other kinds that he names.
   Each is built alone, once for all shapes that could use it.
2. The four cheapest, and all of one or two keys, with the conditions and carried columns that he names.
3. A second index, then a third, beside the best so far, where it saves a tenth more: the cheapest of each table
   and all of one or two keys; where two may help together that do not alone, all pairs of one or two keys.
   In the end each of them is left out again, where that costs nothing.

The cheapest counts, by the planner's cost averaged over the samples; among those within 2 % of it the plainest.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Final

BEST_FILE: Final = Path(__file__).with_name("best.json")
ENOUGH: Final = 0.9
"""What another index must bring the cost to, to be worth having."""
EQUAL: Final = 1.02
CHOSEN: Final = 4
PAIRED: Final = 12
"""Most indexes whose pairs are tried."""


def search(sizes: Any, *, only: Sequence[str] = ()) -> dict[str, Any]:
    """Return what was found for each shape; the shop's database is full."""
    from benchmarks.advisor.ground import Ground
    from benchmarks.advisor.possible import Possible, first_choice
    from benchmarks.advisor.shapes import SHAPES
    from benchmarks.advisor.statements import shop_connection, statements_of

    ground = Ground(shop_connection())
    shapes = [each for each in SHAPES.values() if not only or each.name in only or each.kind in only]
    statements = {each.name: statements_of(each, sizes) for each in shapes}
    before = {name: ground.cost(of) for name, of in statements.items()}
    users: dict[Possible, list[str]] = defaultdict(list)
    for each in filter(lambda shape: shape.needs_index, shapes):
        for possible in first_choice(each, statements[each.name][0]):
            users[possible].append(each.name)
    print(f"{len(users):,} indexes for {len(shapes)} shapes.", file=sys.stderr)
    alone: dict[str, dict[Possible, float]] = defaultdict(dict)
    for possible, names in sorted(users.items(), key=lambda item: item[0].ddl):
        with ground.built([possible.ddl]):
            for name in names:
                alone[name][possible] = ground.cost(statements[name])
    print(f"{ground.builds:,} builds; now shape by shape.", file=sys.stderr)
    found = {}
    for each in shapes:
        tried = Trial(ground, each, statements[each.name], before[each.name], alone[each.name])
        found[each.name] = tried.best()
        print(each.name, json.dumps(found[each.name], ensure_ascii=False), file=sys.stderr)
    return found


class Trial:
    """The search for one shape, after every index was tried alone."""

    def __init__(
        self, ground: Any, shape: Any, statements: Sequence[str], before: float, alone: dict[Any, float]
    ) -> None:
        self._ground = ground
        self._shape = shape
        self._statements = statements
        self._before = before
        self._costs: dict[tuple[Any, ...], float] = {(each,): cost for each, cost in alone.items()}

    def best(self) -> dict[str, Any]:
        """Return the best, the best of what dexter can propose, and what they cost."""
        from benchmarks.advisor.possible import variants

        if self._shape.needs_index:
            singles = [each for (each,) in self._costs]
            self._try((each,) for each in variants(self._shape, self._cheapest(CHOSEN), singles))
            self._more(singles)
            self._fewer()
        best = self._plainest(list(self._costs))
        plain = self._plainest([each for each in self._costs if _is_plain(each)])
        return {
            "kind": self._shape.kind,
            "indexes": [each.ddl for each in best],
            "cost_before": round(self._before, 2),
            "cost": round(self._cost(best), 2),
            "one_or_two_columns": [each.ddl for each in plain],
            "cost_of_these": round(self._cost(plain), 2),
            "tried": len(self._costs),
        }

    def _more(self, singles: Sequence[Any]) -> None:
        short = [each for each in singles if len(each.keys) <= 2]
        if self._shape.pairs:
            ones = sorted(short, key=lambda each: each.width)[:PAIRED]
            with_condition = [e for (e, *rest) in self._costs if not rest and e.where and len(e.keys) == 1]
            self._try(combinations([*ones, *with_condition[:4]], 2))
        for size in (1, 2):
            for plain in (False, True):
                sets = [each for each in self._costs if len(each) == size and (not plain or _is_plain(each))]
                best = self._plainest(sets)
                if len(best) != size:
                    continue
                others = short if plain else [*short, *self._cheapest(CHOSEN)]
                self._try((*best, other) for other in others if other not in best)

    def _fewer(self) -> None:
        """Leave out each member of the best: a later one may do what an earlier one was chosen for."""
        for plain in (False, True):
            best = self._plainest([each for each in self._costs if not plain or _is_plain(each)])
            for size in range(len(best) - 1, 0, -1):
                self._try(combinations(best, size))

    def _try(self, sets: Iterable[tuple[Any, ...]]) -> None:
        for each in sets:
            if each not in self._costs:
                with self._ground.built([one.ddl for one in each]):
                    self._costs[each] = self._ground.cost(self._statements)

    def _cost(self, indexes: tuple[Any, ...]) -> float:
        return self._costs[indexes] if indexes else self._before

    def _cheapest(self, count: int) -> list[Any]:
        singles = sorted(
            (cost, each[0].width, each[0].ddl, each[0])
            for each, cost in self._costs.items()
            if len(each) == 1
        )
        return [each for *_, each in singles[:count]]

    def _plainest(self, sets: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return the best set: no larger than pays, and the plainest of equals; empty where none pays."""
        best: tuple[Any, ...] = ()
        for size in (1, 2, 3):
            of_size = [each for each in sets if len(each) == size]
            least = min((self._cost(each) for each in of_size), default=float("inf"))
            if least < self._cost(best) * ENOUGH:
                equal = [each for each in of_size if self._cost(each) <= least * EQUAL]
                best = min(equal, key=lambda s: (sum(i.width for i in s), self._cost(s), [i.ddl for i in s]))
        return best


def _is_plain(indexes: tuple[Any, ...]) -> bool:
    return all(each.is_plain and len(each.keys) <= 2 for each in indexes)


def main(arguments: Sequence[str]) -> int:
    """Search and write the file; with `--only`, what was found before stays for the others."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.advisor.search", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="of shapes or kinds")
    only = parser.parse_args(arguments).only
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    os.environ["PERFKIT_BENCH_ROOM"] = "indexing"
    from benchmarks.run import servers

    with servers():
        import django

        django.setup()
        from benchmarks.advisor.filling import Sizes
        from benchmarks.advisor.place import shop_database
        from benchmarks.advisor.shapes import SHAPES
        from benchmarks.advisor.statements import shop_connection

        began = time.monotonic()
        with shop_database(Sizes()):
            found = search(Sizes(), only=only)
            with shop_connection().cursor() as cursor:
                cursor.execute("SHOW server_version")
                version = cursor.fetchone()[0]
    before = json.loads(BEST_FILE.read_text(encoding="utf-8")) if only and BEST_FILE.exists() else {}
    shapes = {**before.get("shapes", {}), **found}
    anew = f"{before.get('runs', '')} Then one for {', '.join(only)}."
    text = json.dumps(
        {
            "how": " ".join((__doc__ or "").split("\n\n", 2)[2].split()),
            "runs": anew.strip() if only else f"One run of the search for all {len(found)} shapes.",
            "server": f"PostgreSQL {version}",
            "shapes": {name: of for name, of in sorted(shapes.items()) if name in SHAPES},
        },
        indent=1,
        ensure_ascii=False,
    )
    BEST_FILE.write_text(f"{text}\n", encoding="utf-8")
    print(f"{len(found)} shapes in {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
