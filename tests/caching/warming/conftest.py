"""The project's warmers out of the way, and some rows to warm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perfkit.caching import WarmResult, warm
from perfkit.caching.warming import warmers as registry
from tests.caching.conftest import Outcome
from tests.testapp.models import Airfield, Item

Made = list[int]


@pytest.fixture(autouse=True)
def warmers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The only warmers there are: two of our own."""
    registry.registered()
    mine = {
        "airfields": Airfield.plain.all,
        "items": lambda: Item.plain.filter(count__gt=0),
    }
    monkeypatch.setattr(registry, "_warmers", mine)
    return mine


@pytest.fixture
def warmed(warmers: dict[str, Any]) -> Callable[..., WarmResult]:
    """A function that warms what it is given, and returns the result."""

    def warmed(wanted: Callable[[], Any], **options: Any) -> WarmResult:
        warmers["given"] = wanted
        [result] = warm(["given"], **options)
        return result

    return warmed


@pytest.fixture
def items() -> list[Item]:
    """1,200 rows, 900 of which the warmer wants."""
    return Item.plain.bulk_create(Item(name=f"item {number}", count=number % 4) for number in range(1200))


@pytest.fixture
def few() -> list[Item]:
    """25 rows: three batches of calls, the last one not full."""
    return Item.plain.bulk_create(Item(name=f"item {number}", count=number) for number in range(25))


def outcomes(reads: list[Outcome]) -> list[str]:
    """Return what was told since the last time."""
    told = [outcome for _, outcome, _ in reads]
    reads.clear()
    return told


def hits(reads: list[Outcome], items: list[Item]) -> int:
    """Read rows by their keys; return how many came from the cache."""
    reads.clear()
    for item in items:
        assert Item.objects.get(pk=item.pk).name == item.name
    return outcomes(reads).count("hit")
