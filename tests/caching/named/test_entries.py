"""Entries: whole, or not there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.caching.entries import LARGEST_ENTRY_BYTES
from perfkit.caching.named.entries import NamedEntry, body_of, decoded_entry
from perfkit.caching.named.heads import head_of, tags_in, tokens_in
from perfkit.caching.values import UnstorableError

KEY = "v:context:path"
TAGS = ("k:path", "n:", "a:db:table")
TOKENS = (b"g1", b"g2", b"w3@4")

payloads = st.one_of(
    st.binary(max_size=200), st.binary(min_size=1, max_size=20).map(lambda part: part * 20_000)
)
numbers = st.floats(allow_nan=False)


def stored(entry: NamedEntry) -> bytes:
    return head_of(entry.tags, TOKENS) + body_of(KEY, entry)


@given(payloads, numbers, numbers, numbers)
def test_it_gives_back_what_it_was_given(
    payload: bytes, ends: float, refresh_at: float, seconds: float
) -> None:
    entry = NamedEntry("v", payload, TAGS, ends, refresh_at, seconds)
    kept = stored(entry)
    assert decoded_entry(KEY, kept) == entry
    assert tags_in(kept) == TAGS
    assert tokens_in(kept) == TOKENS


@given(st.data())
def test_a_changed_byte_is_found(data: st.DataObject) -> None:
    kept = bytearray(stored(NamedEntry("v", b"payload", TAGS, 1.0, 1.0, 0.5)))
    place = data.draw(st.integers(0, len(kept) - 1))
    kept[place] ^= data.draw(st.integers(1, 255))
    changed = bytes(kept)
    assert decoded_entry(KEY, changed) is None or tokens_in(changed) != TOKENS or tags_in(changed) != TAGS


@given(st.binary(max_size=300))
def test_foreign_bytes_are_no_entry(foreign: bytes) -> None:
    assert decoded_entry(KEY, foreign) is None
    tags_in(foreign)
    tokens_in(foreign)


def test_a_copy_under_another_key_is_no_entry() -> None:
    assert decoded_entry("v:context:other", stored(NamedEntry("v", b"payload", TAGS, 1.0, 1.0, 0.5))) is None


def test_a_large_one_is_compressed_and_a_larger_one_refused() -> None:
    assert len(stored(NamedEntry("v", b"abc" * 1_000_000, TAGS, 1.0, 1.0, 0.5))) < 100_000
    noise = bytes(range(256)) * 4
    with pytest.raises(UnstorableError, match="size"):
        body_of(
            KEY,
            NamedEntry("v", b"".join(bytes([a ^ b for b in noise]) for a in range(256)) * 16, TAGS, 1, 1, 1),
        )
    assert LARGEST_ENTRY_BYTES == 1_000_000
