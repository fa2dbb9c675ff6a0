"""`python -m tests.load.walks`: all flights by cursor, in each order that the demo allows, against the plain one.

Forward to the end and back to the beginning, through a compiled route; and again while others insert and delete
rows, where each row that stays must come once, in its place.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

if __name__ == "__main__":
    os.environ.setdefault("PERFKIT_SERVICES", "load")
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    import django

    django.setup()

from django.db import connection
from django.test import Client, override_settings

from perfkit.api import total_order
from project.flights.api import FlightSorting
from project.flights.models import Flight
from tests.load.walk_urls import GUEST_YEAR

NAMES: Final = ("time_hour", "dep_delay", "airline", "number")
ORDERS: Final = tuple(f"{sign}{name}" for name in NAMES for sign in ("", "-"))
PAGE_SIZE: Final = 100
GUESTS: Final = 40
"""Rows that a writer inserts at once, and deletes again."""


def walked(order: str, *, until: int) -> tuple[list[int], list[int]]:
    """Return the keys as they come forward, and as they come backward, from the last page to the first."""
    client = Client(SERVER_NAME="localhost")

    def page(cursor: str | None) -> dict[str, Any]:
        query = {"sort_by": order, "page_size": PAGE_SIZE, "until": until}
        answer = client.get("/walks/flights", query | ({} if cursor is None else {"cursor": cursor}))
        assert answer.status_code == 200, answer.content
        found: dict[str, Any] = answer.json()
        return found

    def all_pages(first: dict[str, Any], way: str) -> Iterator[dict[str, Any]]:
        at = first
        yield at
        while at[way] is not None:
            at = page(at[way])
            yield at

    forward: list[int] = []
    last: dict[str, Any] = {}
    for last in all_pages(page(None), "next"):
        forward += [item["id"] for item in last["items"]]
    backward: list[list[int]] = [
        [item["id"] for item in each["items"]] for each in all_pages(last, "previous")
    ]
    return forward, [key for keys in reversed(backward) for key in keys]


def plain(order: str, *, until: int) -> list[int]:
    """Return the keys in the same order, as one plain query has them."""
    rows = Flight.objects.filter(pk__lte=until) if until else Flight.objects.all()
    return list(total_order(FlightSorting(sort_by=[order]).apply(rows)).values_list("pk", flat=True))


class Writer(threading.Thread):
    """Inserts copies of some flights among the others and deletes them again, until it is told to stop."""

    def __init__(self, *, until: int) -> None:
        super().__init__(daemon=True)
        self._until = until
        self._first, self._last = Flight.objects.earliest("pk").pk, Flight.objects.latest("pk").pk
        self.is_ended = threading.Event()
        self.rounds = 0
        self.fault: Exception | None = None

    def run(self) -> None:
        try:
            while not self.is_ended.is_set():
                self._write()
        except Exception as error:
            self.fault = error
            raise
        finally:
            connection.close()

    def _write(self) -> None:
        most = self._until or self._last
        rows = list(Flight.objects.filter(pk__in=random.sample(range(self._first, most + 1), GUESTS)))
        for row in rows:
            row.pk, row.year = None, GUEST_YEAR
            row._state.adding = True
        made = [row.pk for row in Flight.objects.bulk_create(rows)]
        time.sleep(0.02)
        Flight.objects.filter(pk__in=made).delete()
        self.rounds += 1


def main(arguments: Sequence[str]) -> int:
    """Walk, say what came of it, and return 1 where any walk differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.walks")
    parser.add_argument("--order", action="append", choices=ORDERS, help="all, where none is named")
    parser.add_argument("--until", type=int, default=0, help="only rows up to this key")
    options = parser.parse_args(arguments)
    failed = 0
    with override_settings(ROOT_URLCONF="tests.load.walk_urls", MIDDLEWARE=[]):
        for order in options.order or ORDERS:
            for is_written in (False, True):
                failed += not walk(order, until=options.until, is_written=is_written)
    return 1 if failed else 0


def walk(order: str, *, until: int, is_written: bool) -> bool:
    """Walk once, and say whether each row that stays came once and in its place, in both directions."""
    Flight.objects.filter(year=GUEST_YEAR).delete()  # of a run that was ended
    expected = plain(order, until=until)
    kept = set(expected)
    writer = Writer(until=until)
    if is_written:
        writer.start()
    began = time.perf_counter()
    try:
        ways = walked(order, until=until)
    finally:
        writer.is_ended.set()
        if is_written:
            writer.join()
    seconds = time.perf_counter() - began
    if writer.fault is not None or (is_written and not writer.rounds):
        raise RuntimeError("The writer did not write.") from writer.fault
    found = [[key for key in way if key in kept] if is_written else way for way in ways]
    is_equal = all(way == expected for way in found)
    guests = sum(key not in kept for way in ways for key in way)
    told = f"{writer.rounds} rounds of writes, {guests} guests seen" if is_written else "nobody writes"
    print(
        f"{order:12} {len(expected):8,} rows {seconds:7.1f} s  {'equal' if is_equal else 'DIFFERS'}  ({told})"
    )
    return is_equal


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
