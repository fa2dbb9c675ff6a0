from __future__ import annotations

import datetime
import decimal
import math
import uuid
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from django.db import models
from hypothesis import example, given
from hypothesis import strategies as st

from perfkit.caching.codec import LARGEST_ENTRY_BYTES, RowCodec, codec_for
from perfkit.caching.columns import column_names, unsupported_field
from perfkit.caching.tokens import new_generation
from tests.testapp.models import Document, Item, Sample

TOKENS = (b"g0123456789abcdef", b"gfedcba9876543210")
WHOLE = st.integers(-(2**63), 2**63 - 1)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "id": WHOLE,
    "whole": WHOLE,
    "big": WHOLE,
    "flag": st.booleans(),
    "real": st.floats(),
    "money": st.decimals(),
    "short": st.text(),
    "text": st.text(),
    "slug": st.text(),
    "path": st.text(),
    "address": st.ip_addresses().map(str),
    "key": st.uuids(),
    "day": st.dates(),
    "moment": st.datetimes() | st.datetimes(timezones=st.just(datetime.UTC)),
    "clock": st.times(),
    "span": st.timedeltas(),
    "blob": st.binary(),
    "item_id": WHOLE,
}
CODEC = codec_for(Sample)
ROWS = st.tuples(*(st.none() | VALUES[column] for column in column_names(Sample)))


def same(first: Any, second: Any) -> bool:
    """Whether nobody could tell the two apart: `==` knows neither -0.0 nor NaN nor the exponent of a Decimal."""
    if type(first) is not type(second):
        return False
    if isinstance(first, float):
        return math.copysign(1, first) == math.copysign(1, second) and (
            first == second or (math.isnan(first) and math.isnan(second))
        )
    if isinstance(first, decimal.Decimal):
        return first.as_tuple() == second.as_tuple()
    if isinstance(first, datetime.datetime | datetime.time):
        return first == second and first.tzinfo is second.tzinfo and first.fold == second.fold
    return bool(first == second)


@given(ROWS)
def test_it_gives_back_the_same_values_of_the_same_types_or_stores_nothing(row: tuple[Any, ...]) -> None:
    entry = CODEC.encode(row, TOKENS)
    if entry is None:
        strange = [
            value
            for value in row
            if getattr(value, "fold", 0) or (isinstance(value, decimal.Decimal) and not value.is_finite())
        ]
        assert strange, "nothing in this row is hard to store"
        return
    back = CODEC.decode(entry, TOKENS)
    assert back is not None
    assert all(same(value, other) for value, other in zip(row, back, strict=True)), (row, back)


def sample(**values: Any) -> tuple[Any, ...]:
    return tuple(values.get(column) for column in column_names(Sample))


@pytest.mark.parametrize(
    "values",
    [
        {"big": 2**64},
        {"big": -(2**63) - 1},
        {"short": "lone \ud800 surrogate"},
        {"moment": datetime.datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Vienna"))},
        {"moment": datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))},
        {"clock": datetime.time(1, tzinfo=datetime.UTC)},
        {"blob": memoryview(b"x")},
        {"blob": bytearray(b"x")},
        {"whole": True},
        {"flag": 1},
        {"real": 1},
        {"whole": 1.0},
        {"day": datetime.datetime(2024, 1, 1)},  # noqa: DTZ001  # naive on purpose
        {"short": type("Text", (str,), {})("subclass")},
        {"money": 1.5},
        {"key": "5d41402abc4b2a76b9719d911017c592"},
        {"text": "x" * (LARGEST_ENTRY_BYTES + 1)},
    ],
    ids=lambda values: "-".join(f"{name}-{type(value).__name__}" for name, value in values.items()),
)
def test_it_stores_nothing_that_would_come_back_changed(values: dict[str, Any]) -> None:
    assert CODEC.encode(sample(**values), TOKENS) is None


def test_it_keeps_the_exponent_the_sign_and_the_microseconds() -> None:
    row = sample(
        id=-1,
        money=decimal.Decimal("1.500"),
        real=-0.0,
        moment=datetime.datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=datetime.UTC),
        clock=datetime.time(23, 59, 59, 999999),
        span=datetime.timedelta(days=-1, microseconds=1),
        short="",
        blob=b"\x00\xff",
        key=uuid.UUID(int=0),
    )
    entry = CODEC.encode(row, TOKENS)
    assert entry is not None
    back = CODEC.decode(entry, TOKENS)
    assert back is not None
    assert all(same(value, other) for value, other in zip(row, back, strict=True))


def entry_of(row: tuple[Any, ...]) -> bytes:
    entry = CODEC.encode(row, TOKENS)
    assert entry is not None
    return entry


ROW = sample(id=7, short="name", real=1.5, day=datetime.date(2024, 2, 29), money=decimal.Decimal("9.90"))


def test_it_is_a_miss_under_other_tokens() -> None:
    entry = entry_of(ROW)
    assert CODEC.decode(entry, TOKENS) == ROW
    for other in [
        (TOKENS[0],),
        TOKENS[::-1],
        (*TOKENS, b"g"),
        (),
        (TOKENS[0], new_generation()),
        (TOKENS[0], None),
    ]:
        assert CODEC.decode(entry, other) is None


def test_it_is_a_miss_for_another_model() -> None:
    assert codec_for(Item).decode(entry_of(ROW), TOKENS) is None
    assert codec_for(Item).fingerprint != CODEC.fingerprint


@given(st.binary())
@example(b"")
@example(b"\xc1")
@example(b"\x90" * 100_000)
@example(b"\x91" * 100_000 + b"\xc0")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdb\xff\xff\xff\xff" + b"x")
@example(b"\x94\x02\xdd\xff\xff\xff\xff")
@example(b"\x94\x02\x92\xa1\xff\xa1\xff\x00\x90")
def test_it_is_a_miss_for_any_bytes(entry: bytes) -> None:
    assert CODEC.decode(entry, TOKENS) is None


@given(ROWS, st.data())
def test_it_is_a_miss_where_a_byte_is_cut_or_a_bit_flipped(row: tuple[Any, ...], data: st.DataObject) -> None:
    entry = CODEC.encode(row, TOKENS)
    if entry is None:
        return
    position = data.draw(st.integers(0, len(entry) - 1))
    assert CODEC.decode(entry[:position], TOKENS) is None
    flipped = bytearray(entry)
    flipped[position] ^= 1 << data.draw(st.integers(0, 7))
    back = CODEC.decode(bytes(flipped), TOKENS)
    assert back is None or all(same(value, other) for value, other in zip(row, back, strict=True))


@given(
    st.recursive(
        st.none() | st.integers(-9, 9) | st.text(max_size=3) | st.binary(max_size=3), st.lists, max_leaves=20
    )
)
def test_it_is_a_miss_for_well_formed_bytes_of_another_shape(thing: Any) -> None:
    assert CODEC.decode(msgspec.msgpack.encode(thing), TOKENS) is None
    for row in (thing, [thing] * len(column_names(Sample))):
        entry = msgspec.msgpack.encode([2, list(TOKENS), 0, row])
        back = CODEC.decode(entry, TOKENS)
        assert back is None


def test_it_does_not_know_these_fields() -> None:
    assert unsupported_field(Sample) is None
    assert unsupported_field(Document) is Document._meta.get_field("content")

    class Shout(models.CharField):
        def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
            return value.upper()

    class Mine(models.CharField):
        pass

    for number, field in enumerate(
        [
            Shout(max_length=9),
            Mine(max_length=9),
            models.GeneratedField(
                expression=models.F("id"), output_field=models.IntegerField(), db_persist=True
            ),
        ]
    ):
        model = type(
            f"Odd{number}",
            (models.Model,),
            {"__module__": "tests.testapp.models", "odd": field, "Meta": ABSTRACT},
        )
        concrete = model._meta.get_field("odd")
        assert unsupported_field(model) is concrete


ABSTRACT = type("Meta", (), {"abstract": True})


def test_it_changes_its_fingerprint_with_the_columns_and_the_table() -> None:
    def fingerprint(**attributes: Any) -> str:
        fields = {"name": models.CharField(max_length=9), **attributes.pop("fields", {})}
        meta = type("Meta", (), {"abstract": True, **attributes})
        return RowCodec(
            type("Shape", (models.Model,), {"__module__": "tests.testapp.models", **fields, "Meta": meta})
        ).fingerprint

    first = fingerprint(db_table="a")
    assert fingerprint(db_table="a") == first
    assert fingerprint(db_table='b"."a') != first
    assert fingerprint(db_table="a", fields={"name": models.IntegerField()}) != first
    assert fingerprint(db_table="a", fields={"more": models.IntegerField()}) != first
