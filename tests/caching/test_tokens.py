from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perfkit.caching.tokens import finished, is_in_flight, marked, new_generation, new_writer

WRITERS = st.sampled_from(["a1", "b2", "c3", "d4"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["mark", "done"]), WRITERS, st.integers(0, 50), st.integers(1, 100)),
    max_size=40,
)


def test_it_makes_generations_and_writers_that_differ() -> None:
    assert len({new_generation() for _ in range(1000)}) == 1000
    assert len({new_writer() for _ in range(1000)}) == 1000
    assert not is_in_flight(new_generation())


@given(STEPS)
def test_it_is_in_flight_exactly_while_a_living_writer_is_not_done(
    steps: list[tuple[str, str, int, int]],
) -> None:
    token: bytes | None = None
    token_end = now = 0
    ends: dict[str, int] = {}
    for act, writer, passed, lease in steps:
        now += passed
        held = token if token is not None and token_end > now else None
        if act == "mark":
            token, token_end = marked(held, writer=writer, now_ms=now, lease_ms=lease)
            ends[writer] = now + lease
        else:
            token, token_end = finished(held, writers=[writer], now_ms=now, generation=new_generation())
            ends.pop(writer, None)
        living = {name: end for name, end in ends.items() if end > now}
        assert is_in_flight(token) == bool(living)
        if living:
            assert token_end == max(living.values())
