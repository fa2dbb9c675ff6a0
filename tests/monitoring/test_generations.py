from __future__ import annotations

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
