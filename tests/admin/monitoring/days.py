"""A day of a busy project, as its processes would have told it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence

import msgspec

from perfkit.monitoring.boards import (
    DAY_SECONDS,
    LOOPS,
    PROCESSES,
    STATEMENTS,
    Loop,
    Pool,
    Process,
    Seen,
    boards_of,
)
from perfkit.monitoring.fingerprints import fingerprint_of
from perfkit.monitoring.ledgers import Addition, Ledger, LocalLedger, Told, Vector
from perfkit.monitoring.series import WINDOWS, Series, pages_of
from tests.monitoring.events import add_event

MINUTES_IN_DAY = 24 * 60
VARIANTS = 6
"""Of what a series comes to in a minute."""

VIEWS = tuple(
    f"/shop/{name}/{kind}" for name in "abcdefgh" for kind in ("", "list/", "add/", "edit/", "find/")
)
MODELS = tuple(f"shop.Model{number}" for number in range(15)) + tuple(f"shop.top_{n}" for n in range(5))
TASKS = tuple(f"shop.tasks.task_{number}" for number in range(10))
QUEUES = ("default", "heavy")
STATEMENT_TEXTS = tuple(
    f'SELECT "t{number}"."id", "t{number}"."name" FROM "t{number}" WHERE "t{number}"."shop_id" = %s LIMIT ?'
    for number in range(200)
)


def series_of_day() -> Iterator[tuple[Series, int, float]]:
    """Yield each series, how often it happens in a minute, and its usual microseconds."""
    for place, view in enumerate(VIEWS):
        often = 1 + 60 // (place + 1)
        yield Series("request", ("GET", view, "2xx")), often, 20_000.0 + 4_000 * place
        if place % 4 == 0:
            yield Series("request", ("POST", view, "2xx")), 1, 60_000.0
        if place % 5 == 0:
            yield Series("request", ("GET", view, "5xx")), 1, 90_000.0
            yield Series("request", ("GET", view, "4xx")), 1, 5_000.0
    for place, text in enumerate(STATEMENT_TEXTS):
        yield (
            Series("query", ("default", "SELECT", fingerprint_of(text))),
            1 + 80 // (place + 1),
            900.0 + 40 * place,
        )
    for place, model in enumerate(MODELS):
        yield Series("cache", (model, "hit", "")), 40 - place, 0.0
        yield Series("cache", (model, "miss", "")), 1 + place // 2, 0.0
        if place % 3 == 0:
            yield Series("cache", (model, "bypass", "random order")), 1, 0.0
    for place, task in enumerate(TASKS):
        queue = QUEUES[place % 2]
        yield Series("task", (task, queue, "done")), 1 + place % 3, 400_000.0
        if place == 0:
            yield Series("task", (task, queue, "failed")), 1, 300_000.0
    for queue in QUEUES:
        yield Series("wait", (queue,)), 5, 30_000.0
    yield Series("timed", ("prices",)), 3, 15_000.0
    yield Series("loop", ("select", "shop.Order.customer")), 1, 0.0
    yield Series("pool", ("default",)), 1, 0.0


def write_day(ledger: Ledger, *, minutes: int = MINUTES_IN_DAY, now: float | None = None) -> None:
    """Write the minutes before now; a server is told page by page what they come to."""
    moment = time.time() if now is None else now
    chance = random.Random(1)
    variants = [
        [_vector(series, often, usual, chance) for _ in range(VARIANTS)]
        for series, often, usual in series_of_day()
    ]
    names = [series for series, _, _ in series_of_day()]
    whole = LocalLedger()
    pages: dict[str, Addition] = {}
    for ago in range(minutes):
        then = moment - 60 * ago
        sums = {series: chance.choice(choices) for series, choices in zip(names, variants, strict=True)}
        added = pages_of(sums, then)
        pages.update(
            {page: Addition({}, addition.kept_seconds, addition.most) for page, addition in added.items()}
        )
        whole.add(Told("day", ago + 1, int(moment // 86_400), added))
    _hand_over(whole, ledger, pages, int(moment // 86_400))
    _put_up(ledger, moment)


def _hand_over(whole: Ledger, ledger: Ledger, pages: dict[str, Addition], day: int) -> None:
    known = [*pages]
    writer = os.urandom(8).hex()  # a ledger adds no number of a writer twice
    for number, start in enumerate(range(0, len(known), 3), 1):
        some = known[start : start + 3]
        held = zip(some, whole.read(some), strict=True)
        ledger.add(Told(writer, number, day, {page: pages[page]._replace(vectors=it) for page, it in held}))


def _vector(series: Series, often: int, usual: float, chance: random.Random) -> Vector:
    vector: Vector = {}
    for _ in range(often):
        lasted = int(usual * chance.lognormvariate(0.0, 0.5))
        match series.kind:
            case "request":
                add_event(vector, series, lasted, lasted // 3, 4)
            case "query":
                add_event(vector, series, lasted, chance.random() < 0.02, 0)
            case "pool":
                add_event(vector, series, 1, 3, 8)
            case "cache":
                add_event(vector, series, 1, 0, 0)
            case "loop":
                add_event(vector, series, 1, 30, 0)
            case _:
                add_event(vector, series, lasted, 0, 0)
    return vector


def _put_up(ledger: Ledger, now: float) -> None:
    pool = Pool("default", 3, 4, 8, 0, 1000, 10, 0.5, 0)
    processes = [
        Process(now, f"web{n}", 100 + n, role, now - 5000, 1, 4_000_000, (pool,) if role == "web" else ())
        for n, role in enumerate(["web", "web", "worker"])
    ]
    _post(ledger, PROCESSES, {f"p{n}": each for n, each in enumerate(processes)})
    seen = {
        fingerprint_of(text): Seen(text, "default", VIEWS[n % len(VIEWS)], f"shop/views.py:{n + 1}", "GET")
        for n, text in enumerate(STATEMENT_TEXTS)
    }
    for board in boards_of(STATEMENTS, now - DAY_SECONDS, now):
        _post(ledger, board, seen)
    loop = Loop(
        "select",
        "shop.Order.customer",
        ("shop/views.py:12",),
        'SELECT * FROM "shop_customer" WHERE "id" = %s',
        'Order.objects.select_related("customer")',
        30,
    )
    for board in boards_of(LOOPS, now - DAY_SECONDS, now):
        _post(ledger, board, {"select\tshop.Order.customer": loop})


def _post(ledger: Ledger, board: str, notes: dict[str, msgspec.Struct]) -> None:
    packed = {name: msgspec.msgpack.encode(note) for name, note in notes.items()}
    ledger.post(board, packed, kept_seconds=86_400, most=2_000)


def all_pages(now: float | None = None) -> Sequence[str]:
    """Return the names of all pages that a day is written on, and of the boards."""
    moment = time.time() if now is None else now
    windows = [
        window.name(window.part(moment) - ago) for window in WINDOWS for ago in range(window.parts + 2)
    ]
    days = [name for board in (STATEMENTS, LOOPS) for name in boards_of(board, moment - DAY_SECONDS, moment)]
    return [*windows, "T", PROCESSES, *days]
