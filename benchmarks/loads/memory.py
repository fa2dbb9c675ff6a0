"""How much more memory Python takes while rows from a generator are written, few and many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks.figures import Figure
from benchmarks.loads.scene import KEY, Section, empty, many_flights
from benchmarks.rounds import Contender
from perfkit.bulk import bulk_insert, bulk_update, bulk_upsert
from project.flights.models import Flight

MOST_MIB: Final = 16.0


def memory(few: int, many: int) -> Section:
    """Weigh each call with few rows and with many."""

    def insert(count: int) -> int:
        return bulk_insert(Flight, many_flights(count)).rows

    def update(count: int) -> int:
        keys = Flight.objects.order_by("pk").values_list("pk", flat=True)[:count].iterator()
        return bulk_update(Flight, ((pk, {"arr_delay": pk % 89}) for pk in keys)).rows

    def upsert(count: int) -> int:
        return bulk_upsert(Flight, many_flights(count), conflict_columns=KEY).rows

    ways: dict[str, tuple[Callable[[int], int], Callable[[], object]]] = {
        "bulk_insert": (insert, empty),
        "bulk_update": (update, lambda: None),
        "bulk_upsert": (upsert, lambda: None),
    }
    lines: list[tuple[str, ...]] = [("[peak MiB]", f"{few:,} rows", f"{many:,} rows")]
    figures = []
    for name, (run, prepare) in ways.items():
        peaks = []
        for count in (few, many):
            contender = Contender(name, lambda run=run, count=count: run(count), prepare)  # type: ignore[misc]
            contender.weigh()
            peaks.append(contender.peak_bytes / 2**20)
            figures.append(Figure(f"{name} of {count:,}: peak memory", peaks[-1], "MiB", MOST_MIB, "lower"))
        lines.append((name, *(f"{peak:.1f}" for peak in peaks)))
    return Section(lines, figures)
