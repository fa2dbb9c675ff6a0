"""Declared types: what comes back is the same down to its parts, or is refused."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from perfkit.caching.functions.results import FunctionCodec
from perfkit.caching.values import UnstorableError


@dataclass
class Stats:
    x: float = 1.0
    when: dt.datetime = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
    parts: frozenset[int] = frozenset()
    by_name: dict[str, list[float]] = field(default_factory=dict)
    cost: Decimal = Decimal("1.00")
    note: Any = field(default=None, compare=False)


class Row(msgspec.Struct):
    x: float
    of: Stats | None = None


def stats() -> Stats: ...  # type: ignore[empty-body]  # its type alone counts


def row() -> Row: ...  # type: ignore[empty-body]  # likewise


def codec(function: Any) -> FunctionCodec:
    return FunctionCodec(function, name="app.f", errors=(), pickles=False)


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (stats, Stats()),
        (
            stats,
            Stats(float("inf"), parts=frozenset([1, 2]), by_name={"a": [1.5, -0.0]}, note=[1, "a", None]),
        ),
        (row, Row(1.5, Stats(2.0))),
    ],
)
def test_it_comes_back(function: Any, value: Any) -> None:
    kept = codec(function)
    assert repr(kept.unpacked(*kept.packed(value))) == repr(value)


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (stats, Stats(1)),
        (stats, Stats(when=dt.datetime(2026, 1, 1, 12, tzinfo=ZoneInfo("Europe/Madrid")))),
        (stats, Stats(when=dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=1))))),
        (stats, Stats(parts=frozenset([True]))),
        (stats, Stats(by_name={"a": [1]})),
        (stats, Stats(note=(1, 2))),
        (stats, Stats(note=Decimal(1))),
        (row, Row(1)),
        (row, Row(1.0, Stats(1))),
    ],
)
def test_what_would_be_another_is_refused(function: Any, value: Any) -> None:
    with pytest.raises(UnstorableError):
        codec(function).packed(value)
