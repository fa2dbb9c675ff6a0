"""`on_error="report"`: bad rows are skipped and told, all others are written, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.bulk import SkippedRow, bulk_insert, bulk_update, bulk_upsert
from perfkit.bulk.chunks import ChunkLoop
from perfkit.errors import UsageError
from tests.bulk.everything import IS_POSTGRESQL
from tests.testapp.bulk import City, Country, Node, Subscriber

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "c", "d", "x" * 21]),
            "country_id": st.sampled_from(["PE", "PE", "CL", "ZZ"]),
            "population": st.sampled_from([1, 2, 3, -1, "many", None]),
        }
    ),
    max_size=12,
)


@pytest.fixture(autouse=True)
def nothing_else(transactional_db: None) -> None:
    Country.objects.bulk_create([Country(code="PE"), Country(code="CL")])


def stored() -> list[Any]:
    return sorted(City.objects.values_list("name", "country_id", "population"))


def one_by_one(rows: list[Any], write: Callable[[Any], object]) -> list[int]:
    """Write each row in a transaction of its own; return the numbers of those that were refused."""
    refused = []
    for number, row in enumerate(rows):
        try:
            City(**{"name": "named", **row}).clean_fields(
                exclude=["country", "population", "id"]
            )  # SQLite takes names of any length
            write(row)
        except (DatabaseError, ValueError, ValidationError):
            refused.append(number)
    return refused


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=ROWS, chunk_rows=st.integers(1, 13), as_instances=st.booleans(), return_ids=st.booleans())
def test_insert_writes_what_would_be_written_row_by_row(
    rows: list[dict[str, Any]], chunk_rows: int, as_instances: bool, return_ids: bool
) -> None:
    City.objects.all().delete()
    refused = one_by_one(rows, lambda row: City.objects.create(**row))
    expected = stored()
    City.objects.all().delete()
    result = bulk_insert(
        City,
        (City(**row) if as_instances else row for row in rows),
        chunk_rows=chunk_rows,
        on_error="report",
        return_ids=return_ids,
    )
    assert stored() == expected
    assert [each.row_number for each in result.skipped] == refused
    assert all(each.reason for each in result.skipped)
    assert result.rows == len(rows) - len(refused)
    if return_ids:
        assert result.ids is not None
        assert [number for number, pk in enumerate(result.ids) if pk is None] == refused
        assert City.objects.filter(pk__in=result.ids).count() == result.rows


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=ROWS, chunk_rows=st.integers(1, 13), return_rows=st.booleans())
def test_upsert_writes_what_would_be_written_row_by_row(
    rows: list[dict[str, Any]], chunk_rows: int, return_rows: bool
) -> None:
    def update_or_create(row: dict[str, Any]) -> object:
        return City.objects.update_or_create(
            name=row["name"], country_id=row["country_id"], defaults={"population": row["population"]}
        )

    City.objects.all().delete()
    refused = one_by_one(rows, update_or_create)
    expected = stored()
    City.objects.all().delete()
    result = bulk_upsert(
        City,
        rows,
        conflict_columns=["name", "country"],
        chunk_rows=chunk_rows,
        on_error="report",
        return_rows=return_rows,
    )
    assert stored() == expected
    assert [each.row_number for each in result.skipped] == refused
    assert result.created == len(expected)
    assert result.created + result.updated == len(rows) - len(refused)
    if return_rows:
        assert result.returned is not None
        assert [number for number, row in enumerate(result.returned) if row is None] == refused


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), ROWS.map(lambda rows: rows[0] if rows else {})), max_size=10),
    chunk_rows=st.integers(1, 11),
)
def test_update_writes_what_would_be_written_row_by_row(
    rows: list[tuple[int, dict[str, Any]]], chunk_rows: int
) -> None:
    def begin() -> None:
        City.objects.all().delete()
        for pk in range(3):
            City.objects.create(pk=pk, name=f"city {pk}", country_id="PE")

    if (
        not IS_POSTGRESQL
    ):  # there foreign keys are checked at COMMIT, when a later row may have mended an earlier one
        rows = [
            (pk, {name: "PE" if value == "ZZ" else value for name, value in row.items()}) for pk, row in rows
        ]
    begin()
    refused = one_by_one(
        [{"pk": pk, **values} for pk, values in rows],
        lambda row: (
            row.keys() > {"pk"}
            and City.objects.filter(pk=row["pk"]).update(**{name: row[name] for name in row if name != "pk"})
        ),
    )
    expected = stored()
    begin()
    result = bulk_update(City, rows, chunk_rows=chunk_rows, on_error="report")
    assert stored() == expected
    assert [each.row_number for each in result.skipped] == refused


def test_it_says_which_field_and_why() -> None:
    rows = [
        {"name": "a", "country_id": "PE"},
        {"name": "b", "country_id": "ZZ"},
        {"name": "c", "country_id": "PE", "population": "many"},
        {"name": "d", "contry_id": "PE"},
        {"name": "x" * 21, "country_id": "PE"},
    ]
    result = bulk_insert(City, rows, on_error="report")
    assert result.rows == 1
    assert [(each.row_number, each.field) for each in result.skipped] == [
        (1, "country" if IS_POSTGRESQL else None),  # SQLite does not say which
        (2, "population"),
        (3, None),
        (4, "name"),
    ]
    assert result.skipped[1] == SkippedRow(
        2,
        "population",
        "a str of 4 characters is not what PositiveIntegerField takes.",
        "a str of 4 characters",
    )
    assert "Did you mean" in result.skipped[2].reason


def test_chunks_before_an_error_of_another_kind_stay() -> None:
    def rows() -> Any:
        yield from ({"name": str(number), "country_id": "PE"} for number in range(5))
        raise RuntimeError("the source ended early")

    with pytest.raises(RuntimeError):
        bulk_insert(City, rows(), on_error="report", chunk_rows=2)
    assert City.objects.count() == 4
    assert not connection.in_atomic_block


def test_inside_your_transaction_all_goes_with_it() -> None:
    rows = [{"name": "a", "country_id": "PE"}, {"name": None, "country_id": "PE"}]
    with transaction.atomic():
        assert bulk_insert(City, rows, on_error="report").rows == 1
        transaction.set_rollback(True)
    assert not City.objects.exists()


def test_a_table_that_refers_to_itself_is_checked_too() -> None:
    rows = [{"id": 1}, {"id": 2, "parent_id": 1}, {"id": 3, "parent_id": 9}, {"id": 4, "parent_id": 2}]
    result = bulk_insert(Node, rows, on_error="report")
    assert [each.row_number for each in result.skipped] == [2]
    assert list(Node.objects.order_by("pk").values_list("pk", flat=True)) == [1, 2, 4]


@pytest.mark.skipif(not IS_POSTGRESQL, reason="PostgreSQL's foreign keys by set")
def test_many_rows_with_few_bad_ones_take_few_pieces() -> None:
    rows = [
        {"name": str(number), "country_id": "ZZ" if number % 1500 == 7 else "PE"} for number in range(6000)
    ]
    result = bulk_insert(City, rows, on_error="report", chunk_rows=2000)
    assert [each.row_number for each in result.skipped] == [7, 1507, 3007, 4507]
    assert result.rows == City.objects.count() == 5996


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(UsageError, match="Did you mean 'report'"):
        bulk_insert(City, [], on_error="reports")  # type: ignore[arg-type]


def test_by_default_nothing_is_written() -> None:
    with pytest.raises(IntegrityError):
        bulk_insert(City, [{"name": "a", "country_id": "PE"}, {"name": None, "country_id": "PE"}])
    assert not City.objects.exists()


@pytest.mark.parametrize("call", ["insert", "upsert", "update"])
def test_a_chunk_may_have_thousands_of_bad_rows(call: str) -> None:
    rows: list[Any] = [{"code": "x" * 50 if number % 2 else str(number)} for number in range(3_000)]
    if call == "insert":
        result: Any = bulk_insert(Subscriber, rows, chunk_rows=5_000, on_error="report")
    elif call == "upsert":
        result = bulk_upsert(Subscriber, rows, conflict_columns=["code"], on_error="report")
    else:
        result = bulk_update(Subscriber, enumerate(rows, 1), on_error="report")
    assert [row.row_number for row in result.skipped] == list(range(1, 3_000, 2))
    assert Subscriber.objects.count() == (0 if call == "update" else 1_500)


def test_an_error_under_way_stays_with_its_own_rows() -> None:
    Subscriber.objects.create(code="dup")
    rows: list[dict[str, Any]] = [{"code": f"a{number}", "email": f"{number}"} for number in range(9_000)]
    rows[6_000]["code"] = "dup"
    rows[5] = {"id": 10**6, "code": "b", "note": "\ud800"}
    result = bulk_insert(Subscriber, rows, chunk_rows=9_000, on_error="report", return_ids=True)
    assert [row.row_number for row in result.skipped] == [5, 6_000]
    assert result.rows == 8_998
    assert result.ids is not None
    assert [number for number, pk in enumerate(result.ids) if pk is None] == [5, 6_000]


def test_it_prepares_little_again_for_each_bad_row(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    plain = ChunkLoop._tried

    def counted(self: Any, rows: Any, first_row: int, writer: Any) -> Any:
        tried.append(len(rows))
        return plain(self, rows, first_row, writer)

    monkeypatch.setattr(ChunkLoop, "_tried", counted)
    bad = ({"name": "x" * 21, "country_id": "PE"} for _ in range(600))
    assert len(bulk_insert(City, bad, chunk_rows=600, on_error="report").skipped) == 600
    assert sum(tried) < 600 * 20
