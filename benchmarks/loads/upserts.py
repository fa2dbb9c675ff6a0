"""Flights of which the table has every second: `bulk_create`, django-pgbulk, and perfkit's `bulk_upsert`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pgbulk

from benchmarks.figures import Figure, number
from benchmarks.loads.scene import BATCH_ROWS, KEY, Row, Section, empty, execute, reload, unload
from benchmarks.rounds import Contender, play
from perfkit.bulk import bulk_insert, bulk_upsert
from project.flights.models import Flight

OF_PGBULK: Final = 7.0
OF_DJANGO: Final = 3.3


def upserts(rows: list[Row], folder: Path, *, rounds: int, budget_seconds: float) -> Section:
    """Measure all ways; every row that is there changes all its columns but those of its key."""
    empty()
    bulk_insert(Flight, rows[::2])
    half = folder / "half.binary"
    unload(half, "BINARY")
    changed = [field.name for field in Flight._meta.concrete_fields if field.name not in {"id", *KEY}]
    made: list[Flight] = []

    def prepare() -> None:
        empty()
        reload(half, "BINARY")
        execute("VACUUM ANALYZE flights_flight")
        made[:] = [Flight(**row) for row in rows]

    def bulk_create() -> int:
        return len(
            Flight.objects.bulk_create(
                made,
                batch_size=BATCH_ROWS,
                update_conflicts=True,
                update_fields=changed,
                unique_fields=list(KEY),
            )
        )

    def with_pgbulk() -> int:
        pgbulk.upsert(Flight, made, list(KEY), changed)
        return len(made)

    contenders = {
        each.name: each
        for each in [
            Contender("bulk_create, update_conflicts", bulk_create, prepare),
            Contender("django-pgbulk upsert", with_pgbulk, prepare),
            Contender(
                "bulk_upsert, dicts", lambda: bulk_upsert(Flight, rows, conflict_columns=KEY).rows, prepare
            ),
            Contender(
                "bulk_upsert, instances",
                lambda: bulk_upsert(Flight, made, conflict_columns=KEY).rows,
                prepare,
            ),
        ]
    }
    play(list(contenders.values()), rounds=rounds, budget_seconds=budget_seconds)
    created = contenders["bulk_create, update_conflicts"].rate
    lines: list[tuple[str, ...]] = [("[upsert, half of it there]", "", "")]
    lines += [(each.name, number(each.rate), f"{each.rate / created:.2f}") for each in contenders.values()]
    own = min(contenders["bulk_upsert, dicts"].rate, contenders["bulk_upsert, instances"].rate)
    return Section(
        lines,
        [
            Figure(
                "upsert: perfkit / django-pgbulk",
                own / contenders["django-pgbulk upsert"].rate,
                "times",
                OF_PGBULK,
                "higher",
            ),
            Figure("upsert: perfkit / bulk_create", own / created, "times", OF_DJANGO, "higher"),
        ],
    )
