"""What looks like a loop of queries and is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import DatabaseError, connection, transaction
from django.db.models import Q, QuerySet
from django.test import Client, override_settings

from perfkit.bulk import bulk_insert, bulk_update
from perfkit.conf import configured
from perfkit.loading import allow_n_plus_one, watch_n_plus_one
from project.flights.models import Flight
from tests.loading.guard.loops import make_library
from tests.testapp.loading import Book, Person, Publisher, Review


@pytest.fixture
def library(db: None) -> None:
    make_library(6)


def title(key: Any) -> str:
    return Book.objects.get(pk=key).title


def keys() -> list[Any]:
    return list(Book.objects.order_by("pk").values_list("pk", flat=True))


def batches(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    found = iter(values)
    while batch := list(islice(found, size)):
        yield batch


def one_helper_from_two_places() -> None:
    first, second, *_ = keys()
    assert title(first) != title(second)


def one_helper_twice_on_one_line() -> None:
    first, second, *_ = keys()
    assert (title(first), title(second)) == ("book 0", "book 1")


def two_rows_by_two_lines() -> None:
    first, second, *_ = Book.objects.order_by("pk")
    assert first.publisher.name
    assert second.publisher.name


def pages_by_offset() -> None:
    for start in range(0, 6, 2):
        assert len(Book.objects.order_by("pk")[start : start + 2]) == 2


def pages_of_a_paginator() -> None:
    pages = Paginator(Book.objects.order_by("pk"), 2)
    assert [len(page.object_list) for page in pages] == [2, 2, 2]


def pages_by_key() -> None:
    last = 0
    while page := list(Book.objects.filter(pk__gt=last).order_by("pk")[:2]):
        last = page[-1].pk


def pages_by_two_keys() -> None:
    last: tuple[Any, Any] = ("", 0)
    while True:
        after = Q(title__gt=last[0]) | Q(title=last[0], pk__gt=last[1])
        page = list(Book.objects.filter(after).order_by("title", "pk")[:2])
        if not page:
            break
        last = (page[-1].title, page[-1].pk)


def batches_of_keys() -> None:
    for batch in batches(keys(), 2):
        assert len(Book.objects.filter(pk__in=batch)) == 2


def batches_of_raw_sql() -> None:
    with connection.cursor() as cursor:
        for batch in batches(keys(), 2):
            cursor.execute(f"SELECT title FROM testapp_book WHERE id IN ({', '.join(map(str, batch))})")


def batches_of_inserts() -> None:
    Publisher.objects.bulk_create([Publisher(name=str(number)) for number in range(6)], batch_size=2)
    bulk_insert(Publisher, [{"name": str(number)} for number in range(6)], chunk_rows=2)


def batches_of_updates() -> None:
    books = list(Book.objects.all())
    Book.objects.bulk_update(books, ["title"], batch_size=2)
    bulk_update(Book, books, fields=["title"], chunk_rows=2)


def a_prefetch_in_batches() -> None:
    for book in Book.objects.prefetch_related("review_set", "authors").iterator(chunk_size=2):
        assert len(book.review_set.all()) == 3


def a_retry() -> None:
    for attempt in range(3):
        try:
            with transaction.atomic():
                book = Book.objects.get(title="book 1")
                book.title = f"attempt {attempt}" if attempt < 2 else "book 1"
                book.save()
                if attempt < 2:
                    fail()
        except DatabaseError:
            continue


def fail() -> None:
    raise DatabaseError("deadlock")


def polling() -> None:
    book = Book.objects.first()
    assert book is not None
    for _ in range(3):
        book.refresh_from_db()
        assert book.publisher.name
        assert book.review_set.count() == 3


def one_row_read_again() -> None:
    for _ in range(3):
        assert Book.objects.filter(title="book 1").exists()


def a_form_with_two_choices_of_one_model() -> None:
    class Pair(forms.Form):
        first = forms.ModelChoiceField(Person.objects.all())
        second = forms.ModelChoiceField(Person.objects.all())

    first, second, *_ = Person.objects.order_by("pk")
    assert Pair({"first": first.pk, "second": second.pk}).is_valid()


def a_deletion_with_what_hangs_on_it() -> None:
    book = Book.objects.first()
    assert book is not None
    book.delete()


def requests_of_one_test() -> None:
    client = Client()
    for number in range(3):
        assert (
            client.get(
                f"/api/airports/{number}{number}{number}".replace("0", "A")
                .replace("1", "B")
                .replace("2", "C")
            ).status_code
            == 404
        )


def a_login_and_the_admin() -> None:
    user = User.objects.create_superuser("ann", password="secret")  # of a test
    user.user_permissions.set(Permission.objects.all()[:3])
    client = Client()
    client.force_login(user)
    assert client.get("/admin/").status_code == 200
    assert client.get("/admin/flights/airline/").status_code == 200


def tables_in_a_loop() -> None:
    tables: list[QuerySet[Any]] = [Book.objects.all(), Person.objects.all(), Review.objects.all()]
    for table in tables:
        assert table.filter(pk__gt=0).exists()


def savepoints() -> None:
    for _ in range(3):
        with transaction.atomic():
            pass


def an_allowed_block() -> None:
    with allow_n_plus_one():
        loop()


def an_allowed_relation() -> None:
    with allow_n_plus_one("testapp.Book.publisher"):
        loop()


def an_allowed_model() -> None:
    with allow_n_plus_one("testapp.Book"):
        loop()


def an_allowed_function() -> None:
    with allow_n_plus_one(f"{__name__}.loop"):
        loop()


def loop() -> None:
    for book in Book.objects.all():
        assert book.publisher.name


def a_prefetch_of_two_keys_to_one_model() -> None:
    for review in Review.objects.prefetch_related("critic", "book__editor").order_by("pk")[:1]:
        assert review.critic.name
        assert review.book.editor is not None


def a_prefetch_in_chunks_with_one_row_each() -> None:
    for book in Book.objects.prefetch_related("publisher").order_by("publisher", "pk").iterator(chunk_size=3):
        assert book.publisher.name


def a_validation_of_two_keys_to_one_model() -> None:
    with pytest.raises(ValidationError):
        Flight(origin_id="JFK", destination_id="LGA").clean_fields()


def a_form_with_two_multiple_choices_of_one_model() -> None:
    class Pair(forms.Form):
        first = forms.ModelMultipleChoiceField(Person.objects.all())
        second = forms.ModelMultipleChoiceField(Person.objects.all())

    first, second, *_ = Person.objects.order_by("pk")
    assert Pair({"first": [first.pk], "second": [second.pk]}).is_valid()


def ranges_of_keys() -> None:
    start, *_, end = keys()
    for first in range(start, end, 2):
        assert Book.objects.filter(pk__range=(first, first + 1)).exists()
        Book.objects.filter(pk__gte=first, pk__lt=first + 2).update(title="x")


PROBES = [
    a_prefetch_of_two_keys_to_one_model,
    a_prefetch_in_chunks_with_one_row_each,
    a_validation_of_two_keys_to_one_model,
    a_form_with_two_multiple_choices_of_one_model,
    ranges_of_keys,
    one_helper_from_two_places,
    one_helper_twice_on_one_line,
    two_rows_by_two_lines,
    pages_by_offset,
    pages_of_a_paginator,
    pages_by_key,
    pages_by_two_keys,
    batches_of_keys,
    batches_of_raw_sql,
    batches_of_inserts,
    batches_of_updates,
    a_prefetch_in_batches,
    a_retry,
    polling,
    one_row_read_again,
    a_form_with_two_choices_of_one_model,
    a_deletion_with_what_hangs_on_it,
    requests_of_one_test,
    a_login_and_the_admin,
    tables_in_a_loop,
    savepoints,
    an_allowed_block,
    an_allowed_relation,
    an_allowed_model,
    an_allowed_function,
]


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
def test_it_raises_no_alarm_for(probe: Callable[[], None], library: None) -> None:
    with watch_n_plus_one(mode="log") as watch:
        probe()
    assert watch is not None
    assert watch.findings == []


@pytest.mark.parametrize(
    "pattern", ["testapp.Book.publisher", "testapp.Book", "testapp.*", f"{__name__}.loop", "tests.loading.*"]
)
def test_the_setting_allows(pattern: str, library: None) -> None:
    with (
        override_settings(PERFKIT={**configured(), "N_PLUS_ONE_ALLOW": [pattern]}),
        watch_n_plus_one(mode="log") as watch,
    ):
        loop()
    assert watch is not None
    assert watch.findings == []


def test_what_is_allowed_is_no_more_than_its_pattern(library: None) -> None:
    with watch_n_plus_one(mode="log") as watch, allow_n_plus_one("testapp.Review", "testapp.Book.editor"):
        loop()
    assert watch is not None
    assert len(watch.findings) == 1


def test_what_a_block_allows_is_allowed_in_it_alone(library: None) -> None:
    with watch_n_plus_one(mode="log") as watch:
        for names in (("*",), ("testapp.Review",)):
            with allow_n_plus_one(*names):
                loop()
    assert watch is not None
    assert [finding.queries for finding in watch.findings] == [6]
