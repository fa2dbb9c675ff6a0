"""Presets load what they name, wherever they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, models
from django.db.models import Q
from django.test.utils import CaptureQueriesContext

from perfkit.errors import RelationPathError, UsageError
from perfkit.loading import Presets, RelatedCount, RelatedRows, plan_for, preset
from tests.loading.test_eager_loading import as_told, make_books
from tests.testapp.loading import Book, Review

pytestmark = pytest.mark.django_db


class BookQuerySet(models.QuerySet):
    with_people = preset("publisher", "editor__profile", "authors__mentor")
    with_all = preset(
        with_people,
        "review_set__critic",
        "labels",
        reviews=RelatedCount("review_set", filter=Q(stars__gte=1)),
    )


class BookManager(models.Manager):
    with_people = preset("publisher", BookQuerySet.with_people)


class BookPresets(Presets):
    model = Book
    top = preset(RelatedRows("review_set", order_by="-stars", limit=1, to_attr="top"))
    full = preset(top, BookQuerySet.with_all, "top__critic")


class Labelled(Presets):
    model = "testapp.Book"
    full = preset(BookPresets.full, "labels")


class MixedQuerySet(BookPresets, models.QuerySet):
    """Has its presets from a class of them."""


def on_manager(manager: models.Manager[Any]) -> models.Manager[Any]:
    manager.model = Book
    return manager


FORMS: dict[str, Callable[[], models.QuerySet[Any]]] = {
    "of a queryset": lambda: BookQuerySet(Book).order_by("pk").with_all(),
    "of its class": lambda: BookQuerySet.with_all(Book.objects.order_by("pk")),
    "of its manager": lambda: on_manager(BookQuerySet.as_manager()).with_all().order_by("pk"),
    "of a presets class": lambda: BookPresets.full(Book.objects.order_by("pk")),
    "of the default manager": lambda: BookPresets.full().order_by("pk"),
    "of a label": lambda: Labelled.full().order_by("pk"),
    "of a mixin": lambda: MixedQuerySet(Book).order_by("pk").full(),
    "of a mixin's manager": lambda: on_manager(MixedQuerySet.as_manager()).full().order_by("pk"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("count", [1, 20])
def test_it_loads_what_it_and_its_parts_name(form: Callable[[], models.QuerySet[Any]], count: int) -> None:
    make_books(count)
    with CaptureQueriesContext(connection) as captured:
        books = list(form())
        told = [(as_told(book), book.reviews) for book in books]
        top = [
            [(each.stars, each.critic.name) for each in book.top] for book in books if hasattr(book, "top")
        ]

    assert told == [
        (as_told(book), book.review_set.filter(stars__gte=1).count()) for book in Book.objects.order_by("pk")
    ]
    assert len(captured) == (5 if top else 4)
    for few, (book, _) in zip(top, told, strict=bool(top)):
        assert few == book["reviews"][-1:]


def test_it_is_a_method_of_a_manager() -> None:
    make_books(2)
    manager = on_manager(BookManager())

    with CaptureQueriesContext(connection) as captured:
        names = {
            (book.publisher.name, author.name)
            for book in manager.with_people()
            for author in book.authors.all()
        }

    assert len(names) == 4
    assert len(captured) == 2
    assert BookManager.with_people(manager).count() == 2


def test_its_plan_is_made_once_and_explains_itself() -> None:
    assert BookPresets.top.plan is BookPresets.top.plan
    assert BookPresets.top.explain() == BookPresets.top.plan.explain()
    assert "at most 1 for each row above" in BookPresets.top.explain()
    people = BookQuerySet.with_people.preset.plan_for(Book)
    assert people == plan_for(Book, ("publisher", "editor__profile", "authors__mentor"))


def test_it_makes_no_query_before_the_rows_are_wanted() -> None:
    with CaptureQueriesContext(connection) as captured:
        for form in FORMS.values():
            form()

    assert len(captured) == 0


def test_it_refuses_what_is_no_part() -> None:
    with pytest.raises(UsageError, match="not of 5"):
        preset("publisher", 5)
    with pytest.raises(RelationPathError, match="Did you mean 'critic'"):
        preset("critc").on(Review.objects.all())
    twice = preset(preset(n=RelatedCount("authors")), preset(n=RelatedCount("labels")))
    with pytest.raises(UsageError, match="calls two expressions 'n'"):
        twice.on(Book.objects.all())
    same = preset(preset(n=RelatedCount("authors")), preset(n=RelatedCount("authors")))
    assert list(same.on(Book.objects.all())) == []


def test_it_needs_a_model_to_be_called_without_a_queryset() -> None:
    class Nobody(Presets):
        full = preset("publisher")

    class Unknown(Nobody):
        model = "testapp.Bok"

    try:
        with pytest.raises(UsageError, match="has no model: write `model"):
            Nobody.full()
        with pytest.raises(UsageError, match="which is no model"):
            Unknown.full()
        assert list(Nobody.full(Book.objects.all())) == []
    finally:
        del Nobody.full  # the check of all presets would find it
