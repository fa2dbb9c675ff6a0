"""What calls came to: tokens, money, hits and misses, added up by day over all processes; and the day's budget.

Money is counted in thousand-millionths of its unit, so that prices of a millionth of a token are exact.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_UP, Decimal
from typing import Any, Final, Literal

from perfkit.caching.coherence import breaker
from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.store import ScriptedStore, StoreError, current_store
from perfkit.caching.store.packing import Words
from perfkit.caching.store.scripts import ScriptForms
from perfkit.errors import ModelBudgetError
from perfkit.inference.answers import TokenUsage

DAY_SECONDS: Final = 86_400
KEPT_DAYS: Final = 40
NANO: Final = 1_000_000_000
MILLION: Final = 1_000_000

Kind = Literal["add", "reserve", "settle"]

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


def today() -> dt.date:
    """Return the day (UTC) that calls are counted on."""
    return dt.datetime.now(dt.UTC).date()


@dataclass(frozen=True, slots=True)
class Reservation:
    """What was put aside for one call, on the day of its begin; it is settled on the same."""

    day: dt.date
    nano: int
    own_id: str = field(default_factory=lambda: uuid.uuid4().hex)


class Ledger:
    """The numbers of all `ModelCache` whose adapter has one name.

    Args:
        budget: Of a day (UTC), None for none.
        today: Returns the day.
    """

    def __init__(self, name: str, *, budget: Decimal | None, today: Callable[[], dt.date] = today) -> None:
        self._name = name
        self._budget = None if budget is None else int(budget * NANO)
        self._today = today

    @property
    def has_budget(self) -> bool:
        """Whether there is one."""
        return self._budget is not None

    def note(self, numbers: Mapping[str, int]) -> None:
        """Add numbers to those of today; where the server does not answer they are lost, and nothing fails."""
        self._change("add", Reservation(self._today(), 0), numbers)

    def reserve(self, nano: int) -> Reservation:
        """Put aside what a call may cost.

        Raises:
            ModelBudgetError: The budget does not reach, or cannot be counted.
        """
        wanted = Reservation(self._today(), nano)
        if self._budget is None:
            if nano:
                self._change("reserve", wanted, {"cost": nano})
            return wanted
        told = self._change("reserve", wanted, {"cost": nano}, bound=self._budget)
        if told is None:
            raise ModelBudgetError("the cache server, which counts it, does not answer.")
        is_enough, numbers = told
        if not is_enough:
            spent, most = Decimal(numbers.get("cost", 0)) / NANO, Decimal(self._budget) / NANO
            raise ModelBudgetError(f"{spent:f} of {most:f} are spent today, and one more may go beyond.")
        return wanted

    def settle(self, reservation: Reservation, numbers: Mapping[str, int]) -> None:
        """Add what a call has come to, in the place of what was put aside for it.

        Where the server does not answer, what was put aside stays so.
        """
        self._change("settle", reservation, numbers)

    def statistics(self, days: int) -> ModelStatistics:
        """Return what the last days came to, today included.

        Raises:
            StoreError: The server does not answer.
        """
        sums: dict[str, int] = {}
        for ago in range(days):
            for name, number in self._numbers(self._today() - dt.timedelta(days=ago)).items():
                sums[name] = sums.get(name, 0) + number
        whole = [name for name in ModelStatistics.__dataclass_fields__ if not name.endswith("cost")]
        counts: dict[str, Any] = {name: sums.get(name, 0) for name in whole}
        return ModelStatistics(
            **counts,
            cost=Decimal(sums.get("cost", 0)) / NANO,
            saved_cost=Decimal(sums.get("saved_cost", 0)) / NANO,
        )

    def _numbers(self, day: dt.date) -> dict[str, int]:
        store, key = current_store(), self._key(day)
        if not isinstance(store, ScriptedStore):
            with _lock:
                return dict(_locals.get(key, {}))
        return _asked(store, [key], Words.of(KEPT_DAYS * DAY_SECONDS, "add", ""))[1]

    def _change(
        self, what: Kind, reservation: Reservation, numbers: Mapping[str, int], *, bound: int | None = None
    ) -> tuple[bool, dict[str, int]] | None:
        """Change numbers, and return whether the bound allows it and what they are; None where nobody answers."""
        store, key = current_store(), self._key(reservation.day)
        if not isinstance(store, ScriptedStore):
            taken_off = reservation.nano if what == "settle" else 0
            return _added(key, {**numbers, "cost": numbers.get("cost", 0) - taken_off}, bound)
        pairs = [part for pair in numbers.items() for part in pair]
        words = Words.of(KEPT_DAYS * DAY_SECONDS, what, "" if bound is None else bound, *pairs)
        try:
            return _asked(store, [key, f"{key}:{reservation.own_id}"], words)
        except StoreError:
            return None

    def _key(self, day: dt.date) -> str:
        return f"model:{{{self._name}}}:{day.isoformat()}"


def _asked(store: ScriptedStore, keys: list[str], words: Words) -> tuple[bool, dict[str, int]]:
    """Run the script, unless the server is known not to answer.

    Raises:
        StoreError: It does not.
    """
    if breaker.rests:
        raise StoreError("it has not answered lately")
    try:
        answer = store.run_script(_SPEND, keys, words)
    except StoreError as error:
        breaker.failed(str(error))
        raise
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
