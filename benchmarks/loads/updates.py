"""New delays for flights that are there: Django's `bulk_update`, django-pgbulk, and perfkit's."""

from __future__ import annotations

from typing import Final

import pgbulk

from benchmarks.figures import Figure, number
from benchmarks.loads.scene import BATCH_ROWS, Row, Section, empty, execute
from benchmarks.rounds import Contender, play
from perfkit.bulk import bulk_insert, bulk_update
from project.flights.models import Flight

FIELDS: Final = ["dep_delay", "arr_delay"]
DJANGO_ROWS: Final = 2000
"""Django's way is so slow that fewer rows tell its rate."""
OF_PGBULK: Final = 2.3
OF_DJANGO: Final = 20.0


def updates(rows: list[Row], *, rounds: int, budget_seconds: float) -> Section:
    """Measure all ways to change two columns of as many flights as there are `rows`."""
    empty()
    ids = bulk_insert(Flight, rows, return_ids=True, chunk_rows=10_000).ids
    assert ids is not None
    made: list[Flight] = []
    turn = 0

    def prepare(limit: int | None = None) -> None:
        nonlocal turn
        turn += 1  # so that each turn changes something
        made[:] = [
            Flight(pk=pk, dep_delay=(pk + turn) % 97, arr_delay=(pk + turn) % 89) for pk in ids[:limit]
        ]
        execute("VACUUM ANALYZE flights_flight")
        execute("CHECKPOINT")

    def pairs() -> int:
        changes = ((each.pk, {"dep_delay": each.dep_delay, "arr_delay": each.arr_delay}) for each in made)
        return bulk_update(Flight, changes).updated

    def with_pgbulk() -> int:
        pgbulk.update(Flight, made, FIELDS)
        return len(made)

    contenders = {
        each.name: each
        for each in [
            Contender(
                "Django's bulk_update",
                lambda: Flight.objects.bulk_update(made, FIELDS, batch_size=BATCH_ROWS),
                lambda: prepare(DJANGO_ROWS),
            ),
            Contender("django-pgbulk update", with_pgbulk, prepare),
            Contender("bulk_update, pairs", pairs, prepare),
            Contender(
                "bulk_update, instances", lambda: bulk_update(Flight, made, fields=FIELDS).updated, prepare
            ),
        ]
    }
    play(list(contenders.values()), rounds=rounds, budget_seconds=budget_seconds)
    what = f"update of {len(rows):,}"
    slowest = contenders["Django's bulk_update"].rate
    lines: list[tuple[str, ...]] = [(f"[{what}]", "", "")]
    lines += [(each.name, number(each.rate), f"{each.rate / slowest:.2f}") for each in contenders.values()]
    own = min(contenders["bulk_update, pairs"].rate, contenders["bulk_update, instances"].rate)
    return Section(
        lines,
        [
            Figure(
                f"{what}: perfkit / django-pgbulk",
                own / contenders["django-pgbulk update"].rate,
                "times",
                OF_PGBULK,
                "higher",
            ),
            Figure(f"{what}: perfkit / Django", own / slowest, "times", OF_DJANGO, "higher"),
        ],
    )
