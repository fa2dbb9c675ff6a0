"""What triggers cost those who write outside Django: the same statements, with the triggers and without.

`python -m benchmarks.loads.outside_writers [--quick]` measures it by itself, in a database of its own.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import django
import psycopg

if __name__ == "__main__":
    django.setup()

from django.db import connection as django_connection  # the apps come first

from benchmarks.database import database_version, own_database
from benchmarks.figures import Figure, aligned, number
from benchmarks.loads.scene import Section
from perfkit.caching.triggers import install_triggers, remove_triggers
from perfkit.caching.triggers.states import EVENTS, trigger_name
from project.flights.models import Plane

TABLE: Final = "flights_plane"
WITH: Final = "with triggers"
WITHOUT: Final = "without"
SIZES: Final = (1, 100, 10_000)
FEW: Final = 100
"""Rows up to which a statement is so short that many of a kind are timed together."""
CALLS: Final = 20
PLANNED: Final = 8
"""Calls after which the server plans the statements within the triggers no more."""
ROWS: Final = 20_000
"""Others that the table has."""

KEYS: Final = (
    "tailnum > 'X' || lpad(to_hex({first}), 5, '0') AND "
    "tailnum <= 'X' || lpad(to_hex({first} + {rows}), 5, '0')"
)
COLUMNS: Final = "tailnum, year, type, manufacturer, model, engines, seats, speed, engine"
STATEMENTS: Final = {
    "insert": f"INSERT INTO {TABLE} ({COLUMNS}) SELECT 'X' || lpad(to_hex({{first}} + n), 5, '0'), 2000, "
    "'Fixed wing multi engine', 'BOEING', '737-824', 2, 149, NULL, 'Turbo-fan' "
    "FROM generate_series(1, {rows}) n",
    "update": f"UPDATE {TABLE} SET seats = seats % 200 + 1 WHERE {KEYS}",
    "delete": f"DELETE FROM {TABLE} WHERE {KEYS}",
}
SAVE: Final = "save() through Django"

Times = defaultdict[tuple[str, int, str], list[float]]
"""Seconds of one statement, by what it does, how many rows it has, and whether the triggers are on."""


def outside_writers(*, rounds: int, budget_seconds: float) -> Section:
    """Measure inserts, updates and deletes of 1, 100 and 10,000 rows, each a transaction of its own.

    The triggers are turned on and off between turns, in a new order each round.
    """
    with _table() as connection:
        times = _played(connection, rounds=rounds, budget_seconds=budget_seconds)
    lines: list[tuple[str, ...]] = [("[outside writers]", "µs without", "µs with triggers", "times")]
    figures = []
    for kind, sizes in {**dict.fromkeys(STATEMENTS, SIZES), SAVE: (1,)}.items():
        for rows in sizes:
            plain, told = times[kind, rows, WITHOUT], times[kind, rows, WITH]
            ratio = statistics.median(each / other for each, other in zip(told, plain, strict=True))
            medians = [statistics.median(each) * 1e6 for each in (plain, told)]
            lines.append((_title(kind, rows), *map(number, medians), f"{ratio:.2f}"))
            figures.append(
                Figure(f"{_title(kind, rows)}: with triggers / without", ratio, "times", None, "lower")
            )
            if rows == 1:
                more = statistics.median(each - other for each, other in zip(told, plain, strict=True))
                figures.append(
                    Figure(f"{_title(kind, rows)}: what triggers add", more * 1e6, "us", None, "lower")
                )
    return Section(lines, figures)


def _title(kind: str, rows: int) -> str:
    return kind if kind == SAVE else f"{kind} of {rows:,}"


def _played(connection: Any, *, rounds: int, budget_seconds: float) -> Times:
    times: Times = defaultdict(list)
    dice = random.Random(2013)
    turns = [(rows, triggers) for rows in SIZES for triggers in (WITH, WITHOUT)]
    started = time.perf_counter()
    for turn in range(rounds):
        if turn and (time.perf_counter() - started) * (turn + 1) / turn > budget_seconds:
            break
        dice.shuffle(turns)
        for rows, triggers in turns:
            _turn(connection, is_on=triggers == WITH)
            calls = CALLS if rows <= FEW else 1
            for kind, statement in STATEMENTS.items():
                texts = [statement.format(rows=rows, first=call * rows) for call in range(calls)]
                begun = time.perf_counter()
                for text in texts:
                    connection.execute(text)
                times[kind, rows, triggers].append((time.perf_counter() - begun) / calls)
            if rows == 1:
                times[SAVE, 1, triggers].append(_seconds_of_a_save())
    return times


def _seconds_of_a_save() -> float:
    """Return how long Django takes, which perfkit has announce its write too."""
    plane = Plane.objects.uncached()[0]
    begun = time.perf_counter()
    for _ in range(CALLS):
        plane.seats = plane.seats % 200 + 1
        plane.save()
    return (time.perf_counter() - begun) / CALLS


def _turn(connection: Any, *, is_on: bool) -> None:
    """Turn the triggers on or off, and let the server forget and learn what it must for that."""
    how = "ENABLE ALWAYS" if is_on else "DISABLE"
    names = ", ".join(f"{how} TRIGGER {trigger_name(event)}" for event in EVENTS)
    connection.execute(f"ALTER TABLE {TABLE} {names}")
    connection.execute(f"VACUUM {TABLE}, perfkit_pendinginvalidation")
    for statement in list(STATEMENTS.values()) * PLANNED:
        connection.execute(statement.format(rows=1, first=0))


@contextmanager
def _table() -> Iterator[Any]:
    """Fill the table, make its triggers, and yield a connection that knows nothing of Django."""
    django_connection.ensure_connection()
    password = str(django_connection.settings_dict["PASSWORD"])
    dsn = django_connection.connection.info.dsn
    with psycopg.connect(dsn, password=password, autocommit=True, prepare_threshold=None) as outside:
        outside.execute("SET synchronous_commit = off")
        django_connection.connection.execute("SET synchronous_commit = off")
        outside.execute(f"TRUNCATE {TABLE} CASCADE")
        others = STATEMENTS["insert"].replace("'X'", "'N'")  # their keys are before those that are measured
        outside.execute(others.format(rows=ROWS, first=0))
        list(install_triggers([Plane]))
        outside.execute(f"VACUUM ANALYZE {TABLE}")
        try:
            yield outside
        finally:
            list(remove_triggers([Plane]))
            outside.execute(f"TRUNCATE {TABLE}, perfkit_pendinginvalidation CASCADE")


def main(arguments: list[str]) -> int:
    """Measure, and print the table."""
    is_quick = "--quick" in arguments
    with own_database():
        section = outside_writers(rounds=10 if is_quick else 60, budget_seconds=20 if is_quick else 55)
        print(database_version())
    print("\n".join([*aligned(section.lines), "", *map(str, section.figures)]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
