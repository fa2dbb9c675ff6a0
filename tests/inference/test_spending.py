"""What is spent is counted once, on its day, and never beyond the budget; on the server and inside a process."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from perfkit.caching import coherence
from perfkit.caching.store import ScriptedStore, current_store, forget_store
from perfkit.caching.store.packing import Words
from perfkit.conf import configured
from perfkit.errors import ModelBudgetError
from perfkit.inference import ModelPrices, ModelStatistics, TokenUsage, spending
from perfkit.inference.spending import MILLION, NANO, Ledger, Reservation

DAY = dt.date(2026, 3, 1)


class Calendar:
    """The day, as the test says."""

    def __init__(self) -> None:
        self.day = DAY

    def __call__(self) -> dt.date:
        return self.day


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture(params=["local", pytest.param("server", marks=pytest.mark.redis)])
def name(request: pytest.FixtureRequest, settings: Any) -> str:
    """The name of a ledger that nobody has, in each place where one is kept."""
    settings.PERFKIT = {**configured(), "CACHE_TIMEOUT": 5.0}
    if request.param == "local":
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    forget_store()
    coherence.breaker.succeeded()
    assert isinstance(current_store(), ScriptedStore) is (request.param == "server")
    return uuid.uuid4().hex


def money(nano: int) -> Decimal:
    return Decimal(nano) / NANO


@given(
    st.integers(0, 2**31),
    st.integers(0, 2**31),
    st.decimals(0, 1000, places=9, allow_nan=False),
    st.decimals(0, 1000, places=9, allow_nan=False),
)
def test_a_price_is_exact_and_rounded_up(tokens: int, more: int, one: Decimal, other: Decimal) -> None:
    nano = ModelPrices(one, other).nano(TokenUsage(tokens, more))
    exact = (tokens * one + more * other) * NANO / MILLION
    assert exact <= nano < exact + 1


def test_a_reservation_is_replaced_by_what_was_spent(name: str) -> None:
    ledger = Ledger(name, budget=money(100))
    reserved = ledger.reserve(60)
    assert ledger.statistics(1).cost == money(60)
    ledger.settle(reserved, {"misses": 1, "cost": 45})
    told = ledger.statistics(1)
    assert (told.cost, told.misses) == (money(45), 1)


def test_what_costs_nothing_is_settled_too(name: str) -> None:
    ledger = Ledger(name, budget=Decimal(1))
    ledger.settle(ledger.reserve(0), {"misses": 1, "cost": 0})
    assert not coherence.breaker.is_open
    assert ledger.statistics(1).misses == 1
    assert ledger.statistics(1).cost == 0


def test_the_budget_is_the_most(name: str) -> None:
    ledger = Ledger(name, budget=money(100))
    first = ledger.reserve(60)
    with pytest.raises(ModelBudgetError, match=r"0\.00000006 of 0\.0000001 are spent today"):
        ledger.reserve(41)
    ledger.reserve(40)
    with pytest.raises(ModelBudgetError):
        ledger.reserve(1)
    ledger.reserve(0)
    ledger.settle(first, {})
    ledger.reserve(60)
    assert ledger.statistics(1).cost == money(100)


def test_without_a_budget_all_is_counted_and_nothing_refused(name: str) -> None:
    ledger = Ledger(name, budget=None)
    reserved = ledger.reserve(10**12)
    ledger.reserve(7)
    ledger.settle(reserved, {"cost": 5})
    assert ledger.statistics(1).cost == money(12)
    ledger.settle(ledger.reserve(0), {"misses": 1})
    assert ledger.statistics(1).misses == 1


def test_what_was_reserved_before_midnight_is_settled_on_its_day(name: str, calendar: Calendar) -> None:
    ledger = Ledger(name, budget=money(100), today=calendar)
    reserved = ledger.reserve(90)
    calendar.day += dt.timedelta(days=1)
    ledger.settle(reserved, {"cost": 20})
    assert ledger.statistics(1).cost == 0
    assert ledger.statistics(2).cost == money(20)
    ledger.reserve(100)
    with pytest.raises(ModelBudgetError):
        ledger.reserve(1)


def test_days_are_added_up(name: str, calendar: Calendar) -> None:
    ledger = Ledger(name, budget=None, today=calendar)
    for day in range(3):
        calendar.day = DAY + dt.timedelta(days=day)
        ledger.note({"hits": 1, "saved_cost": 10**day})
    told = [ledger.statistics(days) for days in (0, 1, 2, 3, 4)]
    assert [each.hits for each in told] == [0, 1, 2, 3, 3]
    assert [each.saved_cost for each in told] == [money(each) for each in (0, 100, 110, 111, 111)]
    assert told[0] == ModelStatistics(0, 0, 0, 0, 0, 0, 0, 0, Decimal(0), Decimal(0))
    assert (told[0].hit_rate, told[1].hit_rate) == (None, 1.0)


def sent(ledger: Ledger, what: str, reservation: Reservation, bound: int | str, *pairs: Any) -> None:
    """Send the script as the ledger does, without the ledger."""
    store: Any = current_store()
    key = ledger._key(reservation.day)
    words = Words.of(600, what, bound, *pairs)
    store.run_script(spending._SPEND, [key, f"{key}:{reservation.own_id}"], words)


@pytest.mark.redis
@pytest.mark.parametrize("name", ["server"], indirect=True)
class TestServer:
    """A command whose connection breaks is sent again, and a server may forget."""

    def test_what_is_sent_twice_is_counted_once(self, name: str) -> None:
        ledger = Ledger(name, budget=money(100))
        reservation = Reservation(spending.today(), 60)
        for _ in range(2):
            sent(ledger, "reserve", reservation, 100, "cost", 60)
        assert ledger.statistics(1).cost == money(60)
        for _ in range(2):
            sent(ledger, "settle", reservation, "", "cost", 45, "misses", 1)
        told = ledger.statistics(1)
        assert (told.cost, told.misses) == (money(45), 1)
        addition = Reservation(spending.today(), 0)
        for _ in range(2):
            sent(ledger, "add", addition, "", "hits", 1)
        assert ledger.statistics(1).hits == 1

    def test_a_server_that_has_forgotten_owes_nothing(self, name: str) -> None:
        """What was reserved is gone with the numbers; taken off again, it would leave room for more."""
        ledger = Ledger(name, budget=money(100))
        reserved = ledger.reserve(90)
        forgotten = Ledger(uuid.uuid4().hex, budget=money(100))  # as the same one on an empty server
        forgotten.reserve(10)
        forgotten.settle(reserved, {"cost": 45})
        assert forgotten.statistics(1).cost == money(55)

    @pytest.mark.parametrize("foreign", ["list", "hash", "numbers", "text"])
    def test_what_is_not_its_own_makes_room(self, name: str, redis_url: str, foreign: str) -> None:
        ledger = Ledger(name, budget=money(100))
        reserved = ledger.reserve(60)
        with redis.Redis.from_url(redis_url) as client:
            for key in list(client.scan_iter(f"*{name}*", count=1000)):
                client.delete(key)
                {
                    "list": lambda key=key: client.rpush(key, "x"),
                    "hash": lambda key=key: client.hset(key, "a", "b"),
                    "numbers": lambda key=key: client.hset(key, "a b", "1"),
                    "text": lambda key=key: client.set(key, "x"),
                }[foreign]()
        ledger.settle(reserved, {"misses": 1, "cost": 45})
        assert not coherence.breaker.is_open
        told = ledger.statistics(1)
        assert (told.cost, told.misses) == (money(45), 1)
        ledger.reserve(55)
        with pytest.raises(ModelBudgetError):
            ledger.reserve(1)

    def test_the_numbers_end(self, name: str, redis_url: str) -> None:
        ledger = Ledger(name, budget=money(100))
        ledger.settle(ledger.reserve(1), {"cost": 1})
        ledger.reserve(1)
        with redis.Redis.from_url(redis_url) as client:
            keys = list(client.scan_iter(f"*{name}*", count=1000))
            assert len(keys) == 3
            assert all(0 < client.ttl(key) <= 40 * 86_400 for key in keys)


@pytest.mark.parametrize("name", ["local"], indirect=True)
def test_the_name_is_of_one_ledger(name: str) -> None:
    one, same, other = (Ledger(each, budget=None) for each in (name, name, f"{name}2"))
    one.note({"hits": 1})
    assert (same.statistics(1).hits, other.statistics(1).hits) == (1, 0)
