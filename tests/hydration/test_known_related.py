from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from perfkit.hydration import set_known_related
from tests.hydration.comparison import hydrated, portrait
from tests.testapp.loading import Book, Person, Publisher, Review

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("library")]


def reviews_of_the_pupil() -> QuerySet[Review]:
    return Person.objects.get(name="pupil").reviews.order_by("pk")


def known(queryset: QuerySet[Any]) -> list[Any]:
    objects = hydrated(queryset)
    set_known_related(objects, queryset)
    return objects


def test_it_gives_each_object_the_very_instance_of_the_manager() -> None:
    pupil = Person.objects.get(name="pupil")
    reviews = known(pupil.reviews.all())

    assert reviews
    assert all(review._state.fields_cache["critic"] is pupil for review in reviews)


@pytest.mark.parametrize(
    "read",
    [
        reviews_of_the_pupil,
        lambda: reviews_of_the_pupil().select_related("book", "critic"),
        lambda: reviews_of_the_pupil() | Review.objects.filter(critic__name="mentor"),
        lambda: reviews_of_the_pupil().defer("critic"),
        lambda: Publisher.objects.get(name="house 1").books.select_related("editor").order_by("pk"),
        lambda: Book.objects.order_by("pk"),
    ],
    ids=["related", "loaded already", "some unknown", "deferred", "with relations", "none known"],
)
def test_it_does_what_djangos_iterable_does(read: Any) -> None:
    with CaptureQueriesContext(connection) as ours_sent:
        ours = known(read())
    with CaptureQueriesContext(connection) as djangos_sent:
        djangos = list(read())

    assert len(ours_sent) == len(djangos_sent)
    assert portrait(ours) == portrait(djangos)
