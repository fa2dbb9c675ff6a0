from __future__ import annotations

from dataclasses import replace

import pytest

from perfkit.indexing.steps import Patience, Step, next_step
from perfkit.postgres.catalogue import IndexShape, IndexState

SHAPE = IndexShape("btree", False, 1, ("owner",), "3126", "100", "0", None, ())
VALID = IndexState(1, "public", "i", "parcel", True, True, "CREATE INDEX …", 8192, None, SHAPE)
INVALID = replace(VALID, is_valid=False)


@pytest.mark.parametrize(
    ("there", "wanted", "step"),
    [
        (None, None, Step.BUILD),
        (VALID, SHAPE, Step.KEEP),
        (VALID, replace(SHAPE, condition="(owner = 'x'::text)"), Step.REFUSE),
        (replace(VALID, is_on_table=False), SHAPE, Step.REFUSE),
        (INVALID, None, Step.REBUILD),
        (replace(INVALID, builder_pid=77), None, Step.WAIT),
        (replace(INVALID, is_on_table=False), None, Step.REFUSE),
    ],
)
def test_it_decides_from_what_is_there(
    there: IndexState | None, wanted: IndexShape | None, step: Step
) -> None:
    assert next_step(there, wanted) is step


class TestPatience:
    def test_it_begins_at_once_and_doubles_its_pauses(self) -> None:
        assert list(Patience(attempts=4, pause_seconds=1.5).pauses()) == [0, 1.5, 3, 6]

    def test_it_never_pauses_longer_than_half_a_minute(self) -> None:
        assert max(Patience(attempts=20).pauses()) == 30

    def test_it_tries_once_where_that_is_asked_for(self) -> None:
        assert list(Patience(attempts=1).pauses()) == [0]

    @pytest.mark.parametrize(("seconds", "text"), [(30, "30000ms"), (0.25, "250ms"), (0.0001, "1ms")])
    def test_it_never_says_zero_which_means_without_end(self, seconds: float, text: str) -> None:
        assert Patience(lock_timeout_seconds=seconds).lock_timeout == text

    @pytest.mark.parametrize(
        "wrong",
        [
            {"attempts": 0},
            {"lock_timeout_seconds": 0},
            {"lock_timeout_seconds": -1},
            {"statement_timeout_seconds": 0},
        ],
    )
    def test_it_refuses_what_cannot_be(self, wrong: dict[str, int]) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Patience(**wrong)
