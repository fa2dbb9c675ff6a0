"""Buckets of durations: fixed ones, so that what many processes counted can be added up.

A bucket ends where the next begins, and a duration that is just a bound belongs to the bucket that it ends.
The bounds hold 1, 2.5, 5 and 10 of each decade, which Prometheus' buckets are usually made of, and between these
they grow by a constant factor of at most 1.039: the middle of a bucket is less than 2 % from all that is in it.

Source: the bound on the error of quantiles by buckets that grow so is that of "DDSketch: A Fast and
Fully-Mergeable Quantile Sketch with Relative-Error Guarantees", Masson, Rim and Lee, 2019.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from math import ceil, sqrt
from typing import Final

LEAST_MICROSECONDS: Final = 10
"""All that is not longer is in the first bucket."""

DECADES: Final = 10
"""Until 100,000 seconds, for tasks may run for more than a day."""

PIECES: Final = ((1.0, 2.5, 24), (2.5, 5.0, 20), (5.0, 10.0, 20))
"""Of a decade: from, to, and the number of buckets between."""

COARSE: Final = 4
"""Fine buckets in a coarse one, whose middle is at most 8 % from what is in it."""


def _bounds() -> list[float]:
    bounds = [float(LEAST_MICROSECONDS)]
    for decade in range(DECADES):
        scale = LEAST_MICROSECONDS * 10**decade
        for begin, end, buckets in PIECES:
            step = (end / begin) ** (1 / buckets)
            bounds += [scale * begin * step**number for number in range(1, buckets)]
            bounds.append(scale * end)
    return bounds


BOUNDS: Final = tuple(_bounds())
"""Where each bucket ends, in microseconds; what is beyond the last is in one more."""

_WHOLE_BOUNDS: Final = tuple(int(bound) for bound in BOUNDS)
"""The same for whole microseconds, which are found in less time among whole numbers."""

STANDARD: Final = tuple(accumulate([0, *(buckets for _, _, buckets in PIECES * DECADES)]))
"""The buckets that end at 1, 2.5 and 5 of a decade."""

STANDARD_SECONDS: Final = tuple(round(BOUNDS[bucket] / 1_000_000, 9) for bucket in STANDARD)
"""The same bounds in seconds: 0.00001, 0.000025, 0.00005, 0.0001 and so on until 100000."""


def bucket_of(microseconds: float) -> int:
    """Return the bucket of a duration.

    Example:
        >>> bucket_of(0), bucket_of(10), bucket_of(10.1), bucket_of(10**12) == len(BOUNDS)
        (0, 0, 1, True)
    """
    return bisect_left(BOUNDS, microseconds)


def buckets_of_all(durations: Iterable[int]) -> dict[int, int]:
    """Return how many of the durations, in whole microseconds, each bucket has.

    Example:
        >>> buckets_of_all([5, 10, 11, 11]) == {0: 2, bucket_of(11): 2}
        True
    """
    counts: dict[int, int] = {}
    for duration in durations:
        bucket = bisect_left(_WHOLE_BOUNDS, duration)
        counts[bucket] = counts.get(bucket, 0) + 1
    return counts


def coarse(bucket: int) -> int:
    """Return the last of the fine buckets that make one coarse bucket with this one.

    Example:
        >>> [coarse(bucket) for bucket in (0, 1, 4, 5, 8)]
        [0, 4, 4, 8, 8]
    """
    return -(-bucket // COARSE) * COARSE


def standard(bucket: int) -> int:
    """Return the first of the standard bounds that ends what is in this bucket, by its number."""
    return bisect_left(STANDARD, bucket)


def middle(bucket: int, *, width: int = 1) -> float:
    """Return the geometric middle of a bucket, in microseconds.

    Args:
        width: `COARSE` for a coarse one.
    """
    if bucket <= 0:
        return LEAST_MICROSECONDS / 2
    if bucket >= len(BOUNDS):
        return BOUNDS[-1]
    return sqrt(BOUNDS[max(0, bucket - width)] * BOUNDS[bucket])


def quantiles(counts: Mapping[int, int], shares: Iterable[float], *, width: int = 1) -> list[float | None]:
    """Return the durations that so many shares of all are not longer than, in microseconds.

    Each is the duration of that rank, within 2 %, or 8 % of coarse buckets; None where nothing was counted.

    Args:
        counts: How many durations there are, by bucket.
        shares: Above 0, and 1 at most.
        width: `COARSE` where the buckets are.

    Example:
        >>> [round(each) for each in quantiles({bucket_of(1000): 95, bucket_of(9000): 5}, [0.5, 0.95, 0.99])]
        [983, 983, 8858]
    """
    buckets = sorted(counts)
    totals = list(accumulate(counts[bucket] for bucket in buckets))
    if not totals or not totals[-1]:
        return [None for _ in shares]
    return [
        middle(buckets[bisect_left(totals, max(1, ceil(share * totals[-1] - 1e-9)))], width=width)
        for share in shares
    ]
