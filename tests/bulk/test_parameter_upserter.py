"""Upserts into one SQLite file by several threads: they wait for each other, and lose nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from django.db import connections
from django.db.models import F

from perfkit.bulk import Excluded, bulk_upsert
from tests.testapp.bulk import Stock

ALIAS = "shared_file"
THREADS, TIMES, KEYS = 3, 8, 40


@pytest.fixture
def shared_file(tmp_path: Path, django_db_blocker: object) -> Iterator[str]:
    databases = connections.databases
    databases[ALIAS] = databases["default"] | {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "shared.sqlite3"),
        "OPTIONS": {"timeout": 30},
    }
    with django_db_blocker.unblock():
        try:
            with connections[ALIAS].schema_editor() as editor:
                editor.create_model(Stock)
            yield ALIAS
        finally:
            connections[ALIAS].close()
            del connections[ALIAS]
            del databases[ALIAS]


@pytest.mark.parametrize("return_rows", [False, True])
def test_threads_that_upsert_the_same_keys_wait_and_lose_nothing(shared_file: str, return_rows: bool) -> None:
    together = Barrier(THREADS)

    def add() -> int:
        created = 0
        try:
            for _ in range(TIMES):
                together.wait(30)
                created += bulk_upsert(
                    Stock,
                    ({"shop": "A", "sku": sku, "amount": 1} for sku in range(KEYS)),
                    conflict_columns=["shop", "sku"],
                    update_columns={"amount": F("amount") + Excluded("amount")},
                    return_rows=return_rows,
                    using=shared_file,
                ).created
        finally:
            connections[shared_file].close()
        return created

    with ThreadPoolExecutor(THREADS) as pool:
        created = [future.result() for future in [pool.submit(add) for _ in range(THREADS)]]
    assert sum(created) == KEYS
    assert set(Stock.objects.using(shared_file).values_list("amount")) == {(THREADS * TIMES,)}
