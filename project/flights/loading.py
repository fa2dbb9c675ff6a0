"""Loads the demo's tables, each in one transaction, and accounts for every row."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import models

from perfkit.bulk import bulk_insert
from project.flights import source
from project.flights.models import Airline, Airport, Flight, Plane, StatusReport, Weather

Progress = Callable[[type[models.Model]], AbstractContextManager[Callable[[int], object]]]

REPORTERS: Final = ("crew", "dispatch", "gate-agent", "passenger", "tower")
SEED: Final = 2013


class UnaccountedError(Exception):
    """The database does not hold what was loaded into it."""


@dataclass(frozen=True)
class Loaded:
    """What became of the rows of one table.

    Attributes:
        offered: Rows that the source has.
        written: Those of them that were missing.
        present: Those of them that were there already.
        foreign: Rows in the table that the source does not have; they are left alone.
    """

    model: type[models.Model]
    offered: int
    written: int
    present: int
    foreign: int


@dataclass(frozen=True)
class Table:
    """A table that is loaded, and the fields that name a row of it in the world."""

    model: type[models.Model]
    rows: Iterable[dict[str, Any]]
    key: tuple[str, ...]


def tables(dirt: source.Dirt, *, flight_limit: int | None = None) -> list[Table]:
    """Return the tables in the order in which they refer to each other.

    Args:
        dirt: Filled while the flights are read.
        flight_limit: Only the first flights of the file.
    """
    return [
        Table(Airline, source.airlines(), ("code",)),
        Table(Airport, source.airports(), ("code",)),
        Table(Plane, source.planes(), ("tailnum",)),
        Table(Weather, source.weather(), ("origin_id", "time_hour")),
        Table(
            Flight,
            islice(source.flights(dirt), flight_limit),
            ("year", "month", "day", "airline_id", "number", "origin_id"),
        ),
    ]


def load(table: Table, *, progress: Progress) -> Loaded:
    """Write the rows of `table` that are missing.

    A table that was loaded in part is completed; rows that others put there stay.

    Raises:
        UnaccountedError: The table's count does not come out; its rows were written nevertheless.
    """
    manager = table.model._default_manager
    before = set(manager.values_list(*table.key).iterator(chunk_size=10_000))
    count_before = manager.count()
    tally = _Tally(table, before)
    with progress(table.model) as advance:
        result = bulk_insert(table.model, tally.missing(), progress=advance)
    if (
        manager.count() != count_before + tally.offered - tally.present
        or result.rows + tally.present != tally.offered
    ):
        raise UnaccountedError(
            f"{table.model._meta.label}: of {tally.offered} rows {tally.present} were there and "
            f"{result.rows} written, but the table went from {count_before} to {manager.count()}. "
            "Is something else writing to it?"
        )
    return Loaded(table.model, tally.offered, result.rows, tally.present, count_before - tally.present)


def load_status_reports(count: int, *, progress: Progress) -> Loaded:
    """Bring the demo users' reports to `count`, always the same ones over the same flights.

    Raises:
        UnaccountedError: As `load`.
    """
    authors = [_reporter(name) for name in REPORTERS]
    own = StatusReport.objects.filter(author__in=authors)
    present, total = own.count(), StatusReport.objects.count()
    missing = islice(_status_reports(count, authors), present, None)
    with progress(StatusReport) as advance:
        written = bulk_insert(StatusReport, missing, progress=advance).rows
    if own.count() != present + written:
        raise UnaccountedError(
            f"StatusReport: {written} rows written, but {own.count() - present} came to be there."
        )
    return Loaded(StatusReport, count, written, min(present, count), total - min(present, count))


class _Tally:
    """Counts a table's rows while those that are missing pass by."""

    def __init__(self, table: Table, before: set[tuple[Any, ...]]) -> None:
        self.table = table
        self.before = before
        self.offered = 0
        self.present = 0

    def missing(self) -> Iterator[dict[str, Any]]:
        for row in self.table.rows:
            self.offered += 1
            if self.before and tuple(row[name] for name in self.table.key) in self.before:
                self.present += 1
            else:
                yield row


def _status_reports(count: int, authors: list[User]) -> Iterator[dict[str, Any]]:
    flights = list(Flight.objects.order_by("pk").values_list("pk", flat=True)) if count else []
    dice = random.Random(SEED)  # noqa: S311  # the same reports each time, no secret
    for _ in range(count if flights else 0):
        kind = dice.choice(StatusReport.Kind.values)
        is_delay, is_gate = kind == StatusReport.Kind.DELAY, kind == StatusReport.Kind.GATE_CHANGE
        minutes, gate = dice.randrange(5, 240, 5), f"{dice.choice('ABCD')}{dice.randint(1, 40)}"
        yield {
            "flight_id": dice.choice(flights),
            "author_id": dice.choice(authors).pk,
            "kind": kind,
            "delay_minutes": minutes if is_delay else None,
            "gate": gate if is_gate else "",
            "note": dice.choice(("", "", "Weather.", "Late inbound aircraft.", "Crew change.")),
        }


def _reporter(name: str) -> User:
    """Return the demo user `name`, made at the first call, who cannot log in."""
    return User.objects.filter(username=name).first() or User.objects.create_user(name)
