"""What it costs to count the statements of a process by their shapes, and to keep examples of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import connection
from django.db.models import QuerySet
from django.test import override_settings

from benchmarks.figures import Figure
from benchmarks.loads.scene import Section, load_what_flights_refer_to
from benchmarks.rounds import play
from perfkit.conf import configured
from perfkit.workload import clear_workload, flush_workload
from perfkit.workload.reading import read_capture
from project.flights.models import Airline, Airport, Flight, Plane

QUERIES_PER_TURN: Final = 1_200
OFF: Final = {"WORKLOAD_ENABLED": False}
ON: Final = {"WORKLOAD_ENABLED": True}

Statement = tuple[str, tuple[Any, ...]]


@dataclass
class Way:
    """The same statements under one set of settings.

    Attributes:
        statements: With values that change, as a site sends them.
        microseconds: Of the processor for one statement, of each turn.
        written: Of the processor, in milliseconds, for writing down what a turn has counted.
    """

    name: str
    options: dict[str, Any]
    statements: Sequence[Statement]
    microseconds: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)

    def take_turn(self) -> None:
        """Send the statements; the thread that writes down what was counted does so in its own time."""
        with override_settings(PERFKIT={**configured(), **self.options}), connection.cursor() as cursor:
            for statement in self.statements[:20]:
                cursor.execute(*statement)
            cpu = time.process_time()
            for statement in self.statements:
                cursor.execute(*statement)
                cursor.fetchall()
            spent = time.process_time() - cpu
            self.microseconds.append(spent / len(self.statements) * 1e6)
            cpu = time.process_time()
            flush_workload()
            self.written.append((time.process_time() - cpu) * 1e3)

    def beyond(self, other: Way) -> float:
        """Return how much more a statement takes than in another way, in the median of the rounds."""
        return statistics.median(
            ours - theirs for ours, theirs in zip(self.microseconds, other.microseconds, strict=True)
        )


def capturing(*, rounds: int, seconds: float) -> Section:
    """Send statements with nothing counted, with all counted, and with examples of all of them, in turns."""
    load_what_flights_refer_to()
    sent = list(_statements())
    off = Way("nothing counted", OFF, sent)
    on = Way("counted, examples as by default", ON, sent)
    whole = Way("counted, each an example", {**ON, "WORKLOAD_SAMPLE_RATE": 1.0}, sent)
    played = play([off, on, whole], rounds=rounds, budget_seconds=seconds)
    kept = read_capture()
    clear_workload()
    lines = [
        (f"us of the processor for a statement, {way.name}", f"{statistics.median(way.microseconds):.1f}")
        for way in (off, on, whole)
    ]
    return Section(
        [*lines, ("shapes that were counted", f"{len(kept.shapes):,}"), ("turns of each", f"{played:,}")],
        [
            Figure("counting a statement of the workload", on.beyond(off), "us", 20, "lower"),
            Figure("with each of them as an example", whole.beyond(off), "us", None, "lower"),
            Figure("writing down an interval", statistics.median(on.written), "ms", None, "lower"),
        ],
    )


def _statements() -> Sequence[Statement]:
    """Return what Django sends for six querysets, again and again with other values."""
    shapes: list[Callable[[int], QuerySet[Any, Any]]] = [
        lambda number: Airline.objects.filter(pk=f"{number % 99:02}"),
        lambda number: Airport.objects.filter(pk__in=[f"A{number % 77}", "JFK"]).values_list("pk"),
        lambda number: Plane.objects.filter(year=1850 + number % 60).values_list("pk"),
        lambda number: Flight.objects.filter(month=number % 12 + 1).order_by("pk")[:5],
        lambda number: Flight.objects.filter(number=number % 5_000).select_related("airline")[:5],
        lambda number: Airport.objects.filter(name=f"{number} o'clock").order_by("name"),
    ]
    queries = [shapes[number % len(shapes)](number).query for number in range(QUERIES_PER_TURN)]
    return [query.get_compiler(connection=connection).as_sql() for query in queries]
