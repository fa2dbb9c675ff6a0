from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from tests.hydration.comparison import fast, portrait
from tests.testapp.bulk import Country, Everything
from tests.testapp.loading import Book, Person, Publisher


@pytest.fixture
def databases(tmp_path: Path, django_db_blocker: Any) -> Iterator[list[str]]:
    """Two databases beside the default one, each with a book, and a row of every type."""
    known = connections.databases
    aliases = ["first_file", "second_file"]
    with django_db_blocker.unblock():
        for alias in aliases:
            known[alias] = known["default"] | {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(tmp_path / alias),
                "OPTIONS": {},
            }
            with connections[alias].schema_editor() as editor:
                for model in (Publisher, Person, Book, Country, Everything):
                    editor.create_model(model)
            house = Publisher.objects.using(alias).create(name=alias)
            Book.objects.using(alias).create(title=alias, publisher=house)
            moment = datetime.datetime(2013, 1, 1, tzinfo=datetime.UTC)
            Everything.objects.using(alias).create(moment=moment, flag=True, document={"in": alias})
        yield aliases
        for alias in aliases:
            connections[alias].close()
            del connections[alias]
            del known[alias]


def reads(alias: str) -> Iterator[QuerySet[Any]]:
    yield Book.objects.using(alias).select_related("publisher")
    yield Publisher.objects.using(alias).get().books.all()
    yield Publisher.objects.using(alias).prefetch_related("books")
    yield Everything.objects.using(alias)
    yield Everything.objects.using(alias).values("moment", "flag", "document")


def test_it_reads_from_the_database_it_is_told(databases: list[str]) -> None:
    for _ in range(3):
        for alias in databases:
            for queryset in reads(alias):
                assert portrait(list(fast(queryset))) == portrait(list(queryset.all()))
            [book] = fast(Book.objects.using(alias).select_related("publisher"))
            assert book.title == book.publisher.name == alias
            assert book._state.db == book.publisher._state.db == alias
