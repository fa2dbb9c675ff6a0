"""Values for every field of the model that has one of each of Django's, and what is stored of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import connection
from hypothesis import strategies as st

from tests.testapp.bulk import Everything

IS_POSTGRESQL = connection.vendor == "postgresql"
ASCII_SAFE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
DATES = st.dates(dt.date(1, 1, 2), dt.date(9999, 12, 30))
MOMENTS = st.datetimes(dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29))  # noqa: DTZ001  # zones are added
ZONES = st.sampled_from(
    [dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=45)), dt.timezone(dt.timedelta(hours=-8))]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(ASCII_SAFE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(ASCII_SAFE), inner, max_size=3),
    max_leaves=5,
)
FLOATS = st.floats(allow_nan=False)  # NaN is not equal to itself; SQLite makes it NULL


def integers(bits: int) -> st.SearchStrategy[Any]:
    whole = st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return whole | whole.map(str) | st.booleans()


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "small": integers(16),
    "whole": integers(32) | st.floats(-1e6, 1e6),
    "big": integers(64),
    "positive": st.integers(0, 2**31 - 1),
    "rank": st.sampled_from(Everything.Rank),
    "size": st.sampled_from(Everything.Size) | st.sampled_from("sl"),
    "short": st.text(ASCII_SAFE, max_size=5) | st.integers(0, 99_999),
    "slug": st.text("abc-_", max_size=50),
    "text": st.text(ASCII_SAFE) | st.sampled_from(["\\N", "\\.", "NULL"]),
    "flag": st.booleans() | st.sampled_from([0, 1, "t", "False"]),
    "real": FLOATS | st.integers(-(2**53), 2**53),
    "money": st.decimals(-999_999, 999_999, places=2) | st.decimals(-9, 9, places=4) | st.integers(-99, 99),
    "day": DATES | MOMENTS.map(lambda each: each.replace(tzinfo=dt.UTC)) | DATES.map(str),
    "clock": st.times(),
    "moment": st.builds(lambda moment, zone: moment.replace(tzinfo=zone), MOMENTS, ZONES),
    "span": st.timedeltas(dt.timedelta(days=-10_000), dt.timedelta(days=10_000)),
    "key": st.uuids() | st.uuids().map(str),
    "document": JSON,
    "encoded": DATES | st.decimals(-9, 9, places=2) | JSON,
    "blob": st.binary() | st.binary().map(bytearray) | st.binary().map(memoryview),
    "address": st.ip_addresses().map(str),
    "country_id": st.sampled_from(["PE", "CL"]),
}


def stored() -> list[tuple[Any, ...]]:
    names = [field.attname for field in Everything._meta.concrete_fields if not field.primary_key]
    return [
        tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
        for row in Everything.objects.order_by("pk").values_list(*names)
    ]
