"""Rows, lists and calls of a second database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching import Answer, WarmResult, cached
from perfkit.models import PendingInvalidation
from tests.caching.conftest import Outcome
from tests.caching.warming.conftest import outcomes
from tests.testapp.models import Airfield, Item

Warmed = Callable[..., WarmResult]


class ItemsElsewhere:
    """Routes items to the second database, and all else to the first."""

    def db_for_read(self, model: Any, **_: Any) -> str:
        return "other" if model is Item else "default"

    db_for_write = db_for_read


@pytest.fixture
def other(tmp_path: Path, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database beside the default one, with 25 items; an airfield is in the default one."""

    def opened(self: BaseDatabaseWrapper) -> None:
        """Open a connection; Django's own, as long as a test runs, knows no database that came later."""
        if self.connection is None:
            with self.wrap_database_errors:
                self.connect()

    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", opened)
    known = connections.databases
    known["other"] = known["default"] | {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "other"),
        "OPTIONS": {},
    }
    with connections["other"].schema_editor() as editor:
        for model in (Item, PendingInvalidation):
            editor.create_model(model)
    Item.plain.using("other").bulk_create(Item(name=f"item {number}", count=number) for number in range(25))
    Airfield.plain.using("default").create(code="JFK", name="Kennedy")
    yield "other"
    connections["other"].close()
    del connections["other"]
    del known["other"]


@cached(ttl=600)
def name_in(alias: str, pk: int) -> str:
    return Item.plain.using(alias).get(pk=pk).name


def wanted() -> Iterator[Any]:
    yield Item.plain.using("other")
    yield Answer(Item.objects.using("other").filter(count=3))
    yield Airfield.plain.all()
    yield from (partial(name_in, "other", pk) for pk in range(1, 26))


@pytest.mark.parametrize("jobs", [1, 3])
def test_it_warms_the_database_that_the_router_names(
    other: str, warmed: Warmed, settings: LazySettings, reads: list[Outcome], jobs: int
) -> None:
    settings.DATABASE_ROUTERS = [ItemsElsewhere()]
    result = warmed(wanted, jobs=jobs)
    assert (result.wanted, result.entries, result.error) == (25 + 1 + 1 + 25, 52, "")
    outcomes(reads)
    assert Item.objects.get(pk=1).name == "item 0"
    assert [item.name for item in Item.objects.filter(count=3)] == ["item 3"]
    assert Airfield.objects.get(pk="JFK").name == "Kennedy"
    assert name_in(other, 1) == "item 0"
    assert outcomes(reads) == ["hit"] * 4
    Item.plain.filter(pk=1).update(name="new")
    assert Item.objects.get(pk=1).name == name_in(other, 1) == "new"


def test_it_warms_nothing_of_a_replica(other: str, warmed: Warmed) -> None:
    result = warmed(lambda: Item.plain.using(other))
    assert (result.entries, result.error) == (0, "the cache cannot be filled: replica")
    result = warmed(wanted)
    assert (result.entries, result.errors) == (0, 1)
