"""Room bulk: real flights inserted, updated and upserted, on PostgreSQL and on SQLite."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.figures import Report
from benchmarks.loads.inserts import inserts
from benchmarks.loads.memory import memory
from benchmarks.loads.scene import (
    Section,
    drop_foreign_keys,
    drop_indexes,
    flights,
    load_what_flights_refer_to,
    unload,
)
from benchmarks.loads.sqlite import on_sqlite
from benchmarks.loads.updates import updates
from benchmarks.loads.upserts import upserts
from perfkit.bulk import bulk_insert
from project.flights.models import Flight

PEERS: Final = ("django-pgbulk",)


def measure(*, is_quick: bool) -> Report:
    r"""Write the same flights in every way.

    The more indexes a table has, the more of the time is the server's, and the nearer all ways come to each other:
    the goals of an insert are set for tables with two, of the primary and of the natural key.
    PostgreSQL checks the foreign keys of all but perfkit's ways by triggers, row by row, those of \copy too.
    """
    logging.getLogger("perfkit.queries").disabled = True
    count, many, in_memory = (10_000, 20_000, 50_000) if is_quick else (50_000, 300_000, 1_000_000)
    rounds, budget_seconds = (3, 9.0) if is_quick else (3, 60.0)
    load_what_flights_refer_to()
    year = flights(many)
    rows = year[:count]
    bulk_insert(Flight, rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text, binary = folder / "flights.csv", folder / "flights.binary"
        unload(text, "CSV")
        unload(binary, "BINARY")

        def into(table: str) -> Section:
            return inserts(table, rows, text, binary, rounds=rounds, budget_seconds=budget_seconds)

        sections = [into("all indexes")]
        drop_indexes()
        sections.append(into("two indexes"))
        sections += [updates(some, rounds=rounds, budget_seconds=budget_seconds) for some in (rows, year)]
        sections.append(upserts(rows, folder, rounds=rounds, budget_seconds=budget_seconds))
        sections.append(memory(count, in_memory))
        drop_foreign_keys()
        sections.append(into("no foreign keys"))
        sections.append(on_sqlite(rows, folder, rounds=rounds, budget_seconds=budget_seconds))
    lines: list[tuple[str, ...]] = [("", "rows/s", "times Django's")]
    setting = (
        f"{count:,} flights with four foreign keys, into the demo's table (12 indexes) and into one with the "
        f"primary and the natural key alone (2); medians of at most {rounds} rounds, of interleaved turns."
    )
    return Report(
        "bulk",
        setting,
        lines + [line for section in sections for line in section.lines],
        [figure for section in sections for figure in section.figures],
    )
