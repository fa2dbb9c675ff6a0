"""What asking for a result costs that is kept, beside having it computed."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from statistics import median
from typing import Final

from benchmarks.figures import Figure, number
from benchmarks.loads.scene import Section
from benchmarks.queued import effects
from benchmarks.queued.place import Place

RUN: Final = "enqueued, run by a worker and waited for"
KEPT: Final = "enqueued, while its result is kept"
CALL: Final = "the plain call of the function, 50 ms"
CACHED: Final = "the function under cached, kept"
WAYS: Final = {"run": RUN, "kept": KEPT, "call": CALL, "cached": CACHED}
RUNS: Final = 5
"""Of what takes 50 ms, in one turn; of what is kept, twenty times as many."""


def kept(place: Place, *, rounds: int) -> Section:
    """Ask for results of a function that takes 50 ms, in turns."""
    effects.clear()
    times: defaultdict[str, list[float]] = defaultdict(list)
    anew = itertools.count(RUNS)
    order, dice = list(WAYS), random.Random(2013)
    known = list(range(RUNS))
    with place.working(), place.client() as client:
        client.ask(do="compute", way="run", numbers=known)
        client.ask(do="compute", way="cached", numbers=known)
        for _ in range(rounds):
            dice.shuffle(order)
            for way in order:
                numbers = [next(anew) for _ in range(RUNS)] if way in {"run", "call"} else known * 20
                times[WAYS[way]].append(client.ask(do="compute", way=way, numbers=numbers)["seconds"])
    lines: list[tuple[str, ...]] = [("[results that are kept]", "ms", "times as fast as a run")]
    lines += [
        (name, number(1e3 * median(times[name])), number(_times(times[RUN], times[name])))
        for name in WAYS.values()
    ]
    figures = [
        Figure(f"{RUN} / {KEPT}", _times(times[RUN], times[KEPT]), "times", 100.0, "higher"),
        Figure(f"{CALL} / {KEPT}", _times(times[CALL], times[KEPT]), "times", None, "higher"),
        Figure(f"{CALL} / {CACHED}", _times(times[CALL], times[CACHED]), "times", None, "higher"),
    ]
    return Section(lines, figures)


def _times(mine: list[float], theirs: list[float]) -> float:
    return median(own / its for own, its in zip(mine, theirs, strict=True))
