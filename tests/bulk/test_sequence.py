"""Rows of equal keys follow each other, in as few parts as there are repeats."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perfkit.bulk.plan import Batch, compile_plan
from perfkit.bulk.sequence import divided, keys_of, repeats
from tests.testapp.bulk import Stock

PLAN = compile_plan(Stock)
SHOP, SKU, AMOUNT = (PLAN.columns[PLAN.places[name]] for name in ("shop", "sku", "amount"))
ROWS = st.lists(st.tuples(st.none() | st.sampled_from("AB"), st.integers(0, 2), st.booleans()), max_size=12)


def batches_of(rows: list[tuple[str | None, int, bool]]) -> list[Batch]:
    """Return two batches: of rows with an amount, and of those without."""
    found = []
    for has_amount in (True, False):
        numbers = [number for number, row in enumerate(rows) if row[2] is has_amount]
        columns = [SHOP, SKU, AMOUNT] if has_amount else [SHOP, SKU]
        values = [[rows[number][0] for number in numbers], [rows[number][1] for number in numbers], numbers]
        if numbers:
            found.append(Batch(numbers, columns, values[: len(columns)]))
    return found


@given(rows=ROWS, has_equal_nulls=st.booleans())
def test_no_key_comes_twice_in_a_part_and_equal_ones_come_in_their_order(rows, has_equal_nulls):
    batches = batches_of(rows)
    repeated = repeats(batches, [SHOP, SKU], has_equal_nulls=has_equal_nulls)
    parts = [part for part, _ in divided(batches, repeated)]
    assert sorted(number for part in parts for number in part.numbers) == list(range(len(rows)))
    written: dict[tuple[object, ...], list[int]] = {}
    for part in parts:
        keys = keys_of(part, [SHOP, SKU])
        comparable = [key for key in keys if has_equal_nulls or None not in key]
        assert len(set(comparable)) == len(comparable)
        for key, number in zip(keys, part.numbers, strict=True):
            written.setdefault(key, []).append(number)
    for key, numbers in written.items():
        if has_equal_nulls or None not in key:
            assert numbers == sorted(numbers)
    assert max(repeated.values(), default=0) + 1 <= max(len(rows), 1)


def test_rows_are_divided_by_their_labels_too():
    (batch,) = batches_of([("A", 0, True), ("A", 1, True), ("B", 0, True)])
    parts = divided([batch], {}, label=lambda number: number == 1)
    assert [(list(part.numbers), label) for part, label in parts] == [([0, 2], False), ([1], True)]
    assert parts[0][0].values == [["A", "B"], [0, 0], [0, 2]]


def test_a_key_that_is_left_to_the_database_is_like_no_other():
    batch = Batch([3, 4], [SKU], [[1, 1]])
    assert repeats([batch], [SHOP, SKU], has_equal_nulls=True) == {}
    assert repeats([batch], []) == {}
