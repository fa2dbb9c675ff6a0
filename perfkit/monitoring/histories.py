"""How one thing that is measured went over time: `read_history`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from perfkit.monitoring.figures import Pages
from perfkit.monitoring.ledgers import Vector, current_ledger
from perfkit.monitoring.summary import RANGES


class Stretch(NamedTuple):
    """One part of a range: five minutes, or an hour.

    Args:
        moment: When it began, in seconds since 1970.
        seconds: How long it is, or has been so far.
        vectors: What was measured in it, by name.
    """

    moment: float
    seconds: float
    vectors: Mapping[str, Vector]

    @property
    def pages(self) -> Pages:
        """The same to be asked by kind; quantiles are within 2 %."""
        return Pages(self.vectors)


def read_history(names: Sequence[str], since: str, *, now: float | None = None) -> list[Stretch]:
    """Return what all processes measured of some series, part by part, oldest first.

    Args:
        names: Of vectors, as `series.part_names` makes them.
        since: `"15m"`, `"1h"`, `"6h"` or `"24h"`.
        now: Seconds since 1970.

    Raises:
        ValueError: There is no such range.
        StoreError: The ledger cannot be reached.

    Queries:
        None; one round trip to the cache server.
    """
    if since not in RANGES:
        raise ValueError(f"since must be one of {', '.join(map(repr, RANGES))}, not {since!r}.")
    if not names:
        return []
    window, parts = RANGES[since].window, RANGES[since].parts
    moment = time.time() if now is None else now
    numbers = range(window.part(moment) - parts + 1, window.part(moment) + 1)
    found = current_ledger().read([window.name(number) for number in numbers], names=names)
    begun = [float(number * window.part_seconds) for number in numbers]
    return [
        Stretch(begin, min(float(window.part_seconds), moment - begin), vectors)
        for begin, vectors in zip(begun, found, strict=True)
    ]
