"""Every kind of loop of queries, how it is written without, and what the guard says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Avg, Exists, OuterRef, Prefetch, QuerySet
from django.template import Context, Template
from ninja import Schema

from perfkit.bulk import bulk_delete, bulk_insert, bulk_update, bulk_upsert
from perfkit.loading import Kind, RelatedAvg, RelatedCount, load_many
from tests.testapp.loading import Book, Label, Person, Profile, Publisher, Review

Rows = Callable[[QuerySet[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Loop:
    """One kind.

    Attributes:
        name: Of the test.
        naive: Sends one query for each row; takes what reads the rows of a queryset, returns what was read.
        fixed: Reads the same by few queries.
        kind: What the guard calls it.
        subject: The model or relation that the guard names.
        queries: What `fixed` takes at most, for any number of rows.
        fills_itself: The relation loads itself for all rows where rows do that.
    """

    name: str
    naive: Callable[[Rows], Any]
    fixed: Callable[[], Any]
    kind: Kind
    subject: str
    queries: int = 1
    fills_itself: bool = False


def books() -> QuerySet[Book]:
    return Book.objects.order_by("pk")


def people() -> QuerySet[Person]:
    return Person.objects.order_by("pk")


def count_of(person: Person) -> int:
    return person.reviews.count()


class PublisherOut(Schema):
    name: str


class BookOut(Schema):
    title: str
    publisher: PublisherOut


TEMPLATE = "{% for book in books %}\n{{ book.publisher.name }};\n{% endfor %}"


def template(rows: Iterable[Any]) -> str:
    return Template(TEMPLATE).render(Context({"books": rows}))


def schema(rows: Iterable[Any]) -> list[Any]:
    return [BookOut.from_orm(book).dict() for book in rows]


def targets(rows: Iterable[Any]) -> list[Any]:
    return [label.target.title for label in rows]


def keys() -> list[Any]:
    return list(Book.objects.order_by("pk").values_list("pk", flat=True))


def raw(key: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT title FROM testapp_book WHERE id = %s", [key])
        return cursor.fetchone()[0]


def raw_with_literals(key: int) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT title FROM testapp_book WHERE id = {int(key)}")  # the kind that is tried
        return cursor.fetchone()[0]


def raw_once() -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT title FROM testapp_book ORDER BY id")
        return [title for (title,) in cursor.fetchall()]


def retitled(row: Any, end: str) -> Any:
    row.title = row.title.rstrip("!?") + end
    return row


def refreshed(rows: list[Any]) -> list[str]:
    for row in rows:
        row.refresh_from_db()
    return [row.title for row in rows]


def saved(rows: Rows) -> list[str]:
    for row in rows(books()):
        retitled(row, "!").save()
    return titles()


def saved_at_once() -> list[str]:
    bulk_update(Book, [retitled(row, "!") for row in books()], fields=["title"])
    return titles()


def updated(rows: Rows) -> list[str]:
    for row in rows(books()):
        Book.objects.filter(pk=row.pk).update(title=retitled(row, "?").title)
    return titles()


def updated_at_once() -> list[str]:
    bulk_update(Book, [(row.pk, {"title": retitled(row, "?").title}) for row in books()])
    return titles()


def titles() -> list[str]:
    return list(books().values_list("title", flat=True))


NAMES = ["Ann", "Bea", "Cleo"]


def publishers() -> list[str]:
    return sorted(Publisher.objects.filter(name__in=NAMES).values_list("name", flat=True))


def created() -> list[str]:
    Publisher.objects.filter(name__in=NAMES).delete()
    for name in NAMES:
        Publisher.objects.create(name=name)
    return publishers()


def created_at_once() -> list[str]:
    bulk_delete(Publisher, Publisher.objects.filter(name__in=NAMES))
    bulk_insert(Publisher, [{"name": name} for name in NAMES])
    return publishers()


def got_or_created() -> list[str]:
    for name in NAMES:
        Publisher.objects.get_or_create(name=name)
    return publishers()


def upserted() -> list[str]:
    found = set(Publisher.objects.filter(name__in=NAMES).values_list("name", flat=True))
    bulk_insert(Publisher, [{"name": name} for name in NAMES if name not in found])
    return publishers()


def profiles() -> list[Any]:
    return list(Profile.objects.order_by("person_id").values_list("person_id", "city"))


def updated_or_created() -> list[Any]:
    for key in people().values_list("pk", flat=True):
        Profile.objects.update_or_create(person_id=key, defaults={"city": "Rome"})
    return profiles()


def upserted_profiles() -> list[Any]:
    rows = [{"person_id": key, "city": "Rome"} for key in people().values_list("pk", flat=True)]
    bulk_upsert(Profile, rows, conflict_columns=["person"])
    return profiles()


def deleted() -> list[Any]:
    for review in Review.objects.filter(stars=1):
        review.delete()
    return list(Review.objects.filter(stars=1))


def deleted_at_once() -> list[Any]:
    bulk_delete(Review, Review.objects.filter(stars=1))
    return list(Review.objects.filter(stars=1))


def first_labels(rows: Iterable[Any]) -> list[Any]:
    return [sorted(label.text for label in book.labels.all()) for book in rows]


def bypassed(rows: Rows) -> list[Any]:
    return [
        [each.stars for each in book.review_set.filter(stars__gte=3).order_by("pk")]
        for book in rows(books().prefetch_related("review_set"))
    ]


def from_prefetched() -> list[Any]:
    good = Prefetch("review_set", Review.objects.filter(stars__gte=3).order_by("pk"), to_attr="good")
    return [[each.stars for each in book.good] for book in books().prefetch_related(good)]  # type: ignore[attr-defined]


def stars_of(key: Any) -> list[int]:
    return sorted(Review.objects.filter(book_id=key).values_list("stars", flat=True))


def stars_by_book() -> list[list[int]]:
    by_book: dict[Any, list[int]] = {key: [] for key in keys()}
    for review in Review.objects.filter(book__in=list(by_book)).order_by("stars"):
        by_book[review.book_id].append(review.stars)
    return list(by_book.values())


LOOPS = [
    Loop(
        "forward foreign key",
        lambda rows: [book.publisher.name for book in rows(books())],
        lambda: [book.publisher.name for book in books().select_related("publisher")],
        Kind.FORWARD,
        "testapp.Book.publisher",
        fills_itself=True,
    ),
    Loop(
        "forward foreign key, nullable",
        lambda rows: [person.mentor and person.mentor.name for person in rows(people())],
        lambda: [person.mentor and person.mentor.name for person in people().select_related("mentor")],
        Kind.FORWARD,
        "testapp.Person.mentor",
        fills_itself=True,
    ),
    Loop(
        "forward one-to-one",
        lambda rows: [each.person.name for each in rows(Profile.objects.order_by("pk"))],
        lambda: [each.person.name for each in Profile.objects.order_by("pk").select_related("person")],
        Kind.FORWARD,
        "testapp.Profile.person",
        fills_itself=True,
    ),
    Loop(
        "reverse one-to-one",
        lambda rows: [person.profile.city for person in rows(people())],
        lambda: [person.profile.city for person in people().select_related("its_profile")],
        Kind.REVERSE_ONE_TO_ONE,
        "testapp.Person.profile",
        fills_itself=True,
    ),
    Loop(
        "chained",
        lambda rows: [each.book.publisher.name for each in rows(Review.objects.order_by("pk"))],
        lambda: [
            each.book.publisher.name
            for each in Review.objects.order_by("pk").select_related("book__publisher")
        ],
        Kind.FORWARD,
        "testapp.Review.book",
        fills_itself=True,
    ),
    Loop(
        "through a template",
        lambda rows: template(rows(books())),
        lambda: template(books().select_related("publisher")),
        Kind.FORWARD,
        "testapp.Book.publisher",
        fills_itself=True,
    ),
    Loop(
        "through a ninja schema",
        lambda rows: schema(rows(books())),
        lambda: schema(books().select_related("publisher")),
        Kind.FORWARD,
        "testapp.Book.publisher",
        fills_itself=True,
    ),
    Loop(
        "generic foreign key",
        lambda rows: targets(rows(Label.objects.order_by("pk"))),
        lambda: targets(Label.objects.order_by("pk").prefetch_related("target")),
        Kind.GENERIC,
        "testapp.Label.target",
        queries=2,
        fills_itself=True,
    ),
    Loop(
        "deferred field",
        lambda rows: [book.title for book in rows(books().defer("title"))],
        lambda: [book.title for book in books()],
        Kind.DEFERRED,
        "testapp.Book.title",
        fills_itself=True,
    ),
    Loop(
        "reverse foreign key, all()",
        lambda rows: [sorted(each.stars for each in book.review_set.all()) for book in rows(books())],
        lambda: [
            sorted(each.stars for each in book.review_set.all())
            for book in books().prefetch_related("review_set")
        ],
        Kind.RELATED_ROWS,
        "testapp.Book.review_set",
        queries=2,
        fills_itself=True,
    ),
    Loop(
        "many-to-many, all()",
        lambda rows: [sorted(each.name for each in book.authors.all()) for book in rows(books())],
        lambda: [
            sorted(each.name for each in book.authors.all()) for book in books().prefetch_related("authors")
        ],
        Kind.RELATED_ROWS,
        "testapp.Book.authors",
        queries=2,
        fills_itself=True,
    ),
    Loop(
        "many-to-many from the other side, all()",
        lambda rows: [sorted(each.title for each in person.books.all()) for person in rows(people())],
        lambda: [
            sorted(each.title for each in person.books.all()) for person in people().prefetch_related("books")
        ],
        Kind.RELATED_ROWS,
        "testapp.Person.books",
        queries=2,
        fills_itself=True,
    ),
    Loop(
        "generic relation, all()",
        lambda rows: first_labels(rows(books())),
        lambda: first_labels(books().prefetch_related("labels")),
        Kind.RELATED_ROWS,
        "testapp.Book.labels",
        queries=2,
        fills_itself=True,
    ),
    Loop(
        "first() of a relation",
        lambda rows: [book.review_set.order_by("stars").first().stars for book in rows(books())],
        lambda: [
            book.least[0].stars
            for book in books().prefetch_related(
                Prefetch("review_set", Review.objects.order_by("stars", "pk")[:1], to_attr="least")
            )
        ],
        Kind.RELATED_FIRST,
        "testapp.Book.review_set",
        queries=2,
    ),
    Loop(
        "filter() of a relation",
        lambda rows: [
            [each.stars for each in book.review_set.filter(stars__gte=3).order_by("pk")]
            for book in rows(books())
        ],
        from_prefetched,
        Kind.RELATED_PART,
        "testapp.Book.review_set",
        queries=2,
    ),
    Loop(
        "filter() that bypasses a prefetch",
        bypassed,
        from_prefetched,
        Kind.RELATED_PART,
        "testapp.Book.review_set",
        queries=2,
    ),
    Loop(
        "values() of a relation",
        lambda rows: [
            sorted(each["stars"] for each in book.review_set.values("stars")) for book in rows(books())
        ],
        lambda: [
            sorted(each.stars for each in book.review_set.all())
            for book in books().prefetch_related("review_set")
        ],
        Kind.RELATED_VALUES,
        "testapp.Book.review_set",
        queries=2,
    ),
    Loop(
        "count() of a relation",
        lambda rows: [book.review_set.count() for book in rows(books())],
        lambda: list(books().annotate(n=RelatedCount("review_set")).values_list("n", flat=True)),
        Kind.RELATED_COUNT,
        "testapp.Book.review_set",
        fills_itself=True,
    ),
    Loop(
        "exists() of a relation",
        lambda rows: [book.review_set.exists() for book in rows(books())],
        lambda: list(
            books()
            .annotate(found=Exists(Review.objects.filter(book=OuterRef("pk"))))
            .values_list("found", flat=True)
        ),
        Kind.RELATED_EXISTS,
        "testapp.Book.review_set",
        fills_itself=True,
    ),
    Loop(
        "aggregate() of a relation",
        lambda rows: [
            round(book.review_set.aggregate(mean=Avg("stars"))["mean"], 6) for book in rows(books())
        ],
        lambda: [
            round(mean, 6)
            for mean in books()
            .annotate(mean=RelatedAvg("review_set", "stars"))
            .values_list("mean", flat=True)
        ],
        Kind.RELATED_AGGREGATE,
        "testapp.Book.review_set",
    ),
    Loop(
        "a function of the project that counts",
        lambda rows: [count_of(person) for person in rows(people())],
        lambda: list(people().annotate(n=RelatedCount("reviews")).values_list("n", flat=True)),
        Kind.RELATED_COUNT,
        "testapp.Person.reviews",
        fills_itself=True,
    ),
    Loop(
        "get() in a loop",
        lambda rows: [Book.objects.get(pk=key).title for key in keys()],
        lambda: [book.title for book in load_many(Book, keys()).rows if book],
        Kind.GET,
        "testapp.Book",
        queries=2,
    ),
    Loop(
        "get() by another field",
        lambda rows: [Book.objects.get(title=title).pk for title in titles()],
        keys,
        Kind.GET,
        "testapp.Book",
    ),
    Loop(
        "filter() in a loop",
        lambda rows: [stars_of(key) for key in keys()],
        stars_by_book,
        Kind.FILTER,
        "testapp.Review",
        queries=2,
    ),
    Loop(
        "first() in a loop",
        lambda rows: [Review.objects.filter(book=key).order_by("stars").first().stars for key in keys()],  # type: ignore[union-attr]
        lambda: [min(stars) for stars in stars_by_book()],
        Kind.FIRST,
        "testapp.Review",
        queries=2,
    ),
    Loop(
        "count() in a loop",
        lambda rows: [Review.objects.filter(book_id=key).count() for key in keys()],
        lambda: [Counter(Review.objects.values_list("book_id", flat=True))[key] for key in keys()],
        Kind.COUNT,
        "testapp.Review",
        queries=9,
    ),
    Loop(
        "exists() in a loop",
        lambda rows: [Review.objects.filter(book_id=key).exists() for key in keys()],
        lambda: [bool(stars) for stars in stars_by_book()],
        Kind.EXISTS,
        "testapp.Review",
        queries=2,
    ),
    Loop(
        "get_or_create() in a loop",
        lambda rows: got_or_created(),
        upserted,
        Kind.GET_OR_CREATE,
        "testapp.Publisher",
        queries=3,
    ),
    Loop(
        "update_or_create() in a loop",
        lambda rows: updated_or_created(),
        upserted_profiles,
        Kind.UPDATE_OR_CREATE,
        "testapp.Profile",
        queries=9,
    ),
    Loop("create() in a loop", lambda rows: created(), created_at_once, Kind.INSERT, "testapp.Publisher", 9),
    Loop(
        "raw SQL in a loop",
        lambda rows: [raw(key) for key in keys()],
        raw_once,
        Kind.RAW,
        "",
    ),
    Loop(
        "raw SQL with its values in the text",
        lambda rows: [raw_with_literals(key) for key in keys()],
        raw_once,
        Kind.RAW,
        "",
    ),
    Loop("save() in a loop", saved, saved_at_once, Kind.SAVE, "testapp.Book", queries=9),
    Loop("update() in a loop", updated, updated_at_once, Kind.UPDATE, "testapp.Book", queries=9),
    Loop("delete() in a loop", lambda rows: deleted(), deleted_at_once, Kind.DELETE, "testapp.Review", 9),
    Loop(
        "refresh_from_db() in a loop",
        lambda rows: refreshed(list(rows(books()))),
        titles,
        Kind.REFRESH,
        "testapp.Book",
    ),
    Loop(
        "foreign key inside iterator()",
        lambda rows: [book.publisher.name for book in rows(books()).iterator(chunk_size=100)],  # type: ignore[attr-defined]
        lambda: [book.publisher.name for book in books().select_related("publisher")],
        Kind.FORWARD,
        "testapp.Book.publisher",
        fills_itself=True,
    ),
]


def make_library(size: int = 4) -> None:
    """Make `size` books, two publishers, as many people, and three reviews and two labels of each book."""
    few = [Publisher.objects.create(name=name) for name in ("North", "South")]
    Person.objects.bulk_create([Person(name=f"person {number}") for number in range(size)])
    everyone = list(people())
    for number, person in enumerate(everyone[1:]):
        person.mentor = everyone[number // 2]
    Person.objects.bulk_update(everyone, ["mentor"])
    Profile.objects.bulk_create([Profile(person=person, city=f"city {person.pk}") for person in everyone])
    Book.objects.bulk_create(
        [
            Book(title=f"book {number}", publisher=few[number % 2], editor=everyone[0])
            for number in range(size)
        ]
    )
    library = list(books())
    content_type = ContentType.objects.get_for_model(Book)
    Label.objects.bulk_create(
        [
            Label(content_type=content_type, object_id=book.pk, text=text)
            for book in library
            for text in ("new", "old")
        ]
    )
    Review.objects.bulk_create(
        [
            Review(book=book, critic=everyone[(number + stars) % size], stars=stars)
            for number, book in enumerate(library)
            for stars in (1, 3, 5)
        ]
    )
    Book.authors.through.objects.bulk_create(
        [
            Book.authors.through(book_id=book.pk, person_id=everyone[place % size].pk)
            for number, book in enumerate(library)
            for place in range(number, number + min(size, 2))
        ]
    )
