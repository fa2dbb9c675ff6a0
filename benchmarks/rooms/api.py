"""Room api: pages of all flights of the year, at the beginning and deep in the list, beside plain Django."""

from __future__ import annotations

import logging
from typing import Final

from benchmarks.figures import Report
from benchmarks.loads.depth import ORDERS, counts, pages
from benchmarks.loads.limiting import checks
from benchmarks.loads.lists import lists
from benchmarks.loads.served import served
from benchmarks.timetable.tables import fill_tables

PEERS: Final = ("limits", "djangorestframework", "orjson", "gunicorn", "granian")
FLIGHTS: Final = 336_776


def measure(*, is_quick: bool) -> Report:
    """Read pages in several ways, in turns; each page has the same flights whichever way it is read."""
    logging.getLogger("perfkit.queries").disabled = True
    fill_tables(FLIGHTS)
    rounds, seconds = (15, 6.0) if is_quick else (60, 40.0)
    sections = [lists(rounds=10 * rounds, seconds=seconds)]
    sections.append(served(rounds=2 if is_quick else 5, seconds=3 * seconds))
    sections += [pages(name, rounds=rounds, seconds=seconds) for name in ORDERS]
    sections.append(counts(rounds=rounds, seconds=seconds))
    sections.append(checks(rounds=10 * rounds, seconds=seconds))
    lines: list[tuple[str, ...]] = [("what is read", "ms", "times page 1, the exact count or a PING")]
    return Report(
        "api",
        f"{'A quick run: ' if is_quick else ''}{FLIGHTS:,} flights, pages of 20 with their airlines; "
        f"medians of at most {rounds} interleaved rounds.",
        lines + [line for section in sections for line in section.lines],
        [figure for section in sections for figure in section.figures],
    )
