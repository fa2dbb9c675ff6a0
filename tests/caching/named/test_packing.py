"""What comes back equals what was given, type by type."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from typing import Any

import msgspec
import pytest
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from perfkit.caching.entries import FAULTS
from perfkit.caching.named.packing import packed_value, unpacked_value
from perfkit.caching.values import UnstorableError
from project.flights.models import StatusReport
from tests.caching.test_queryset import shown
from tests.testapp.models import Item, Sample, Shelf, Volume

texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    texts,
    texts.map(mark_safe),
    st.binary(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.one_of(st.none(), st.just(dt.UTC), st.timezones())),
    st.timedeltas(),
)
hashable = st.recursive(
    scalars, lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)), max_leaves=4
)
values = st.recursive(
    st.one_of(scalars, hashable),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(texts, inner, max_size=4),
        st.dictionaries(hashable, inner, max_size=4),
        st.sets(hashable, max_size=4),
    ),
    max_leaves=12,
)


def told(value: Any) -> str:
    """Return a text that tells a value from all others, down to the types of its parts."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return f"{kind}({[(told(key), told(part)) for key, part in value.items()]})"
    if isinstance(value, list | tuple):
        return f"{kind}({list(map(told, value))})"
    if isinstance(value, set | frozenset):
        return f"{kind}({sorted(map(told, value))})"
    if isinstance(value, dt.datetime | dt.time):
        return f"{kind}({value.replace(tzinfo=None, fold=0).isoformat()} {value.fold} {value.tzinfo})"
    return f"{kind}({value!r})"


@given(values)
def test_it_gives_back_what_it_was_given(value: Any) -> None:
    assert told(unpacked_value(packed_value(value))) == told(value)


@given(values)
def test_each_gets_a_new_one(value: Any) -> None:
    payload = packed_value([value])
    one, other = unpacked_value(payload), unpacked_value(payload)
    assert one is not other


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (object(), "object"),
        (lambda: None, "function"),
        (1j, "complex"),
        (gettext_lazy("Yes"), "__proxy__"),
        (SimpleLazyObject(lambda: 1), "SimpleLazyObject"),
        (enum.Enum("Colour", "RED").RED, "Colour"),
        (StatusReport.Kind.DELAY, "Kind"),
        ({"deep": [{"deeper": (1, {2: bytearray()})}]}, "bytearray"),
        (Item, "ModelBase"),
        ("half a \ud800 character", "str"),
        (decimal.Context(), "Context"),
    ],
)
def test_it_names_what_it_cannot_keep(value: Any, kind: str) -> None:
    with pytest.raises(UnstorableError, match=kind):
        packed_value(value)


def test_it_refuses_what_contains_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UnstorableError, match="nested too deeply"):
        packed_value(loop)


@given(st.binary(max_size=60))
def test_foreign_bytes_are_a_fault_that_is_known(payload: bytes) -> None:
    try:
        unpacked_value(payload)
    except FAULTS:
        return


@given(st.sampled_from("TSFDIMHbifsynudtmvZzr"), st.binary(max_size=40))
def test_foreign_extensions_are_a_fault_that_is_known(code: str, data: bytes) -> None:
    try:
        unpacked_value(msgspec.msgpack.encode(msgspec.msgpack.Ext(ord(code), data)))
    except FAULTS:
        return


@pytest.mark.django_db
class TestInstances:
    def test_it_gives_back_rows(self) -> None:
        shelf = Shelf.objects.create(name="shelf")
        for number in range(3):
            Volume.objects.create(title=f"volume {number}", shelf=shelf)
        Sample.objects.create(item=Item.objects.create(name="item"), short="x", money=decimal.Decimal("1.50"))
        for queryset in (
            Volume.plain.order_by("id"),
            Volume.plain.select_related("shelf"),
            Volume.plain.only("title"),
            Volume.plain.defer("title"),
            Sample.plain.all(),
            Sample.plain.select_related("item"),
        ):
            rows = list(queryset)
            assert shown(unpacked_value(packed_value(rows))) == shown(rows)

    def test_it_keeps_what_was_set_on_an_instance_and_whether_it_was_saved(self) -> None:
        item = Item(name="new", count=3)
        item.note = {"of": ["any", uuid.UUID(int=3)]}  # type: ignore[attr-defined]
        back = unpacked_value(packed_value(item))
        assert (back.name, back.count, back.pk, back._state.adding, back._state.db) == (
            "new",
            3,
            None,
            True,
            None,
        )
        assert back.note == {"of": ["any", uuid.UUID(int=3)]}
        saved = Item.objects.create(name="saved")
        back = unpacked_value(packed_value(saved))
        assert (back, back._state.adding, back._state.db) == (saved, False, "default")

    def test_it_refuses_prefetched_rows_and_querysets(self) -> None:
        shelf = Shelf.objects.create(name="shelf")
        Volume.objects.create(title="volume", shelf=shelf)
        with pytest.raises(UnstorableError, match="prefetched"):
            packed_value(list(Shelf.plain.prefetch_related("volumes")))
        with pytest.raises(UnstorableError, match=r"QuerySet .*return a list"):
            packed_value(Shelf.plain.all())

    def test_rows_of_another_form_of_the_model_are_a_fault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        payload = packed_value(Shelf.objects.create(name="shelf"))
        monkeypatch.setattr("perfkit.caching.named.packing.model_fingerprint", lambda model: "another")
        with pytest.raises(FAULTS):
            unpacked_value(payload)


def test_safe_texts_stay_safe() -> None:
    assert type(unpacked_value(packed_value(mark_safe("<b>")))) is SafeString
