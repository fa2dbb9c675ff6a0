from __future__ import annotations

import datetime
import random
import struct
import tracemalloc
import zlib
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.types.range import Range

from perfkit.caching.entries import (
    COMPRESS_FROM_BYTES,
    FORMAT,
    LARGEST_ENTRY_BYTES,
    LARGEST_PAYLOAD_BYTES,
    UnstorableError,
    decoded,
    encoded,
    held_until,
)
from perfkit.caching.tokens import new_generation
from perfkit.caching.values import MOST_COLUMNS, packed
from tests.caching.rows import ROWS, TOKENS, WHOLE, kept, same

ENDS = 2e9


def forged(signature: str, payload: bytes, *, number: int = FORMAT) -> bytes:
    """Return an entry as somebody would make it who knows the layout."""
    checksum = checksum_of(signature, payload)
    return msgspec.msgpack.encode([number, TOKENS, ENDS, checksum, signature, payload])


def checksum_of(signature: str, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<d", ENDS), zlib.crc32(signature.encode())))


def tag(letter: str, value: Any) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(ord(letter), msgspec.msgpack.encode(value))


def noise(size_bytes: int) -> bytes:
    """Bytes that no compression makes fewer."""
    return random.Random(size_bytes).randbytes(size_bytes)


class TestSize:
    def test_it_refuses_what_is_too_large_after_compression(self) -> None:
        assert len(kept([(noise(LARGEST_ENTRY_BYTES - 200),)])) <= LARGEST_ENTRY_BYTES
        with pytest.raises(UnstorableError, match="size"):
            encoded([(noise(LARGEST_ENTRY_BYTES),)], TOKENS)

    def test_it_refuses_what_would_be_too_large_to_inflate(self) -> None:
        head = len(packed([("x" * LARGEST_ENTRY_BYTES,)])[1]) - LARGEST_ENTRY_BYTES
        kept([("x" * (LARGEST_PAYLOAD_BYTES - head),)])
        with pytest.raises(UnstorableError, match="size"):
            encoded([("x" * (LARGEST_PAYLOAD_BYTES - head + 1),)], TOKENS)


class TestCompression:
    def test_it_packs_no_more_than_a_sample_of_what_is_far_too_large(self) -> None:
        class Counted(list[Any]):
            packed = 0

            def __getitem__(self, index: Any) -> Any:
                part = super().__getitem__(index)
                self.packed += len(part) if isinstance(index, slice) else 0
                return part

            def __iter__(self) -> Any:
                raise AssertionError("all of it is packed")

        rows = Counted([("x" * 2_000,)] * 20_000)
        with pytest.raises(UnstorableError, match="size"):
            encoded(rows, TOKENS)
        assert rows.packed == 500

    def test_it_keeps_very_many_small_rows_though_the_first_are_large(self) -> None:
        kept([("x" * 400,)] * 500 + [("x",)] * 20_000)

    def test_it_makes_large_entries_smaller(self) -> None:
        rows = [(number, f"name {number}") for number in range(20_000)]
        assert len(packed(rows)[1]) > COMPRESS_FROM_BYTES
        assert len(kept(rows)) < len(packed(rows)[1]) / 2

    @pytest.mark.parametrize(
        "text", ["x" * 100, noise(2 * COMPRESS_FROM_BYTES).hex()[: COMPRESS_FROM_BYTES // 2]]
    )
    def test_it_leaves_small_entries_alone(self, text: str) -> None:
        assert text.encode() in kept([(text,)])

    def test_it_leaves_alone_what_would_hardly_be_smaller(self) -> None:
        data = noise(2 * COMPRESS_FROM_BYTES)
        assert data in kept([(data,)])


MOMENT = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
ROW = (7, "name", 1.5, datetime.date(2024, 2, 29), Decimal("9.90"), None, [1], Range(1, 2))


class TestHeldUntil:
    def test_it_is_the_end_of_an_entry_with_these_tokens(self) -> None:
        for rows in ([ROW], [], [(noise(COMPRESS_FROM_BYTES), "a" * COMPRESS_FROM_BYTES)]):
            entry = encoded(rows, TOKENS, ends=ENDS)
            assert held_until(entry, TOKENS) == ENDS
            assert held_until(entry, TOKENS[:1]) == 0

    @given(st.integers(0, 10_000), st.integers(1, 255))
    def test_it_is_none_of_a_damaged_one(self, place: int, change: int) -> None:
        entry = bytearray(encoded([ROW], TOKENS, ends=ENDS))
        entry[place % len(entry)] ^= change
        held = held_until(bytes(entry), TOKENS)
        assert held == 0 or decoded(bytes(entry), TOKENS) is not None

    @given(st.binary(max_size=40))
    def test_it_is_none_of_any_bytes(self, entry: bytes) -> None:
        assert held_until(entry, TOKENS) == 0


class TestMiss:
    def test_it_is_one_under_other_tokens(self) -> None:
        entry = kept([ROW])
        for other in [
            (TOKENS[0],),
            TOKENS[::-1],
            (*TOKENS, b"g"),
            (),
            (TOKENS[0], new_generation()),
            (TOKENS[0], None),
        ]:
            assert decoded(entry, other) is None

    @pytest.mark.parametrize("number", [FORMAT - 1, FORMAT + 1, -1, 2**64 - 1])
    def test_it_is_one_in_another_format(self, number: int) -> None:
        payload = msgspec.msgpack.encode([[1]])
        assert decoded(forged("i", payload), TOKENS) == [(1,)]
        assert decoded(forged("i", payload, number=number), TOKENS) is None

    @given(st.binary())
    @example(b"")
    @example(b"\xc1")
    @example(b"\x90" * 100_000)
    @example(b"\x91" * 100_000 + b"\xc0")
    @example(b"\xdd\xff\xff\xff\xff")
    @example(b"\xdb\xff\xff\xff\xff" + b"x")
    @example(b"\x95\x03\xdd\xff\xff\xff\xff")
    @example(b"\x95\x03\x92\xa1\xff\xa1\xff\x00\xa0\xc4\x00")
    def test_it_is_one_for_any_bytes(self, entry: bytes) -> None:
        assert decoded(entry, TOKENS) is None

    @given(ROWS, st.data())
    def test_it_is_one_where_bytes_are_cut_added_or_changed(
        self, rows: list[tuple[Any, ...]], data: st.DataObject
    ) -> None:
        entry = kept(rows)
        position = data.draw(st.integers(0, len(entry) - 1))
        assert decoded(entry[:position], TOKENS) is None
        assert decoded(entry + data.draw(st.binary(min_size=1)), TOKENS) is None
        flipped = bytearray(entry)
        flipped[position] ^= 1 << data.draw(st.integers(0, 7))
        back = decoded(bytes(flipped), TOKENS)
        assert back is None or same(back, rows)

    @given(st.data())
    def test_it_is_one_where_a_compressed_entry_is_changed(self, data: st.DataObject) -> None:
        entry = bytearray(kept([(number, f"name {number}") for number in range(20_000)]))
        position = data.draw(st.integers(0, len(entry) - 1))
        entry[position] ^= 1 << data.draw(st.integers(0, 7))
        assert decoded(bytes(entry), TOKENS) is None

    @pytest.mark.parametrize("signature", ["x", "p", "f", "n", "I", "~i", "ii", "", "d"])
    def test_it_is_one_where_the_signature_is_another(self, signature: str) -> None:
        payload = msgspec.msgpack.encode([[1]])
        number, tokens, *_ = msgspec.msgpack.decode(forged("i", payload))
        entry = msgspec.msgpack.encode([number, tokens, ENDS, checksum_of("i", payload), signature, payload])
        assert decoded(entry, TOKENS) is None


EXTENSIONS = st.builds(
    msgspec.msgpack.Ext,
    st.sampled_from([ord(letter) for letter in "bifsynudtmvZzrxp"]) | st.integers(-128, 127),
    st.binary(max_size=20)
    | st.recursive(
        st.none()
        | WHOLE
        | st.text(max_size=9)
        | st.sampled_from(["..", "Europe", "/etc/passwd", "[)", "UTC"]),
        lambda part: st.lists(part, max_size=3),
        max_leaves=5,
    ).map(msgspec.msgpack.encode)
    | st.sampled_from(
        [
            msgspec.msgpack.encode([datetime.time(1), 0, "../../etc/passwd"]),
            msgspec.msgpack.encode([datetime.time(1), 0, "Europe"]),
            msgspec.msgpack.encode([datetime.time(1), 2, "UTC"]),
            msgspec.msgpack.encode([datetime.time(1), 0, 2**62]),
            msgspec.msgpack.encode([1, 2, "<>"]),
        ]
    ),
)
THINGS = st.recursive(
    st.none() | WHOLE | st.floats() | st.text(max_size=9) | st.binary(max_size=9) | EXTENSIONS,
    lambda part: (
        st.lists(part, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.tuples(st.integers()), part, max_size=2)
    ),
    max_leaves=20,
)


class TestForgery:
    """What the checksum does not find: somebody may write to the server."""

    @given(
        st.text("xpPifsbynudtmvIFSBYNUDTMV", max_size=4), st.lists(st.lists(THINGS, max_size=4), max_size=3)
    )
    @example("x", [[tag("r", [1, 2, "<>"])]])
    @example("x", [[tag("z", [datetime.time(1), 0, "UTC"])]])
    def test_it_never_raises_whatever_the_rows(self, signature: str, rows: list[list[Any]]) -> None:
        try:
            payload = msgspec.msgpack.encode(rows)
        except OverflowError:  # a key beyond 64 bits
            return
        back = decoded(forged(signature, payload), TOKENS)
        assert back is None or all(type(row) is tuple and len(row) == len(signature) for row in back)

    @given(st.text("~xpifsbynudtmvPIQ_é0", max_size=6), st.binary(max_size=60))
    @example("p", b"")
    @example("x", b"\x91\x91" + b"\x91" * 100_000 + b"\xc0")
    @example("x", b"\x91\x91\x81\x81\x01\x01\x01")
    @example("p", b"\xdd\xff\xff\xff\xff")
    @example("n", b"\x91\x91\xa1x")
    def test_it_never_raises_whatever_the_signature_and_the_payload(
        self, signature: str, payload: bytes
    ) -> None:
        for data in (payload, zlib.compress(payload)):
            back = decoded(forged(signature, data), TOKENS)
            assert back is None or type(back) is list

    @pytest.mark.parametrize("signature", ["i" * (MOST_COLUMNS + 1), "~~i", "i?", "int", "é", "\x00"])
    def test_it_is_a_miss_where_the_signature_is_none(self, signature: str) -> None:
        row = [1] * len(signature.removeprefix("~"))
        for payload in (msgspec.msgpack.encode([row]), zlib.compress(msgspec.msgpack.encode([row]))):
            assert decoded(forged(signature, payload), TOKENS) is None

    @pytest.mark.parametrize(
        "data",
        [
            tag("r", [tag("r", [1, 2, "[)"]), None, "[)"]),
            tag("r", [1, 2, "<>"]),
            tag("z", [MOMENT, 0, "../../etc/passwd"]),
            tag("z", [MOMENT, 0, "Europe"]),
            tag("z", [MOMENT, 0, 2**62]),
            tag("z", [MOMENT, 2, None]),
            tag("z", [MOMENT, 2**62, None]),
            tag("z", [MOMENT, 0, "x" * 300]),
            tag("n", "no number"),
            tag("p", 1),
            msgspec.msgpack.Ext(0, b""),
        ],
        ids=range(11),
    )
    def test_it_is_a_miss_where_a_tag_is_none(self, data: msgspec.msgpack.Ext) -> None:
        for signature in "xp":
            assert decoded(forged(signature, msgspec.msgpack.encode([[data]])), TOKENS) is None

    def test_it_inflates_no_bomb(self) -> None:
        bomb = forged("~s", zlib.compress(msgspec.msgpack.encode([["x" * (10 * LARGEST_PAYLOAD_BYTES)]])))
        assert len(bomb) < LARGEST_ENTRY_BYTES
        tracemalloc.start()
        try:
            assert decoded(bomb, TOKENS) is None
            assert tracemalloc.get_traced_memory()[1] < 3 * LARGEST_PAYLOAD_BYTES
        finally:
            tracemalloc.stop()

    def test_it_is_a_miss_where_the_compressed_stream_is_cut_or_goes_on(self) -> None:
        stream = zlib.compress(msgspec.msgpack.encode([[1]]))
        assert decoded(forged("~i", stream), TOKENS) == [(1,)]
        for other in (stream[:-1], stream + b"x", b"", msgspec.msgpack.encode([[1]])):
            assert decoded(forged("~i", other), TOKENS) is None
