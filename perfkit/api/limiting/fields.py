"""The header fields that tell a client how it stands with its limits. Pure.

Source: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (11), for `RateLimit-Policy` and
`RateLimit`; the three fields of its versions up to 06, which most clients read, come beside them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from perfkit.limiting.limiter import tightness
from perfkit.limiting.rules import MICROSECONDS, Standing
from perfkit.rates import Rate


def fields_of(told: Iterable[tuple[Rate, Standing]]) -> dict[str, str]:
    """Return the fields: the policies of all rates, and what the tightest leaves to the client.

    Args:
        told: How the client stands with each rate, of one limit or of several; at least one.
    """
    ordered = sorted(told, key=tightness)
    rate, standing = ordered[0]
    seconds = -(-standing.refill_us // MICROSECONDS)
    return {
        "RateLimit-Policy": _policies(tuple(dict.fromkeys([rate for rate, _ in ordered]))),
        "RateLimit": f'"{rate}";r={standing.remaining};t={seconds}',
        "RateLimit-Limit": str(rate.limit),
        "RateLimit-Remaining": str(standing.remaining),
        "RateLimit-Reset": str(seconds),
    }


@lru_cache(maxsize=1000)
def _policies(rates: tuple[Rate, ...]) -> str:
    return ", ".join(map(_policy, rates))


def _policy(rate: Rate) -> str:
    burst = "" if rate.burst is None else f";perfkit-burst={rate.burst}"
    return f'"{rate}";q={rate.limit};w={rate.period_seconds}{burst}'
