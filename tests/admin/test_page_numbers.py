from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.admin.page_numbers import FIRST, Asked, PageLink, asked_of

CURSORS = st.text("abcXYZ019-_.", min_size=1)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("7", Asked(7)),
        ("-1", Asked(-1)),
        ("7~2~a.b-_c", Asked(7, 2, "a.b-_c")),
        ("-9~0~x", Asked(-9, 0, "x")),
        ("", FIRST),
        ("x", FIRST),
        ("1.5", FIRST),
        ("9" * 5000, FIRST),
        ("7~", Asked(7)),
        ("7~1", Asked(7)),
        ("7~1~", Asked(7)),
        ("7~x~abc", Asked(7)),
        ("7~-1~abc", Asked(7)),
        ("7~4~abc", Asked(7)),
        ("7~²~abc", Asked(7)),
    ],
)
def test_it_reads_what_an_address_asks_for(text: str, asked: Asked) -> None:
    assert asked_of(text) == asked


@given(st.integers(), st.integers(0, 3), st.none() | CURSORS)
def test_it_reads_what_it_writes(number: int, pages_away: int, cursor: str | None) -> None:
    asked = Asked(number, pages_away if cursor else 0, cursor)
    assert asked_of(str(asked)) == asked


def test_it_names_pages_from_the_end_in_words() -> None:
    assert [str(PageLink(Asked(number))) for number in (1, 15_000, -1, -2, -10)] == [
        "1",
        "15000",
        "last",
        "last\N{MINUS SIGN}1",
        "last\N{MINUS SIGN}9",
    ]
    assert PageLink(Asked(7, 2, "x")) == 7
