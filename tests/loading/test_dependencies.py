from __future__ import annotations

import django
import pytest
from django.db import models
from django.db.models import Exists, OuterRef
from django.test.utils import isolate_apps

from perfkit.loading.dependencies import tables_behind, tables_of
from tests.testapp.loading import Book, Inn, Publisher, Remark, Review


def test_the_tables_of_parents_are_a_models_too() -> None:
    assert {"testapp_inn", "testapp_place"} <= set(tables_of(Inn, "default"))


def test_what_a_manager_joins_counts() -> None:
    assert {"testapp_remark", "testapp_person"} <= set(tables_of(Remark, "default"))
    assert "testapp_person" not in tables_of(Publisher, "default")


def test_what_a_subquery_reads_counts() -> None:
    reviewed = Book.objects.filter(Exists(Review.objects.filter(book=OuterRef("pk"))))
    assert set(tables_behind(reviewed)) >= {"testapp_book", "testapp_review"}


def test_a_query_without_rows_depends_on_its_own_table() -> None:
    assert tables_behind(Book.objects.none()) == ("testapp_book",)


@pytest.mark.skipif(django.VERSION < (6, 1), reason="the database cascades since then")
@isolate_apps("tests.testapp")
def test_what_the_database_deletes_with_others_depends_on_them() -> None:
    class Leaf(models.Model):
        book = models.ForeignKey(Book, models.DB_CASCADE, related_name="+")  # type: ignore[attr-defined]

        class Meta:
            app_label = "testapp"

    assert set(tables_behind(Leaf.objects.all())) == {"testapp_leaf", "testapp_book"}
