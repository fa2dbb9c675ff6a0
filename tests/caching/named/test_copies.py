"""Copies of values equal what is unpacked, and share nothing that anybody could change."""

from __future__ import annotations

import datetime as dt
import tracemalloc
from typing import Any

import pytest
from django.utils.safestring import SafeString
from hypothesis import given

from perfkit.caching.named.copies import DEEPEST, MOST_PARTS, Copier, copies_of, is_fixed
from perfkit.caching.named.packing import packed_value, unpacked_value
from tests.caching.named.test_packing import told, values
from tests.testapp.models import Item

CHANGEABLE = (list, dict, set)


def copier_of(value: Any) -> Copier | None:
    copies = copies_of(value, entry_bytes=0)
    return None if copies is None else copies.copy


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth > 1 else []


def changeable_parts(value: Any) -> set[int]:
    """Return the identities of everything within a value that can be changed."""
    parts = {id(value)} if isinstance(value, CHANGEABLE) else set()
    if isinstance(value, dict):
        inner = [*value, *value.values()]
    else:
        inner = list(value) if isinstance(value, list | tuple | set | frozenset) else []
    return parts.union(*map(changeable_parts, inner))


@given(values)
def test_a_copy_is_what_was_unpacked_and_shares_nothing_that_changes(value: Any) -> None:
    held = unpacked_value(packed_value(value))
    copy = copier_of(held)
    if copy is None:
        return
    copies = [copy(), copy()]
    assert [told(each) for each in copies] == [told(value)] * 2
    kept = [held, *copies]  # so that no identity is given twice
    parts = [changeable_parts(each) for each in kept]
    assert len(set.union(*parts)) == sum(map(len, parts))


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        (1, ("two", dt.date(2024, 1, 2)), frozenset({3})),
        {"mean": 1.5, "airlines": {"AA": 3}, "names": ["American"]},
        [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}],
        [[{"deep": [1, [2]]}], {3}],
        [],
        [1, []],
    ],
)
def test_plain_values_are_copied(value: Any) -> None:
    copy = copier_of(value)
    assert copy is not None
    assert told(copy()) == told(value)


@pytest.mark.parametrize(
    "value",
    [
        Item(),
        [Item()],
        {"rows": ([1],)},
        {SafeString("key"): 1},
        SafeString("text"),
        [[] for _ in range(MOST_PARTS)],
        nested(DEEPEST + 1),
    ],
    ids=["instance", "instances", "list in a tuple", "key of a subclass", "subclass", "very many", "deep"],
)
def test_others_are_unpacked_each_time(value: Any) -> None:
    assert copier_of(value) is None


def test_what_nobody_can_change_is_the_same_object() -> None:
    value = ("a", 1, dt.timedelta(1))
    copy = copier_of(value)
    assert copy is not None
    assert copy() is value
    assert is_fixed(value)
    assert not is_fixed(([],))


def test_a_value_is_copied_as_deep_as_a_stack_can_bear() -> None:
    value = nested(DEEPEST)
    copy = copier_of(value)
    assert copy is not None
    assert copy() == value


def test_what_is_in_two_places_or_within_itself_is_unpacked_each_time() -> None:
    part: list[Any] = []
    assert copier_of([part, part]) is None
    assert copier_of({"one": part, "two": [part]}) is None
    part.append(part)
    assert copier_of(part) is None


@pytest.mark.parametrize(
    "value",
    [
        [{"id": number, "seats": number % 7} for number in range(1, 900)],
        [{"id": number, "name": f"Airport {number}", "latitude": number / 7} for number in range(900)],
        [list(range(1_000, 1_020)) for _ in range(900)],
        [[[]] for _ in range(450)],
        list(range(1_000, 50_000)),
    ],
    ids=["rows of numbers", "rows", "lists", "empty lists", "numbers"],
)
def test_it_is_known_about_how_much_memory_a_value_takes(value: Any) -> None:
    packed = packed_value(value)
    tracemalloc.start()
    try:
        held = unpacked_value(packed)
        copies = copies_of(held, entry_bytes=len(packed))
        took_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert copies is not None
    assert took_bytes < 1.2 * copies.size_bytes
    assert copies.size_bytes < 4 * took_bytes
