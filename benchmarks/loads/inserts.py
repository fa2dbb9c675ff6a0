r"""Flights into an empty table: `save`, `bulk_create`, django-pgbulk, `bulk_insert`, and the limit, `\copy`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Final

import pgbulk
from django.test import override_settings

from benchmarks.figures import Figure, number
from benchmarks.loads.scene import BATCH_ROWS, Row, Section, empty, reload
from benchmarks.rounds import Contender, play
from perfkit.bulk import bulk_insert
from project.flights.models import Flight

SAVED_ROWS: Final = 500
"""save() in a loop is so slow that fewer rows tell its rate."""
GOALS: Final = {
    "all indexes": (None, None, None),
    "two indexes": (0.95, 3.5, 8.0),
    "no foreign keys": (0.80, 8.0, 14.0),
}
r"""By the state of the table: times `\copy`, times django-pgbulk, times bulk_create."""
ID_GOALS: Final = {"two indexes": (0.75, 5.0)}
r"""The same of an insert that returns the ids: times `\copy`, times bulk_create."""


def inserts(
    table: str, rows: list[Row], text: Path, binary: Path, *, rounds: int, budget_seconds: float
) -> Section:
    """Measure all ways into one state of the table.

    Args:
        table: One of GOALS.
        text: The same flights as CSV.
        binary: The same in COPY's binary format.
    """
    contenders = {each.name: each for each in _contenders(rows, text, binary)}
    play(list(contenders.values()), rounds=rounds, budget_seconds=budget_seconds)
    slowest = contenders["bulk_create"].rate
    lines: list[tuple[str, ...]] = [(f"[{table}]", "", "")]
    lines += [(each.name, number(each.rate), f"{each.rate / slowest:.2f}") for each in contenders.values()]
    return Section(lines, _figures(table, {name: each.rate for name, each in contenders.items()}))


def _contenders(rows: list[Row], text: Path, binary: Path) -> list[Contender]:
    columns = [field.name for field in Flight._meta.concrete_fields if not field.primary_key]
    made: list[Flight] = []

    def make(limit: int | None = None) -> None:
        empty()
        made[:] = [Flight(**row) for row in islice(rows, limit)]

    def save() -> int:
        for flight in made:
            flight.save(force_insert=True)
        return len(made)

    def bulk_create() -> int:
        return len(Flight.objects.bulk_create(made, batch_size=BATCH_ROWS))

    def bulk_create_from_dicts() -> int:
        return len(Flight.objects.bulk_create([Flight(**row) for row in rows], batch_size=BATCH_ROWS))

    def insert_checked_per_row() -> int:
        with override_settings(PERFKIT={"BULK_FOREIGN_KEYS_BY_SET": False}):
            return bulk_insert(Flight, rows).rows

    def pgbulk_copy(*, binary: bool) -> int:
        pgbulk.copy(Flight, made, columns, binary=binary)
        return len(made)

    return [
        Contender("save() in a loop", save, lambda: make(SAVED_ROWS)),
        Contender("bulk_create", bulk_create, make),
        Contender("bulk_create, from dicts", bulk_create_from_dicts, empty),
        Contender("django-pgbulk copy", lambda: pgbulk_copy(binary=False), make),
        Contender("django-pgbulk copy, binary=True", lambda: pgbulk_copy(binary=True), make),
        Contender("bulk_insert, instances", lambda: bulk_insert(Flight, made).rows, make),
        Contender("bulk_insert, dicts", lambda: bulk_insert(Flight, rows).rows, empty),
        Contender(
            "bulk_insert, dicts, with ids", lambda: bulk_insert(Flight, rows, return_ids=True).rows, empty
        ),
        Contender("bulk_insert, dicts, keys checked per row", insert_checked_per_row, empty),
        Contender(r"\copy of a ready CSV", lambda: reload(text, "CSV"), empty),
        Contender(r"\copy of a ready binary file", lambda: reload(binary, "BINARY"), empty),
    ]


def _figures(table: str, rates: dict[str, float]) -> list[Figure]:
    r"""Take perfkit's slower way and django-pgbulk's faster; `\copy` is of a CSV, text being its default."""
    own = min(rates["bulk_insert, instances"], rates["bulk_insert, dicts"])
    with_ids, by_set = rates["bulk_insert, dicts, with ids"], rates["bulk_insert, dicts"]
    limit, binary = rates[r"\copy of a ready CSV"], rates[r"\copy of a ready binary file"]
    pgbulk_rate = max(rates["django-pgbulk copy"], rates["django-pgbulk copy, binary=True"])
    created = rates["bulk_create"]
    of_limit, of_pgbulk, of_created = GOALS[table]
    ids_of_limit, ids_of_created = ID_GOALS.get(table, (None, None))

    def times(name: str, value: float, goal: float | None) -> Figure:
        return Figure(f"{name}, {table}", value, "times", goal, "higher")

    return [
        Figure(f"bulk_insert, {table}", own, "rows/s", None, "higher"),
        times(r"bulk_insert / \copy", own / limit, of_limit),
        times(r"bulk_insert / \copy, binary", own / binary, None),
        times("bulk_insert / django-pgbulk", own / pgbulk_rate, of_pgbulk),
        times("bulk_insert / bulk_create", own / created, of_created),
        times(r"bulk_insert with ids / \copy", with_ids / limit, ids_of_limit),
        times("bulk_insert with ids / bulk_create", with_ids / created, ids_of_created),
        times("keys by set / keys per row", by_set / rates["bulk_insert, dicts, keys checked per row"], None),
    ]
