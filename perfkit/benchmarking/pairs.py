"""Two ways to do the same: checked to agree, counted, and measured in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, QuerySet

from perfkit.benchmarking.counting import counted
from perfkit.benchmarking.sections import Cell, Column, ratio
from perfkit.benchmarking.timing import Way, take_turns

COLUMNS = (
    Column("subject", "of"),
    Column("work", "work"),
    Column("before_way", "before"),
    Column("before_ms", "before", "ms", 3),
    Column("before_queries", "before", "queries"),
    Column("after_way", "with perfkit"),
    Column("after_ms", "with perfkit", "ms", 3),
    Column("after_queries", "with perfkit", "queries"),
    Column("rounds", "rounds"),
    Column("ratio", "ratio", "x", 1),
)


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Args:
        rounds: That count.
        budget_seconds: Of one pair, about.
    """

    rounds: int
    budget_seconds: float


@dataclass(frozen=True, slots=True)
class Pair:
    """The same work in two ways.

    Args:
        subject: What it is done with.
        before, after: Do it; what they return is compared.
        prepare: Runs before each turn, outside the time, of both ways.
        refusal: Says after a run of `after` that it was not what it is called, and why; empty where it was.
    """

    subject: str
    work: str
    before_way: str
    before: Callable[[], Any]
    after_way: str
    after: Callable[[], Any]
    prepare: Callable[[], Any] | None = None
    refusal: Callable[[Callable[[], Any]], str] | None = None


def measured(pair: Pair, effort: Effort) -> tuple[dict[str, Cell] | None, str]:
    """Measure a pair; return its row, or None and why it could not be measured.

    Both ways are run beforehand: they must return the same, and, the second time, their queries are counted.
    """
    _prepare(pair)
    expected = comparable(pair.before())
    _prepare(pair)
    if comparable(pair.after()) != expected:
        return None, "the two ways do not return the same; were rows written meanwhile?"
    if pair.refusal is not None:
        _prepare(pair)
        if reason := pair.refusal(pair.after):
            return None, reason
    sent_before, sent_after = _sent(pair, pair.before), _sent(pair, pair.after)
    before = Way(pair.before_way, pair.before, pair.prepare)
    after = Way(pair.after_way, pair.after, pair.prepare)
    take_turns([before, after], rounds=effort.rounds, budget_seconds=effort.budget_seconds)
    return {
        "subject": pair.subject,
        "work": pair.work,
        "before_way": pair.before_way,
        "before_ms": before.median_ms,
        "before_queries": sent_before,
        "after_way": pair.after_way,
        "after_ms": after.median_ms,
        "after_queries": sent_after,
        "rounds": len(before.turns_ms),
        "ratio": ratio(before.median_ms, after.median_ms),
    }, ""


def comparable(value: Any) -> Any:
    """Return what two equal answers have in common: of instances, their class and the values of their columns."""
    if isinstance(value, Model):
        columns = {field.attname for field in value._meta.concrete_fields}
        return type(value), {name: each for name, each in vars(value).items() if name in columns}
    if isinstance(value, QuerySet | list | tuple):
        return [comparable(each) for each in value]
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [comparable(each) for each in value]
    return value


def _sent(pair: Pair, run: Callable[[], Any]) -> int:
    """Return how many statements a run sends."""
    _prepare(pair)
    with counted() as sent:
        run()
    return len(sent.texts)


def _prepare(pair: Pair) -> None:
    if pair.prepare is not None:
        pair.prepare()
