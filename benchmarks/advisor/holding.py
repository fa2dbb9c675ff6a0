"""Sees on a smaller shop whether best.json still holds: `python -m benchmarks.advisor.holding [DATABASE]`.

Prints a line of JSON for each shape: its kind, how many statements it sent, the indexes, and the planner's cost
before and with them. Needs DATABASE_URL.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

PART: Final = 0.1


def told(database: str = "") -> Iterator[dict[str, Any]]:
    """Yield what is said of each shape; a statement or an index that is none ends it with the server's error."""
    from benchmarks.advisor.filling import Sizes
    from benchmarks.advisor.ground import Ground
    from benchmarks.advisor.judging import best_indexes
    from benchmarks.advisor.place import shop_database
    from benchmarks.advisor.shapes import SHAPES
    from benchmarks.advisor.statements import shop_connection, statements_of

    sizes = Sizes().part(PART)
    best = best_indexes()
    with shop_database(sizes, name=database):
        ground = Ground(shop_connection())
        for shape in SHAPES.values():
            statements = statements_of(shape, sizes)
            ground.measure(statements, times=1)
            before = ground.cost(statements)
            indexes = best[shape.name]["indexes"]
            with ground.built(indexes):
                yield {
                    "shape": shape.name,
                    "kind": shape.kind,
                    "needs_index": shape.needs_index,
                    "statements": statements,
                    "indexes": indexes,
                    "cost_before": before,
                    "cost": ground.cost(statements),
                }


def main(database: str = "") -> None:
    """Print what is told."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    os.environ["PERFKIT_BENCH_ROOM"] = "indexing"
    import django

    django.setup()
    for each in told(database):
        print(json.dumps(each, ensure_ascii=False))


if __name__ == "__main__":
    main(*sys.argv[1:2])
