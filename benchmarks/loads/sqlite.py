"""The same on SQLite, where Django's way is the limit that must at least be reached."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from django.core.management import call_command
from django.db import connections

from benchmarks.figures import Figure, number
from benchmarks.loads.scene import BATCH_ROWS, KEY, Row, Section
from benchmarks.rounds import Contender, play
from perfkit.bulk import bulk_insert, bulk_upsert
from project.flights import source
from project.flights.models import Airline, Airport, Flight, Plane

ALIAS: Final = "file"


def on_sqlite(rows: list[Row], folder: Path, *, rounds: int, budget_seconds: float) -> Section:
    """Measure insert and upsert on a file of its own."""
    connections[ALIAS].settings_dict["NAME"] = str(folder / "flights.sqlite3")
    call_command("migrate", database=ALIAS, verbosity=0)
    for model, known in (
        (Airline, source.airlines()),
        (Airport, source.airports()),
        (Plane, source.planes()),
    ):
        bulk_insert(model, known, using=ALIAS)
    changed = [field.name for field in Flight._meta.concrete_fields if field.name not in {"id", *KEY}]
    flights = Flight.objects.using(ALIAS)
    made: list[Flight] = []

    def empty() -> None:
        flights.all()._raw_delete(ALIAS)
        made[:] = [Flight(**row) for row in rows]

    def half() -> None:
        empty()
        bulk_insert(Flight, rows[::2], using=ALIAS)

    def create_or_update() -> int:
        return len(
            flights.bulk_create(
                made,
                batch_size=BATCH_ROWS,
                update_conflicts=True,
                update_fields=changed,
                unique_fields=list(KEY),
            )
        )

    contenders = {
        each.name: each
        for each in [
            Contender("bulk_create", lambda: len(flights.bulk_create(made, batch_size=BATCH_ROWS)), empty),
            Contender("bulk_insert", lambda: bulk_insert(Flight, rows, using=ALIAS).rows, empty),
            Contender("bulk_create, update_conflicts", create_or_update, half),
            Contender(
                "bulk_upsert", lambda: bulk_upsert(Flight, rows, conflict_columns=KEY, using=ALIAS).rows, half
            ),
        ]
    }
    play(list(contenders.values()), rounds=rounds, budget_seconds=budget_seconds)
    rates = {name: each.rate for name, each in contenders.items()}
    lines: list[tuple[str, ...]] = [("[SQLite]", "", "")]
    lines += [(name, number(rate), f"{rate / rates['bulk_create']:.2f}") for name, rate in rates.items()]
    return Section(
        lines,
        [
            Figure(
                "SQLite: bulk_insert / bulk_create",
                rates["bulk_insert"] / rates["bulk_create"],
                "times",
                1.0,
                "higher",
            ),
            Figure(
                "SQLite: bulk_upsert / bulk_create",
                rates["bulk_upsert"] / rates["bulk_create, update_conflicts"],
                "times",
                1.0,
                "higher",
            ),
        ],
    )
