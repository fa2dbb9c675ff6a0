from __future__ import annotations

import pytest

from perfkit.loading import Kind
from perfkit.loading.guard.advice import ADVICE, advice
from perfkit.loading.guard.touches import Touch
from project.flights.models import Airline
from tests.testapp.loading import Book, Person, Profile, Review


@pytest.mark.parametrize("kind", Kind)
def test_there_is_one_for_every_kind(kind: Kind) -> None:
    text = advice(Touch(kind, Book, "review_set", Review, ("title",)))
    assert "{" not in text.replace("{…}", "")
    assert kind in ADVICE


@pytest.mark.parametrize(
    ("touch", "words"),
    [
        (Touch(Kind.FORWARD, Book, "publisher"), 'Book.objects.select_related("publisher")'),
        (Touch(Kind.REVERSE_ONE_TO_ONE, Person, "profile"), 'Person.objects.select_related("its_profile")'),
        (Touch(Kind.GET, Book, columns=("id",)), "load_many(Book, keys)"),
        (Touch(Kind.GET, Profile, columns=("person",)), 'in_bulk(values, field_name="person")'),
        (Touch(Kind.GET, Book, columns=("title",)), "Book.objects.filter(title__in=values)"),
        (Touch(Kind.EXISTS, Airline, columns=("name",)), 'values_list("name", flat=True)'),
        (Touch(Kind.UPDATE_OR_CREATE, Profile, columns=("person",)), 'conflict_columns=["person"]'),
        (Touch(Kind.UPDATE, Book), "bulk_update(Book, [(pk, {…}), …])"),
        (Touch(Kind.RELATED_PART, Book, "review_set", Review, is_prefetched=True), "loaded already"),
        (
            Touch(Kind.RELATED_COUNT, Book, "review_set", Review, is_filtered=True),
            'RelatedCount("review_set", filter=Q(…))',
        ),
        (
            Touch(Kind.RELATED_FIRST, Book, "review_set", Review, is_filtered=True),
            "Review.objects.filter(…).order_by(…)[:1]",
        ),
    ],
)
def test_it_has_the_names_filled_in(touch: Touch, words: str) -> None:
    assert words in advice(touch)
