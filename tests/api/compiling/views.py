"""The same lists twice: compiled, and of instances.

Without annotations as text: ninja would look for their names in its own modules.
"""

import datetime
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

from django.db.models import Count, F, QuerySet, Value
from django.db.models.functions import Lower
from django.http import HttpRequest, HttpResponse
from django.urls import path
from ninja import Field, FilterLookup, FilterSchema, NinjaAPI, Query, Schema, Status
from ninja.pagination import paginate
from ninja.renderers import BaseRenderer
from ninja.responses import NinjaJSONEncoder
from ninja.security import django_auth
from pydantic import computed_field, field_validator

from perfkit.api import KeysetPagination, PagePagination, add_error_handlers, compiled, partial_response
from perfkit.loading import RelatedRows, needs
from tests.testapp.hydration import EveryKind
from tests.testapp.loading import Book, Guest, Person


class Tagged(BaseRenderer):
    """A project's own, which is given what ninja would give it."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> str:
        import json

        return json.dumps({"status": response_status, "data": data}, cls=NinjaJSONEncoder, sort_keys=True)


class KindOut(Schema):
    id: int
    big: int | None
    flag: bool | None
    short: str | None
    day: datetime.date | None
    moment: datetime.datetime | None
    money: Decimal | None
    span: datetime.timedelta | None
    email: str | None
    real: float | None
    address: str | None
    whole: int | None
    document: Any
    encoded: Any
    positive_big: int | None
    slug: str | None
    small: int | None
    text: str | None
    clock: datetime.time | None
    url: str | None
    key: uuid.UUID | None
    loud: str | None
    kind_id: str | None
    with_percent: str | None = Field(None, alias="text", serialization_alias='100 % "sure"')
    rounded: float | None = Field(None, alias="whole", serialization_alias="roundedNumber")
    bounded: Annotated[str, Field(max_length=5)] | None = Field(
        None, alias="short", serialization_alias="bounded"
    )


class KindFilters(FilterSchema):
    small: Annotated[int | None, FilterLookup("small")] = None
    above: Annotated[int | None, FilterLookup("small__gte")] = None
    flag: bool | None = None
    short: Annotated[str | None, FilterLookup("short__icontains")] = None
    day: Annotated[datetime.date | None, FilterLookup("day__lt")] = None
    has_text: Annotated[bool | None, FilterLookup("text__isnull")] = None
    among: Annotated[list[int] | None, FilterLookup("small__in")] = None
    either: Annotated[str | None, FilterLookup(["short", "slug"])] = None


class PersonOut(Schema):
    id: int
    name: str


class PupilOut(PersonOut):
    mentor: PersonOut | None


class ReviewOut(Schema):
    stars: int
    critic: PersonOut
    critic_name: str = Field(alias="critic.name")


class PublisherOut(Schema):
    name: str


class BookOut(Schema):
    id: int
    title: str
    publisher: PublisherOut
    publisher_name: str = Field(alias="publisher.name")
    editor: PupilOut | None
    authors: list[PupilOut]
    review_set: list[ReviewOut]


class TitleOut(Schema):
    title: str


class CountedBookOut(Schema):
    title: str
    stars: int | None
    shout: str
    same: str | None = None


class PlaceOut(Schema):
    code: str
    above_id: str | None


class InnOut(PlaceOut):
    stars: int


class GuestOut(Schema):
    name: str
    inn: InnOut
    home: PlaceOut


class ResolvedOut(Schema):
    title: str

    @staticmethod
    def resolve_title(book: Book) -> str:
        return book.title.upper()


class ComputedOut(Schema):
    title: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def loud(self) -> str:
        return self.title.upper()


class ValidatedOut(Schema):
    title: str

    @field_validator("title")
    @classmethod
    def shout(cls, title: str) -> str:
        return title.upper()


class PropertyOut(Schema):
    blurb: str


class TwiceOut(Schema):
    title: str
    again: int = Field(alias="pk", serialization_alias="title")


class KeysOut(Schema):
    authors: list[int]

    @staticmethod
    @needs("authors")
    def resolve_authors(book: Book) -> list[int]:
        return [author.pk for author in book.authors.all()]


class MissingEditorOut(Schema):
    editor: PersonOut = PersonOut(id=0, name="nobody")


class LatestOut(Schema):
    title: str
    best: Annotated[list[ReviewOut], RelatedRows("review_set", order_by=("-stars", "id"), limit=2)]


api = NinjaAPI(urls_namespace="tests-compiling")
tagged = NinjaAPI(urls_namespace="tests-compiling-tagged", renderer=Tagged())
for each in (api, tagged):
    add_error_handlers(each)

SORTS = {
    "pk": ("pk",),
    "small": ("small", "pk"),
    "-small": ("-small",),
    "nulls": (F("small").asc(nulls_first=True), F("short").desc(nulls_last=True)),
    "mixed": ("flag", "-day", "short"),
    "lower": (Lower("short").desc(nulls_last=True),),
    "related": ("kind__code", "-pk"),
}


Sort = Literal["pk", "small", "-small", "nulls", "mixed", "lower", "related"]


def kinds(filters: KindFilters, sort: str) -> QuerySet[EveryKind]:
    return filters.filter(QuerySet(EveryKind)).order_by(*SORTS[sort])


BOOKS: dict[str, tuple[type, Callable[[], QuerySet[Any]]]] = {
    "books": (BookOut, lambda: Book.objects.order_by("-title", "pk")),
    "filtered-books": (BookOut, lambda: Book.objects.filter(authors__name__gte="b").order_by("pk")),
    "counted-books": (
        CountedBookOut,
        lambda: Book.objects.annotate(stars=Count("review"), shout=Value("x"), same=F("title")).order_by(
            "stars", "pk"
        ),
    ),
    "guests": (GuestOut, lambda: Guest.objects.order_by("home__code", "pk")),
    "pupils": (PupilOut, lambda: Person.objects.exclude(mentor=None)),
    "resolved": (ResolvedOut, Book.objects.all),
    "computed": (ComputedOut, Book.objects.all),
    "validated": (ValidatedOut, Book.objects.all),
    "properties": (PropertyOut, Book.objects.all),
    "keys": (KeysOut, Book.objects.all),
    "latest": (LatestOut, Book.objects.all),
    "distinct": (TitleOut, Book.objects.distinct),
}


def list_of(made: Callable[[], QuerySet[Any]]) -> Callable[..., Any]:
    def listed(request: HttpRequest) -> Any:
        return made()

    return listed


def list_kinds(request: HttpRequest, filters: Query[KindFilters], sort: Sort = "pk") -> Any:
    return kinds(filters, sort)


async def list_kinds_async(request: HttpRequest, filters: Query[KindFilters], sort: Sort = "pk") -> Any:
    return kinds(filters, sort)


PAGINATIONS: dict[str, tuple[type, dict[str, Any]]] = {
    "keyset": (KeysetPagination, {}),
    "pages": (PagePagination, {}),
    "open": (PagePagination, {"count": "capped"}),
}


def mount(target: NinjaAPI) -> None:
    for name, (pagination, options) in PAGINATIONS.items():
        for end, is_compiled in (("", True), ("-plain", False)):
            paged = paginate(pagination, compiled=is_compiled, **options)
            target.get(f"kinds/{name}{end}", response=list[KindOut])(paged(list_kinds))
            target.get(f"async-kinds/{name}{end}", response=list[KindOut], by_alias=True)(
                paged(list_kinds_async)
            )
            target.get(f"twice/{name}{end}", response=list[TwiceOut], by_alias=True)(
                paged(list_of(Book.objects.all))
            )
            for stem, (schema, source) in BOOKS.items():
                target.get(f"{stem}/{name}{end}", response=list[schema])(paged(list_of(source)))  # type: ignore[valid-type]


mount(api)
mount(tagged)


@api.get("with-status", response={200: list[PersonOut]})
@paginate(PagePagination)
def with_status(request: HttpRequest) -> Any:
    return Status(200, Person.objects.order_by("pk"))


@api.get("with-response", response=list[PersonOut])
@paginate(PagePagination)
def with_response(request: HttpRequest, response: HttpResponse) -> Any:
    response["X-Own"] = "1"
    return Person.objects.all()


class LoudOut(Schema):
    title: str
    publisher: PublisherOut
    stars: list[int]

    @staticmethod
    @needs("title")
    def resolve_title(book: Book) -> str:
        return book.title.upper()

    @staticmethod
    @needs("review_set__stars")
    def resolve_stars(book: Book) -> list[int]:
        return sorted(review.stars for review in book.review_set.all())


class ComputedBookOut(BookOut):
    @computed_field  # type: ignore[prop-decorator]
    @property
    def loud(self) -> str:
        return self.title.upper()


def one_book(request: HttpRequest, pk: int) -> Any:
    return Book.objects.filter(pk=pk)


async def one_book_async(request: HttpRequest, pk: int) -> Any:
    return Book.objects.filter(pk=pk)


def all_books(request: HttpRequest) -> Any:
    return Book.objects.order_by("pk")


async def all_books_async(request: HttpRequest) -> Any:
    return Book.objects.order_by("pk")


def several(request: HttpRequest) -> Any:
    return Book.objects.all()


for each in (api, tagged):
    each.get("one/{pk}", response=BookOut)(compiled(one_book))
    each.get("async-one/{pk}", response=BookOut)(compiled(one_book_async))
    each.get("plain-one/{pk}", response=BookOut)(lambda request, pk: Book.objects.get(pk=pk))
    each.get("all", response=list[BookOut])(compiled(all_books))
    each.get("async-all", response=list[BookOut])(compiled(all_books_async))
    each.get("plain-all", response=list[BookOut])(all_books)
    each.get("resolved-one/{pk}", response=LoudOut)(compiled(one_book))
    each.get("async-resolved-one/{pk}", response=LoudOut)(compiled(one_book_async))
    each.get("several", response=BookOut)(compiled(several))
    each.get("resolved-several", response=LoudOut)(compiled(several))
    each.get("other", response=PersonOut)(compiled(lambda request: {"id": 7, "name": "no queryset"}))
    each.get("partial-one/{pk}", response=BookOut)(partial_response(compiled(one_book)))
    each.get("partial-resolved/{pk}", response=ComputedBookOut)(partial_response(compiled(one_book)))
    each.get("partial-books", response=list[BookOut])(partial_response(paginate(PagePagination)(all_books)))
    each.get("partial-all", response=list[BookOut])(partial_response(all_books))


@api.get("writes", response=PersonOut)
def writes(request: HttpRequest) -> Any:
    return Person.objects.create(name="written")


@api.get("who", auth=django_auth)
def who(request: HttpRequest) -> str:
    return str(request.user)


urlpatterns = [path("api/", api.urls), path("tagged/", tagged.urls)]
