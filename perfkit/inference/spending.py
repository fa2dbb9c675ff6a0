"""What calls came to: tokens, money, hits and misses, added up by day over all processes; and the day's budget.

Money is counted in thousand-millionths of its unit, so that prices of a millionth of a token are exact.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import Any, Final

from perfkit.caching.coherence import breaker
from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.store import ScriptedStore, StoreError, current_store
from perfkit.caching.store.packing import Words
from perfkit.caching.store.scripts import ScriptForms
from perfkit.errors import ModelBudgetError
from perfkit.inference.answers import TokenUsage

KEPT_DAYS: Final = 40
NANO: Final = 1_000_000_000
MILLION: Final = 1_000_000

_SPEND: Final = ScriptForms.loaded("spend", package=__package__)


@dataclass(frozen=True, slots=True)
class ModelPrices:
    """What a million tokens cost, in any one currency."""

    input_per_million: Decimal
    output_per_million: Decimal

    def nano(self, usage: TokenUsage) -> int:
        """Return the cost of a call in thousand-millionths, rounded up."""
        cost = usage.input_tokens * self.input_per_million + usage.output_tokens * self.output_per_million
        return int((cost * NANO / MILLION).to_integral_value(ROUND_UP))


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """What some days came to.

    Attributes:
        hits: Prompts whose answer was kept.
        shared: Prompts that waited for another one's call.
        misses: Answers that a model was asked for.
        failures: Prompts that got an error.
        input_tokens, output_tokens: That calls took, as far as servers told.
        saved_input_tokens, saved_output_tokens: That hits and shared answers would have taken.
        cost: Of the calls, those under way and of unknown end at their most.
        saved_cost: Of what was saved.
    """

    hits: int
    shared: int
    misses: int
    failures: int
    input_tokens: int
    output_tokens: int
    saved_input_tokens: int
    saved_output_tokens: int
    cost: Decimal
    saved_cost: Decimal

    @property
    def hit_rate(self) -> float | None:
        """The share of prompts for which no model was asked; None where there were none."""
        asked = self.hits + self.shared + self.misses
        return (self.hits + self.shared) / asked if asked else None


_locals: Final[dict[str, dict[str, int]]] = {}
_lock: Final = fork_safe_lock()


class Ledger:
    """The numbers of one `ModelCache`.

    Args:
        budget: Of a day (UTC), None for none.
    """

    def __init__(self, name: str, *, budget: Decimal | None) -> None:
        self._name = name
        self._budget = None if budget is None else int(budget * NANO)

    def note(self, numbers: Mapping[str, int]) -> None:
        """Add numbers to those of today; where the server does not answer they are lost, and nothing fails."""
        try:
            self._add(numbers)
        except StoreError as error:
            breaker.failed(str(error))

    def reserve(self, nano: int) -> None:
        """Put aside what a call may cost.

        Raises:
            ModelBudgetError: The budget does not reach, or cannot be counted.
        """
        if self._budget is None:
            self.note({"cost": nano})
            return
        try:
            is_enough, told = self._add({"cost": nano}, bound=self._budget)
        except StoreError as error:
            breaker.failed(str(error))
            raise ModelBudgetError("the cache server, which counts it, does not answer.") from error
        if not is_enough:
            spent, most = Decimal(told.get("cost", 0)) / NANO, Decimal(self._budget) / NANO
            raise ModelBudgetError(f"{spent:f} of {most:f} are spent today, and one more may go beyond.")

    def statistics(self, days: int) -> ModelStatistics:
        """Return what the last days came to, today included.

        Raises:
            StoreError: The server does not answer.
        """
        sums: dict[str, int] = {}
        for ago in range(days):
            for name, number in self._add({}, ago=ago)[1].items():
                sums[name] = sums.get(name, 0) + number
        whole = [name for name in ModelStatistics.__dataclass_fields__ if not name.endswith("cost")]
        counts: dict[str, Any] = {name: sums.get(name, 0) for name in whole}
        return ModelStatistics(
            **counts,
            cost=Decimal(sums.get("cost", 0)) / NANO,
            saved_cost=Decimal(sums.get("saved_cost", 0)) / NANO,
        )

    def _add(
        self, numbers: Mapping[str, int], *, bound: int | None = None, ago: int = 0
    ) -> tuple[bool, dict[str, int]]:
        day = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=ago)
        key = f"model:{{{self._name}}}:{day.isoformat()}"
        store = current_store()
        if not isinstance(store, ScriptedStore):
            return _added(key, numbers, bound)
        pairs = [part for pair in numbers.items() for part in pair]
        words = Words.of(KEPT_DAYS * 86_400, "" if bound is None else bound, *pairs)
        answer = store.run_script(_SPEND, [key], words)
        told = (answer.decode() if isinstance(answer, bytes) else answer).split()
        return told[0] == "ok", dict(zip(told[1::2], map(int, told[2::2]), strict=True))


def _added(key: str, numbers: Mapping[str, int], bound: int | None) -> tuple[bool, dict[str, int]]:
    """Add within this process, as the script does on the server."""
    with _lock:
        known = _locals.setdefault(key, {})
        if bound is not None and known.get("cost", 0) + numbers.get("cost", 0) > bound:
            return False, dict(known)
        for name, number in numbers.items():
            known[name] = known.get(name, 0) + number
        return True, dict(known)
