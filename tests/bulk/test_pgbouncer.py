"""Behind PgBouncer in transaction mode: sessions change hands between transactions, and none keeps anything."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, models, transaction

from perfkit.bulk import bulk_copy_out, bulk_delete, bulk_insert, bulk_update, bulk_upsert
from project.services.state import LOOPBACK
from tests.plugins.pgbouncer import SESSIONS
from tests.testapp.bulk import City, Country

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgres,
    pytest.mark.pgbouncer,
    pytest.mark.usefixtures("countries", "crowd"),
]

ROWS = 2500
CHUNK = 500


@pytest.fixture
def pooled(pgbouncer: int) -> Callable[[], psycopg.Connection[Any]]:
    """A function that opens a connection through the pool."""

    def pooled() -> psycopg.Connection[Any]:
        server = connection.settings_dict
        return psycopg.connect(
            host=LOOPBACK, port=pgbouncer, user=server["USER"], dbname=server["NAME"], prepare_threshold=None
        )

    return pooled


@pytest.fixture
def crowd(pooled: Callable[[], psycopg.Connection[Any]]) -> Iterator[None]:
    """Others who take the sessions in turn, between any two transactions of the test."""
    ended = threading.Event()

    def work() -> None:
        with pooled() as mine:
            while not ended.is_set():
                mine.execute("SELECT pg_sleep(0.001)")
                mine.commit()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield
    ended.set()
    for thread in threads:
        thread.join()


@pytest.fixture(autouse=True)
def _nothing_stays(crowd: None, pooled: Callable[[], psycopg.Connection[Any]]) -> Iterator[None]:
    yield
    connection.close()
    found = []
    others = [pooled() for _ in range(SESSIONS)]
    for other in others:  # each keeps its session until the end of its transaction
        (role,) = other.execute("SHOW session_replication_role").fetchone() or ()
        (tables,) = other.execute("SELECT count(*) FROM pg_class WHERE relpersistence = 't'").fetchone() or ()
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = %s::oid"
        database = "SELECT oid FROM pg_database WHERE datname = current_database()"
        (held,) = other.execute(locks, other.execute(database).fetchone()).fetchone() or ()
        found.append((role, tables, held))
    for other in others:
        other.close()
    assert found == [("origin", 0, 0)] * SESSIONS


def cities(rows: int = ROWS) -> Iterator[dict[str, Any]]:
    return ({"name": f"n{number}", "country_id": "PE", "population": number} for number in range(rows))


def total() -> tuple[int, int]:
    return tuple(City.objects.aggregate(rows=models.Count("pk"), sum=models.Sum("population")).values())  # type: ignore[return-value]


def test_it_inserts() -> None:
    result = bulk_insert(City, cities(), chunk_rows=CHUNK, return_ids=True)
    assert result.method == "copy"
    assert total() == (ROWS, sum(range(ROWS)))
    assert len(set(result.ids or ())) == ROWS


def test_it_skips_bad_rows_chunk_by_chunk() -> None:
    def rows() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(cities()):
            yield row | {"country_id": "??"} if number % 700 == 3 else row

    result = bulk_insert(City, rows(), chunk_rows=CHUNK, on_error="report")
    assert [each.row_number for each in result.skipped] == [3, 703, 1403, 2103]
    assert City.objects.count() == ROWS - 4


@pytest.mark.parametrize("on_error", ["raise", "report"])
def test_it_updates_and_upserts_by_staged_rows(on_error: Any) -> None:
    ids = bulk_insert(City, cities(), return_ids=True).ids
    assert ids is not None
    updated = bulk_update(City, ((pk, {"population": 1}) for pk in ids), chunk_rows=CHUNK, on_error=on_error)
    assert (updated.method, updated.updated) == ("staged", ROWS)
    assert total() == (ROWS, ROWS)
    result = bulk_upsert(
        City, cities(2 * ROWS), conflict_columns=["name", "country"], chunk_rows=CHUNK, on_error=on_error
    )
    assert (result.method, result.created, result.updated) == ("staged", ROWS, ROWS)
    assert total() == (2 * ROWS, sum(range(2 * ROWS)))


def test_it_works_within_a_transaction_of_the_caller() -> None:
    with transaction.atomic():
        Country.objects.create(code="BO")
        bulk_insert(City, (row | {"country_id": "BO"} for row in cities()), chunk_rows=CHUNK)
        bulk_upsert(City, cities(), conflict_columns=["name", "country"], chunk_rows=CHUNK)
    assert City.objects.filter(country="BO").count() == City.objects.filter(country="PE").count() == ROWS


def test_it_ignores_conflicts() -> None:
    bulk_insert(City, cities(ROWS // 2))
    result = bulk_insert(City, cities(), chunk_rows=CHUNK, ignore_conflicts=True)
    assert (result.rows, result.ignored) == (ROWS // 2, ROWS // 2)


def test_it_copies_out_and_deletes() -> None:
    bulk_insert(City, cities())
    file = io.BytesIO()
    assert bulk_copy_out(City.objects.order_by("pk"), file, fields=["name"]).rows == ROWS
    assert file.getvalue().count(b"\n") == ROWS + 1
    assert bulk_delete(City, City.objects.all(), chunk_rows=CHUNK).rows == ROWS
    assert total() == (0, None)


def test_it_leaves_nothing_of_a_call_that_fails() -> None:
    bulk_insert(City, cities(10))
    with pytest.raises(ValueError, match="enough"):
        bulk_upsert(City, failing(), conflict_columns=["name", "country"], chunk_rows=CHUNK)
    with pytest.raises(ValueError, match="enough"):
        bulk_insert(City, failing(), chunk_rows=CHUNK)
    assert total() == (10, sum(range(10)))


def failing() -> Iterator[dict[str, Any]]:
    yield from (row | {"population": 7} for row in cities())
    raise ValueError("enough")
