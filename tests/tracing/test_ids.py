"""What comes from elsewhere is an id, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.tracing.ids import LONGEST, new_request_id, valid_request_id, valid_traceparent

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_new_ones_are_valid_and_differ() -> None:
    made = {new_request_id() for _ in range(100)}
    assert len(made) == 100
    assert all(valid_request_id(each) == each for each in made)


@given(st.text())
def test_what_is_taken_cannot_leave_its_line_its_header_or_its_comment(text: str) -> None:
    taken = valid_request_id(text)
    assert taken in {"", text}
    assert len(taken) <= LONGEST
    assert all(each.isascii() and (each.isalnum() or each in "._-") for each in taken)


@pytest.mark.parametrize(
    "wrong", ["a\n", "a\r\nSet-Cookie: b", "*/ DROP", "a b", "é", "x" * 129, b"a", 5, None]
)
def test_what_is_none_is_not_taken(wrong: object) -> None:
    assert valid_request_id(wrong) == ""


@pytest.mark.parametrize("right", ["a", "x" * 128, "b7f3.checkout-1_2"])
def test_what_is_one_is_taken_as_it_is(right: str) -> None:
    assert valid_request_id(right) == right


def test_a_span_is_taken_as_the_w3c_writes_it() -> None:
    assert valid_traceparent(TRACEPARENT) == TRACEPARENT
    later = TRACEPARENT.replace("00-", "cc-", 1)
    assert valid_traceparent(f"{later}-what-comes-later") == later


@pytest.mark.parametrize(
    "wrong",
    [
        TRACEPARENT.upper(),
        TRACEPARENT.replace("00-", "ff-", 1),
        f"{TRACEPARENT}-more",
        f"{TRACEPARENT}\n",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        "cc" + TRACEPARENT[2:] + "more",
        "",
        None,
    ],
)
def test_a_malformed_span_is_none(wrong: object) -> None:
    assert valid_traceparent(wrong) == ""
