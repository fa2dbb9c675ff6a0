"""The arithmetic against plain models, and the script on the server against it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.limiting.counters import ADMIT, Plan
from perfkit.limiting.gcra import Gcra
from perfkit.limiting.rules import MICROSECONDS, NEVER, Rule, Standing, taken
from perfkit.limiting.windows import MOST_ENTRIES, Window
from perfkit.rates import Rate, rate_of

START_US = 1_790_000_000_000_000
MOST_STEP_US = 40 * MICROSECONDS

steps = st.lists(
    st.tuples(st.integers(0, MOST_STEP_US) | st.integers(0, 2000), st.integers(1, 12)), max_size=60
)


def run(rule: Rule[Any], moves: list[tuple[int, int]]) -> list[tuple[int, int, Standing]]:
    """Return when each request came, what it cost, and what was said of it."""
    state, now_us, seen = None, START_US, []
    for step_us, cost in moves:
        now_us += step_us
        [(state, _)], [standing] = taken([rule], [state], cost, now_us)
        seen.append((now_us, cost, standing))
    return seen


class TestWindow:
    @given(limit=st.integers(1, MOST_ENTRIES), period=st.sampled_from([1, 30, 60]), moves=steps)
    def test_it_admits_exactly_what_fits_into_the_period_that_ends_now(
        self, limit: int, period: int, moves: list[tuple[int, int]]
    ) -> None:
        admitted: list[tuple[int, int]] = []
        for now_us, cost, standing in run(Window(Rate(limit, period)), moves):
            recent = [(at, each) for at, each in admitted if at > now_us - period * MICROSECONDS]
            used = sum(each for _, each in recent)
            assert standing.is_admitted == (used + cost <= limit)
            if standing.is_admitted:
                admitted.append((now_us, cost))
                recent.append((now_us, cost))
                used += cost
            assert standing.remaining == limit - used
            refill_us = recent[0][0] + period * MICROSECONDS - now_us if recent else 0
            assert standing.refill_us == refill_us

    @given(limit=st.integers(MOST_ENTRIES + 1, 1000), period=st.sampled_from([1, 60]), data=st.data())
    def test_a_large_limit_is_never_exceeded_and_at_most_a_step_late(
        self, limit: int, period: int, data: st.DataObject
    ) -> None:
        rule = Window(Rate(limit, period))
        _, period_us, step_us = rule.numbers
        cost = st.integers(1, limit // 3)
        moves = data.draw(st.lists(st.tuples(st.integers(0, period_us // 4), cost), max_size=60))
        admitted: list[tuple[int, int]] = []
        for now_us, cost_now, standing in run(rule, moves):
            used = sum(each for at, each in admitted if at > now_us - period_us)
            long_used = sum(each for at, each in admitted if at > now_us - period_us - step_us)
            if standing.is_admitted:
                assert used + cost_now <= limit
                admitted.append((now_us, cost_now))
            else:
                assert long_used + cost_now > limit

    def test_it_remembers_no_more_than_its_steps(self) -> None:
        rule = Window(Rate(1_000_000, 60))
        state = None
        for number in range(1000):
            [(state, _)], _ = taken([rule], [state], 1, START_US + number * 60_000)
        assert state is not None
        assert len(state) <= MOST_ENTRIES + 1

    def test_it_says_when_a_costly_request_would_be_admitted(self) -> None:
        rule = Window(Rate(10, 60))
        state = None
        for number in range(10):
            [(state, _)], _ = taken([rule], [state], 1, START_US + number * MICROSECONDS)
        now_us = START_US + 10 * MICROSECONDS
        [(state, _)], [standing] = taken([rule], [state], 3, now_us)
        assert standing == Standing(
            is_admitted=False, remaining=0, refill_us=50 * MICROSECONDS, retry_us=52 * MICROSECONDS
        )
        _, [late] = taken([rule], [state], 3, now_us + standing.retry_us)
        _, [early] = taken([rule], [state], 3, now_us + standing.retry_us - 1)
        assert (early.is_admitted, late.is_admitted) == (False, True)

    def test_a_cost_beyond_the_limit_is_never_admitted(self) -> None:
        _, [standing] = taken([Window(Rate(5, 60))], [None], 6, START_US)
        assert standing == Standing(is_admitted=False, remaining=5, refill_us=0, retry_us=NEVER)


class TestGcra:
    @given(limit=st.integers(1, 1000), period=st.sampled_from([1, 30, 60]), data=st.data())
    def test_it_admits_what_a_bucket_that_fills_evenly_has_room_for(
        self, limit: int, period: int, data: st.DataObject
    ) -> None:
        burst = data.draw(st.integers(1, limit))
        moves = data.draw(steps)
        interval_us = -(-period * MICROSECONDS // limit)
        full_us = burst * interval_us
        bucket_us, before_us = full_us, START_US
        for now_us, cost, standing in run(Gcra(Rate(limit, period, burst)), moves):
            bucket_us = min(full_us, bucket_us + now_us - before_us)
            before_us = now_us
            assert standing.is_admitted == (bucket_us >= cost * interval_us)
            if standing.is_admitted:
                bucket_us -= cost * interval_us
                assert standing.retry_us == 0
            elif cost > burst:
                assert standing.retry_us == NEVER
            else:
                assert standing.retry_us == cost * interval_us - bucket_us
            assert standing.remaining == bucket_us // interval_us
            if bucket_us < full_us:
                assert standing.refill_us == (standing.remaining + 1) * interval_us - bucket_us
            else:
                assert standing.refill_us == 0

    @given(limit=st.integers(1, 100), moves=steps)
    def test_any_stretch_of_time_has_the_burst_and_one_more_for_each_interval(
        self, limit: int, moves: list[tuple[int, int]]
    ) -> None:
        rule = Gcra(Rate(limit, 60, burst=max(1, limit // 3)))
        burst, interval_us, _ = rule.numbers
        admitted = [(at, cost) for at, cost, standing in run(rule, moves) if standing.is_admitted]
        for first, (began_us, _) in enumerate(admitted):
            total = 0
            for at, cost in admitted[first:]:
                total += cost
                assert total <= burst + (at - began_us) // interval_us


class TestSeveral:
    def test_what_one_rate_refuses_counts_against_none(self) -> None:
        rules = [Window(Rate(2, 1)), Gcra(Rate(100, 60, 10))]
        states: list[Any] = [None, None]
        for _ in range(5):
            known, standings = taken(rules, states, 1, START_US)
            states = [state for state, _ in known]
        assert [standing.is_admitted for standing in standings] == [False, True]
        assert [standing.remaining for standing in standings] == [0, 8]

    def test_it_says_when_everything_is_forgotten(self) -> None:
        rules = [Window(Rate(2, 1)), Gcra(Rate(60, 60, 10))]
        (_, window_end_us), (_, gcra_end_us) = taken(rules, [None, None], 2, START_US)[0]
        assert (window_end_us, gcra_end_us) == (START_US + MICROSECONDS, START_US + 2 * MICROSECONDS)


@pytest.mark.parametrize("text", ["5/minute", "500/minute", "60/minute burst 10"])
class TestClocks:
    def test_a_clock_put_back_a_little_admits_nothing_more(self, text: str) -> None:
        rule = Plan((rate_of(text),)).rules[0]
        state = None
        for _ in range(500):
            [(state, _)], _ = taken([rule], [state], 1, START_US)
        _, [standing] = taken([rule], [state], 1, START_US - MICROSECONDS)
        assert not standing.is_admitted

    def test_a_clock_put_back_by_days_shuts_nobody_out(self, text: str) -> None:
        rule = Plan((rate_of(text),)).rules[0]
        state = None
        for _ in range(500):
            [(state, _)], _ = taken([rule], [state], 1, START_US)
        past_us = START_US - 10 * 86_400 * MICROSECONDS
        [(state, _)], _ = taken([rule], [state], 1, past_us)
        _, [standing] = taken([rule], [state], 1, past_us + 120 * MICROSECONDS)
        assert standing.is_admitted


@pytest.mark.redis
class TestScript:
    """The script on a real server, told the time by the test."""

    @pytest.fixture
    def script(self, redis_url: str) -> Iterator[Any]:
        text = ADMIT.plain.text
        assert text.count("time[1] * 1000000 + time[2]") == 1
        text = text.replace("time[1] * 1000000 + time[2]", "tonumber(ARGV[#ARGV])")
        assert text.count("/ 1000)") == 2
        text = text.replace("/ 1000)", "/ 1000 + 60000)")  # keys must not end by the real clock
        with redis.Redis.from_url(redis_url) as client:
            client.flushdb()
            yield client.register_script(text)
            client.flushdb()

    rates = st.builds(
        lambda limit, period, share: Rate(
            limit, period, None if share is None else max(1, int(limit * share))
        ),
        st.integers(1, 12) | st.integers(1, 1000),
        st.sampled_from([1, 30, 60]),
        st.none() | st.floats(0, 1),
    )
    moves = st.lists(
        st.tuples(
            st.integers(-3 * MICROSECONDS, MOST_STEP_US)
            | st.integers(0, 2000)
            | st.sampled_from([MICROSECONDS, 30 * MICROSECONDS, -200 * MICROSECONDS]),
            st.integers(1, 12) | st.integers(1, 300),
        ),
        max_size=40,
    )

    @settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(rates=st.lists(rates, min_size=1, max_size=3, unique=True), moves=moves)
    def test_it_says_what_the_arithmetic_says(
        self, script: Any, rates: list[Rate], moves: list[tuple[int, int]]
    ) -> None:
        rules = Plan(tuple(rates)).rules
        numbers = [part for rule in rules for part in (rule.letter, *rule.numbers)]
        keys = [f"{{rules}}:{number}" for number in range(len(rules))]
        script.registered_client.flushdb()
        states: list[Any] = [None] * len(rules)
        now_us = START_US
        for step_us, cost in moves:
            now_us += step_us
            known, standings = taken(rules, states, cost, now_us)
            states = [state for state, _ in known]
            told = script(keys=keys, args=[cost, *numbers, now_us])
            assert told.split() == [b"%d" % number for standing in standings for number in standing]
