"""What the advisor proposes on SQLite, on copies in temporary files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite

from perfkit.indexing.advisor.advising import advise
from perfkit.indexing.advisor.findings import Confidence
from perfkit.indexing.advisor.selection import Budget
from perfkit.workload import QueryShape, Workload
from tests.indexing.advisor.shop import (
    BY_CUSTOMER,
    BY_EMAIL,
    FAILED,
    LATEST,
    LINES,
    NEEDS_NONE,
    shop_in,
    workload,
)
from tests.indexing.advisor.test_advising import told

RECORDED = workload(BY_CUSTOMER, LATEST, FAILED, BY_EMAIL, LINES, *NEEDS_NONE, alias="elsewhere")


@pytest.fixture(params=["file", "memory"])
def sqlite(request: pytest.FixtureRequest, transactional_db: None, tmp_path: Path) -> Iterator[Any]:
    """An SQLite of the test's own, whatever database the tests run on."""
    settings = {
        **connection.settings_dict,
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": tmp_path / "shop.sqlite3" if request.param == "file" else ":memory:",
        "OPTIONS": {},
    }
    database = SQLite(settings, alias="elsewhere")
    connections["elsewhere"] = database
    try:
        with shop_in(database, orders=8_000, lines=16_000):
            yield database
    finally:
        del connections["elsewhere"]
        database.connection.close()


def test_it_finds_what_is_missing(sqlite: Any) -> None:
    advice = advise(RECORDED)
    assert {each[:2] for each in told(advice)} >= {
        ("shop_order", "customer_id"),
        ("shop_order", "status"),
        ("shop_customer", "email"),
        ("shop_line", "order_id"),
    }
    assert "shop_kind" not in {each.table for each in advice.findings}
    assert {each.confidence for each in advice.findings} == {Confidence.BUILT}
    assert advice.skipped == ()
    (by_email,) = (each for each in advice.findings if each.table == "shop_customer")
    assert "SCAN shop_customer" in by_email.effects[0].plan_before
    assert "new index on shop_customer (email)" in by_email.effects[0].plan_after
    assert by_email.effects[0].ratio > 20


@pytest.mark.parametrize("sqlite", ["file"], indirect=True)
def test_it_says_the_same_twice(sqlite: Any) -> None:
    assert advise(RECORDED) == advise(RECORDED)


@pytest.mark.parametrize("sqlite", ["file"], indirect=True)
def test_the_live_file_stays_as_it_is_and_the_copy_goes(
    sqlite: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    before = Path(sqlite.settings_dict["NAME"]).read_bytes()
    assert advise(
        workload("UPDATE shop_order SET note = 'x' WHERE customer_id = 4", alias="elsewhere")
    ).findings
    assert Path(sqlite.settings_dict["NAME"]).read_bytes() == before
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("sqlite", ["file"], indirect=True)
def test_a_large_file_is_copied_in_part(sqlite: Any) -> None:
    advice = advise(RECORDED, budget=Budget(copy_bytes=400_000))
    assert {each.confidence for each in advice.findings} == {Confidence.SAMPLED}
    assert ("shop_order", "customer_id") in {each[:2] for each in told(advice)}


@pytest.mark.parametrize("sqlite", ["file"], indirect=True)
def test_shapes_without_samples_get_values_from_the_copy(sqlite: Any) -> None:
    bare = QueryShape('SELECT * FROM "shop_order" WHERE "shop_order"."customer_id" = %s LIMIT 21', 5, 1.0)
    ranged = QueryShape("SELECT id FROM shop_customer WHERE made > ? ORDER BY made LIMIT ?", 5, 1.0)
    advice = advise(Workload("elsewhere", (bare, ranged)))
    assert advice.skipped == ()
    assert ("shop_order", "customer_id") in {each[:2] for each in told(advice)}


@pytest.mark.parametrize("sqlite", ["file"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM shop_line; SELECT 1", "DROP TABLE shop_line", "SELECT * FROM shop_lost", "ATTACH 'x' AS y"],
)
def test_it_skips_what_it_cannot_ask(sqlite: Any, statement: str) -> None:
    advice = advise(workload(statement, alias="elsewhere"))
    assert advice.findings == ()
    assert len(advice.skipped) == 1
    assert sqlite.connection.execute("SELECT count(*) FROM shop_line").fetchone() == (16_000,)
