from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from perfkit.monitoring.generations import Generations


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30))))
def test_it_is_bounded_and_tells_what_was_put(steps: list[tuple[bool, int]]) -> None:
    found: Generations[int, int] = Generations(10)
    put: dict[int, int] = {}
    for step, (is_put, key) in enumerate(steps):
        if is_put:
            found.put(key, step)
            put[key] = step
        else:
            assert found.get(key) in {None, put.get(key)}
        assert len(found) <= 10


def test_what_is_asked_for_stays() -> None:
    found: Generations[int, int] = Generations(10)
    found.put(-1, 1)
    for number in range(100):
        found.put(number, number)
        assert found.get(-1) == 1
    assert found.get(99) == 99
    assert found.get(50) is None


def test_values_are_dropped_from_both_generations() -> None:
    found: Generations[int, str] = Generations(4)
    for number in range(4):
        found.put(number, "odd" if number % 2 else "even")
    found.drop({"odd"})
    assert [found.get(number) for number in range(4)] == ["even", None, "even", None]


def test_what_another_thread_drops_meanwhile_does_not_come_back() -> None:
    class Interrupted(dict[int, str]):
        def get(self, key: int, default: Any = None) -> Any:
            value = super().get(key, default)
            found.drop({value})
            return value

    found: Generations[int, str] = Generations(4)
    for number in range(3):
        found.put(number, "odd" if number % 2 else "even")
    assert 0 not in found.young
    found._old = Interrupted(found._old)
    assert found.get(0) == "even", "what was known when it was asked"
    assert found.get(0) is None
    assert list(found) == [1]
