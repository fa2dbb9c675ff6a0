from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from perfkit.caching.tags import LONGEST_PLAIN_TEXT, entry_prefix, key_text, row_tag, table_tag

KEYS = st.one_of(st.integers(), st.text(), st.uuids())


def test_it_names_rows_and_tables() -> None:
    assert row_tag("default", "flights_plane", "N123") == "r:default:flights_plane:N123"
    assert row_tag("default", "t", -5) == "r:default:t:-5"
    assert table_tag("default", "t") == "b:default:t"
    assert entry_prefix("default", "t", "abc") == "e:default:t:abc:"
    assert key_text(uuid.UUID(int=10)) == uuid.UUID(int=10).hex


@given(st.text(), st.text())
def test_it_tells_texts_apart(first: str, second: str) -> None:
    assert (key_text(first) == key_text(second)) == (first == second)


@given(KEYS)
def test_it_makes_short_printable_text(key: int | str | uuid.UUID) -> None:
    text = key_text(key)
    assert text.isascii()
    assert " " not in text
    assert text.isprintable()
    assert isinstance(key, int) or len(text) <= LONGEST_PLAIN_TEXT


def test_it_cannot_be_led_to_a_hash_by_a_text_that_looks_like_one() -> None:
    hashed = key_text("a b")
    assert key_text(hashed) != hashed
    assert key_text("") != key_text("#")
    assert key_text("\ud800") != key_text("\ud801")
