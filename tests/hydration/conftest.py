"""Rows of every kind that the tests of the room read."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import pytest
from django.db.models import QuerySet

from tests.hydration.readings import READS, in_order
from tests.testapp.bulk import Car, City, Computed, Country, Custom, Everything, Lonely, Vehicle
from tests.testapp.caching import Building, Item, Loud, Sample, Shelf, Signpost, Tower
from tests.testapp.hydration import Speaker, Speech, Square
from tests.testapp.loading import Book, Person, Profile, Publisher, Review

MOMENT = datetime.datetime(2013, 1, 1, 5, 15, 1, 999, tzinfo=datetime.UTC)


@pytest.fixture
def library(db: None) -> None:
    """Books with and without an editor, who has a mentor and a profile or not."""
    mentor = Person.objects.create(name="mentor")
    pupil = Person.objects.create(name="pupil", mentor=mentor)
    alone = Person.objects.create(name="alone")
    Profile.objects.create(person=mentor, city="Rome")
    for number, editor in enumerate([mentor, pupil, alone, None]):
        publisher = Publisher.objects.create(name=f"house {number}")
        book = Book.objects.create(title=f"book {number}", publisher=publisher, editor=editor)
        book.authors.set([mentor, pupil][: number % 3])
        for stars in range(number):
            Review.objects.create(book=book, critic=pupil if stars % 2 else mentor, stars=stars)


@pytest.fixture
def oddities(db: None) -> None:
    """A row or two of each model that is special in some way, one of them full of NULL."""
    country = Country.objects.create(code="IT", name="Italy")
    City.objects.create(name="Rome", country=country, population=3)
    Everything.objects.create()
    Everything.objects.create(
        small=1, whole=2, big=2**40, positive=3, rank=2, size="s", short="é", slug="a-b", text="long",
        flag=True, real=0.1, money=decimal.Decimal("12.50"), day=MOMENT.date(), clock=MOMENT.time(),
        moment=MOMENT, span=datetime.timedelta(days=1, microseconds=7), key=uuid.UUID(int=5),
        document={"a": [1, None, {"b": "c"}]}, encoded=[1.5], blob=b"\x00\xff", address="::1", country=country,
    )  # fmt: skip
    Sample.objects.create(path="a/b.txt", flag=False, item=Item.objects.create(name="item"))
    Sample.objects.create()
    Custom.objects.create(name="custom", price=1.25)
    Computed.objects.create(name="computed")
    Lonely.objects.create()
    Vehicle.objects.create(wheels=2)
    Car.objects.create(wheels=4, doors=3)
    Building.objects.create(height=9)
    Tower.objects.create(height=90, bells=2)
    Signpost.objects.create(shelf=Shelf.objects.create(name="shelf"), text="this way")
    for column, row in [(1, 2), (1, 3)]:
        Square.objects.create(column=column, row=row, piece="rook")
    speaker = Speaker.objects.create(name="speaker")
    Speech.objects.create(text="quiet", speaker=speaker)
    Speech.objects.create(text="noisy", speaker=speaker, loud=Loud.objects.create(name="loud"))


@pytest.fixture(params=READS)
def queryset(request: pytest.FixtureRequest, library: None, oddities: None) -> QuerySet[Any]:
    read = READS[request.param]
    queryset = read() if request.param == "union" else in_order(read)
    assert list(queryset) or request.param == "nothing"
    return queryset
