"""What a rate admits: the rule that its counts follow, and several rates together. Pure.

Times are whole microseconds since any moment; `lua/admit.lua` says the same on the server.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar

from perfkit.rates import Rate

State = TypeVar("State")

MICROSECONDS: Final = 1_000_000
NEVER: Final = -1
"""In the place of a time after which a request would be admitted."""


class Standing(NamedTuple):
    """How a client stands with one rate, after a request.

    Args:
        is_admitted: Whether this rate admits the request.
        remaining: Requests of cost 1 that it would admit now.
        refill_us: When there will be more of them; 0 where nothing was used.
        retry_us: When it would admit this request; 0 where it does, `NEVER` where the cost is beyond the rate.
    """

    is_admitted: bool
    remaining: int
    refill_us: int
    retry_us: int


class Rule(ABC, Generic[State]):
    """How requests are counted against one rate; what is known of a client is a value that nobody changes."""

    letter: ClassVar[str]
    """Tells rules apart in keys and in the script."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate

    @property
    @abstractmethod
    def numbers(self) -> tuple[int, int, int]:
        """What the script is told of it: requests at once, and two times in microseconds."""

    @abstractmethod
    def settled(self, state: State | None, now_us: int) -> tuple[State, int]:
        """Return what still counts, and the time at which to count.

        Where the clock was put back since, what was counted still counts; where it was put back further than the
        rate reaches, it is forgotten, for nobody is to be shut out until the clock is there again.
        """

    @abstractmethod
    def admits(self, state: State, cost: int, now_us: int) -> bool:
        """Say whether a request may go on."""

    @abstractmethod
    def charged(self, state: State, cost: int, now_us: int) -> State:
        """Return what is known once an admitted request is counted."""

    @abstractmethod
    def remaining(self, state: State, now_us: int) -> int:
        """Return how many requests of cost 1 would be admitted."""

    @abstractmethod
    def refill_us(self, state: State, now_us: int) -> int:
        """Return when there will be more of them; 0 where nothing was used."""

    @abstractmethod
    def retry_us(self, state: State, cost: int, now_us: int) -> int:
        """Return when a request that is not admitted would be, `NEVER` where its cost is beyond the rate."""

    @abstractmethod
    def end_us(self, state: State, now_us: int) -> int:
        """Return when nothing counts any more."""


def taken(
    rules: Sequence[Rule[Any]], states: Sequence[Any], cost: int, now_us: int
) -> tuple[list[tuple[Any, int]], list[Standing]]:
    """Count a request against all rules, or against none where one of them does not admit it.

    Args:
        states: What is known under each rule, None where nothing is.

    Returns:
        What is known under each rule then and when none of it counts any more; how the client stands with each.
    """
    settled = [rule.settled(state, now_us) for rule, state in zip(rules, states, strict=True)]
    admitted = [rule.admits(state, cost, now) for rule, (state, now) in zip(rules, settled, strict=True)]
    is_counted = all(admitted)
    known = []
    standings = []
    for rule, before, (state, now), is_admitted in zip(rules, states, settled, admitted, strict=True):
        after = rule.charged(state, cost, now) if is_counted else state
        retry_us = 0 if is_admitted else rule.retry_us(state, cost, now)
        known.append((after if is_counted else before, rule.end_us(after, now)))
        standings.append(
            Standing(is_admitted, rule.remaining(after, now), rule.refill_us(after, now), retry_us)
        )
    return known, standings
