"""One page of a list with its relations, in one process: compiled, by its peers, and the least that it takes."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from typing import Any, Final

import orjson
import psycopg
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.db import connection
from django.test import RequestFactory, override_settings

from benchmarks.figures import Figure
from benchmarks.loads.scene import Section
from benchmarks.rounds import Contender, play, warm
from perfkit.postgres.prepared import PREPARE_WHEN_ASKED

SIZES: Final = (20, 100)

WAYS: Final = {
    "no Django: psycopg, prepared, and orjson": "",
    "compiled, a plain Django view": "view/",
    "compiled, ninja with perfkit's renderer": "fast/first",
    "compiled, ninja": "ours/first",
    "compiled, ninja with perfkit's renderer, pages by cursor": "fast/keyset",
    "ninja, select_related": "plain/first",
    "ninja, select_related, orjson": "orjson/first",
    "ninja's own pagination": "plain/pages",
    "compiled, page with a cached count": "fast/pages",
    "Django REST framework, select_related": "rest/",
    "a list that is kept": "fast/cached",
    "a view of constant bytes": "constant/",
}

RAW: Final = "no Django: psycopg, prepared, and orjson"
VIEW: Final = "compiled, a plain Django view"
ROUTE: Final = "compiled, ninja with perfkit's renderer"
CURSORS: Final = "compiled, ninja with perfkit's renderer, pages by cursor"
NUMBERS: Final = "compiled, page with a cached count"

GOALS: Final = {
    # The way, the one that it is set against, and the goals for 20 and for 100 rows.
    (ROUTE, "ninja, select_related"): (8.0, 7.0, "higher"),
    (NUMBERS, "ninja's own pagination"): (30.0, 15.0, "higher"),
    (VIEW, RAW): (2.0, 1.3, "lower"),
    ("a list that is kept", "a view of constant bytes"): (2.0, 2.0, "lower"),
    (VIEW, "ninja, select_related"): (None, None, "higher"),
    ("compiled, ninja", "ninja, select_related"): (None, None, "higher"),
    (CURSORS, "ninja, select_related"): (None, None, "higher"),
    (ROUTE, "ninja, select_related, orjson"): (None, None, "higher"),
    (ROUTE, "Django REST framework, select_related"): (None, None, "higher"),
    (ROUTE, RAW): (None, None, "lower"),
    (CURSORS, RAW): (None, None, "lower"),
}


@override_settings(
    ROOT_URLCONF="benchmarks.loads.site",
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=[],
    REST_FRAMEWORK={"UNAUTHENTICATED_USER": None},
)
def lists(*, rounds: int, seconds: float) -> Section:
    """Ask for the first page of all flights in turns.

    Raises:
        RuntimeError: Two ways do not show the same flights.
    """
    connection.close()
    connection.settings_dict["CONN_MAX_AGE"] = None  # as with a pool: a request finds its connection open
    connection.ensure_connection()
    connection.connection.prepare_threshold = PREPARE_WHEN_ASKED
    lines: list[tuple[str, ...]] = []
    figures: list[Figure] = []
    for place, size in enumerate(SIZES):
        ways = _ways(size)
        contenders = {name: Contender(name, warm(ask), lambda: None) for name, ask in ways.items()}
        play(list(contenders.values()), rounds=rounds, budget_seconds=seconds)
        least = contenders[RAW]
        lines += [
            (f"{size} flights: {name}", f"{1e3 / each.rate:,.3f}", f"{_times(each, least):.2f}")
            for name, each in contenders.items()
        ]
        for (way, other), (*goals, better) in GOALS.items():
            mine, theirs = contenders[way], contenders[other]
            told = (
                f"{size} flights: {other} / {way}"
                if better == "higher"
                else f"{size} flights: {way} / {other}"
            )
            value = _times(theirs, mine) if better == "higher" else _times(mine, theirs)
            figures.append(Figure(told, value, "times", goals[place], better))  # type: ignore[arg-type]
    return Section(lines, figures)


def _ways(size: int) -> dict[str, Callable[[], bytes]]:
    """Return what asks in each way, once all have shown the same."""
    from benchmarks.loads import site  # its views need the settings

    expected = _items(_ask("plain/first", size)())
    site.CONSTANT[str(size)] = _ask("fast/keyset", size)()
    ways = {name: _ask(address, size) if address else _raw(size) for name, address in WAYS.items()}
    for name, ask in ways.items():
        shown = _items(ask())
        if shown != expected:
            other = next((pair for pair in zip(shown, expected, strict=False) if pair[0] != pair[1]), None)
            raise RuntimeError(f"{name} shows other flights: {other or len(shown)}.")
    return ways


def _items(content: bytes) -> Any:
    told = json.loads(content)
    return told["items"] if isinstance(told, dict) else told


def _ask(address: str, size: int) -> Callable[[], bytes]:
    """Return what has Django answer a request, from the server's environment to the bytes."""
    handler = WSGIHandler()
    given = RequestFactory().get(f"/{address}", {"page_size": size, "page": 1}).environ
    if not address.endswith("pages"):
        given = RequestFactory().get(f"/{address}", {"page_size": size}).environ

    def ask() -> bytes:
        response: Any = handler.get_response(WSGIRequest(dict(given)))
        if response.status_code != 200:
            raise RuntimeError(f"{address}: {response.status_code} {response.content[:500]!r}")
        content: bytes = response.content
        response.close()
        return content

    return ask


def _raw(size: int) -> Callable[[], bytes]:
    """Return what does the least: one prepared statement, dicts of its rows, and orjson."""
    cursor = psycopg.Cursor(connection.connection)
    statement = f"{STATEMENT} LIMIT {size}"

    def ask() -> bytes:
        cursor.execute(statement, prepare=True, binary=True)
        content: bytes = orjson.dumps([_row(*values) for values in cursor.fetchall()])
        return content

    return ask


STATEMENT: Final = """
    SELECT f.id, f.airline_id, a.name, f.number, f.origin_id, o.name, f.destination_id, d.name, f.dest_code,
        f.plane_id, p.year, p.manufacturer, p.model, p.seats, f.tailnum, f.time_hour, f.sched_dep_time, f.dep_time,
        f.dep_delay, f.sched_arr_time, f.arr_time, f.arr_delay, f.air_time, f.distance
    FROM flights_flight f
    JOIN flights_airline a ON a.code = f.airline_id
    JOIN flights_airport o ON o.code = f.origin_id
    LEFT JOIN flights_airport d ON d.code = f.destination_id
    LEFT JOIN flights_plane p ON p.tailnum = f.plane_id
    ORDER BY f.time_hour DESC, f.id DESC"""


def _row(*v: Any) -> dict[str, Any]:
    return {
        "id": v[0],
        "airline": {"code": v[1], "name": v[2]},
        "number": v[3],
        "origin": {"code": v[4], "name": v[5]},
        "destination": None if v[6] is None else {"code": v[6], "name": v[7]},
        "dest_code": v[8],
        "plane": None
        if v[9] is None
        else {"tailnum": v[9], "year": v[10], "manufacturer": v[11], "model": v[12], "seats": v[13]},
        "tailnum": v[14],
        "time_hour": v[15].isoformat()[:-6] + "Z",
        "sched_dep_time": v[16],
        "dep_time": v[17],
        "dep_delay": v[18],
        "sched_arr_time": v[19],
        "arr_time": v[20],
        "arr_delay": v[21],
        "air_time": v[22],
        "distance": v[23],
    }


def _times(each: Contender, other: Contender) -> float:
    """Return how many times as long one takes as the other, by the median of the rounds."""
    return statistics.median(theirs / mine for mine, theirs in zip(each.rates, other.rates, strict=True))
