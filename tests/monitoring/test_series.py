from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perfkit.monitoring.buckets import STANDARD, coarse, standard
from perfkit.monitoring.series import (
    WINDOWS,
    Series,
    buckets_of,
    count_of,
    pages_of,
    summed,
    total_page,
)
from tests.monitoring.events import add_event

REQUEST = Series("request", ("GET", "/flights", "2xx"))
QUERY = Series("query", ("default", "SELECT", "abc"))

events = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    max_size=50,
)


@given(events)
def test_a_vector_holds_sums_and_the_count(told: list[tuple[int, int, int]]) -> None:
    vector: dict[int, int] = {}
    for event in told:
        add_event(vector, REQUEST, *event)
    for index in range(3):
        assert vector.get(index, 0) == sum(event[index] for event in told)
    assert count_of(vector) == len(told)


@given(events, events)
def test_vectors_add_up_in_any_order(
    one: list[tuple[int, int, int]], other: list[tuple[int, int, int]]
) -> None:
    def vector(told: list[tuple[int, int, int]]) -> dict[int, int]:
        found: dict[int, int] = {}
        for event in told:
            add_event(found, QUERY, *event)
        return found

    assert summed([vector(one), vector(other)]) == summed([vector(other), vector(one)])
    whole = {index: number for index, number in vector([*one, *other]).items() if number}
    assert {
        index: number for index, number in summed([vector(one), vector(other)]).items() if number
    } == whole


@given(events)
def test_no_page_loses_an_event(told: list[tuple[int, int, int]]) -> None:
    sums: dict[Series, dict[int, int]] = {REQUEST: {}, QUERY: {}}
    for event in told:
        for series, vector in sums.items():
            add_event(vector, series, *event)
    for page, addition in pages_of(sums, 1_800_000_000).items():
        counts = {
            name.partition("\t")[0]: vector[0] if page == total_page("request") else count_of(vector)
            for name, vector in addition.vectors.items()
        }
        assert counts, page
        assert set(counts.values()) == {len(told)}, page


def test_pages_are_of_windows_and_of_all() -> None:
    moment = 1_800_000_123.0
    pages = pages_of({REQUEST: {0: 10, 20: 1}, QUERY: {0: 10, 20: 1}}, moment)
    assert list(pages) == [
        *(window.name(window.part(moment)) for window in WINDOWS),
        total_page("view"),
        total_page("request"),
        total_page("query"),
    ]
    minute, twenty, five, hour, view, request, query = pages.values()
    assert set(minute.vectors) == {"request\t2xx", "query\tdefault\tSELECT"}
    assert minute.vectors == twenty.vectors
    assert set(five.vectors) == {
        "request\tGET\t/flights\t2xx",
        "query\tdefault\tSELECT",
        "statement\tdefault\tabc",
    }
    assert five.vectors == hour.vectors
    assert set(view.vectors) == {"view\t/flights"}
    assert request.vectors == {"2xx\tGET\t/flights": {0: 1}}
    assert set(query.vectors) == {"query\tdefault\tSELECT"}


@given(st.integers(0, STANDARD[-1] + 1))
def test_rougher_buckets_hold_what_the_fine_ones_do(bucket: int) -> None:
    assert coarse(bucket) >= bucket
    place = standard(bucket)
    assert place == len(STANDARD) or STANDARD[place] >= bucket
    assert place == 0 or STANDARD[place - 1] < bucket


def test_counters_have_no_buckets() -> None:
    vector: dict[int, int] = {}
    add_event(vector, Series("cache", ("a", "hit", "")), 5, 0, 0)
    assert vector == {0: 5}
    assert buckets_of(vector) == {}
