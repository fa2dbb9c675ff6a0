"""Keyset pages, walked in both directions, are the plain order: whatever sorts it, and with ties and NULLs."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db.models import Avg, Count, F, FloatField, Func, Q, QuerySet
from django.db.models.functions import Coalesce, Length, Random
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.api import KeysetPage, akeyset, keyset
from perfkit.errors import CursorError, KeysetOrderError, PageError
from tests.testapp.models import Badge, City, Country, Everything, Member

MOMENT = dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC)
VALUES: dict[str, list[Any]] = {
    "whole": [None, 0, 1, -5],
    "text": [None, "", "a", "b c", "é"],
    "real": [None, 0.1, -1e300],
    "money": [None, Decimal("1.50"), Decimal("-2.00")],
    "moment": [None, MOMENT, MOMENT + dt.timedelta(microseconds=1)],
    "day": [None, dt.date(2013, 1, 1)],
    "span": [None, dt.timedelta(hours=1, microseconds=3)],
    "key": [None, uuid.UUID(int=5), uuid.UUID(int=6)],
    "flag": [None, True, False],
    "country_id": [None, "DE", "FR"],
}
TERMS: list[Any] = [
    *VALUES,
    "country__name",
    "id",
    "length",
    Coalesce("whole", 7),
]


@pytest.fixture
def rows(db: None) -> list[Everything]:
    """Rows in which each value stands many times, in no order."""
    Country.objects.bulk_create([Country(code="DE", name="Germany"), Country(code="FR", name="France")])
    return Everything.objects.bulk_create(
        Everything(
            **{
                name: values[(number * (place + 3) // (place + 1)) % len(values)]
                for place, (name, values) in enumerate(VALUES.items())
            }
        )
        for number in range(60)
    )


def forward(queryset: QuerySet[Any, Any], page_size: int) -> Iterator[KeysetPage[Any]]:
    page = keyset(queryset, None, page_size)
    yield page
    while page.next:
        page = keyset(queryset, page.next, page_size)
        yield page


def walked(queryset: QuerySet[Any, Any], page_size: int) -> list[int]:
    """Return the keys of all rows as the pages have them, and see that the way back has the same."""
    pages = list(forward(queryset, page_size))
    assert [page.has_next for page in pages] == [True] * (len(pages) - 1) + [False]
    assert [page.has_prev for page in pages] == [False] + [True] * (len(pages) - 1)
    assert all(len(page.items) == page_size for page in pages[:-1])
    back = [pages[-1]]
    while back[-1].previous:
        back.append(keyset(queryset, back[-1].previous, page_size))
    assert [[row.pk for row in page.items] for page in reversed(back)] == [
        [row.pk for row in page.items] for page in pages
    ]
    return [row.pk for page in pages for row in page.items]


terms = st.lists(
    st.tuples(st.sampled_from(TERMS), st.booleans(), st.sampled_from([None, "first", "last"])),
    max_size=3,
    unique_by=lambda term: str(term[0]),
)


def ordering(term: tuple[Any, bool, str | None]) -> Any:
    what, descending, nulls = term
    expression = F(what) if isinstance(what, str) else what
    kwargs = {f"nulls_{nulls}": True} if nulls else {}
    return expression.desc(**kwargs) if descending else expression.asc(**kwargs)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(terms, st.integers(1, 25), st.booleans())
def test_pages_are_the_plain_order(
    rows: list[Everything], terms: list[Any], page_size: int, is_reversed: bool
) -> None:
    queryset = Everything.objects.annotate(length=Length("text")).order_by(*map(ordering, terms), "id")
    if is_reversed:
        queryset = queryset.reverse()
    assert walked(queryset, page_size) == [row.pk for row in queryset]


@pytest.mark.parametrize(
    "query",
    [
        lambda: Everything.objects.filter(whole__isnull=False).order_by("-whole"),
        Everything.objects.order_by,
        lambda: Everything.objects.only("text").order_by("whole", "country__name"),
        lambda: Everything.objects.defer("whole").order_by("whole"),
        lambda: Everything.objects.select_related("country").order_by("country__name"),
        lambda: Everything.objects.alias(half=Coalesce("whole", 1)).order_by("-half"),
        lambda: Everything.objects.filter(Q(text="a") | Q(text=None)).distinct().order_by("real"),
        lambda: Country.objects.annotate(towns=Count("cities")).order_by("-towns"),
        lambda: City.objects.order_by("country__pk", "-population"),
        lambda: Badge.objects.order_by("owner__surname"),
    ],
)
def test_it_takes_any_query_of_instances(
    rows: list[Everything], query: Callable[[], QuerySet[Any, Any]]
) -> None:
    City.objects.bulk_create(City(name=f"c{n}", country_id="DE", population=n % 3) for n in range(7))
    members = Member.objects.bulk_create(Member(surname=f"m{n % 2}") for n in range(5))
    Badge.objects.bulk_create(Badge(number=None, owner=each) for each in members)
    found = walked(query(), 4)
    assert len(found) == len(set(found)) == query().count()
    names = query().query.order_by
    if names:
        assert found == [row.pk for row in query().order_by(*names, "pk" if names[-1][:1] != "-" else "-pk")]


class Single(Func):
    """A float of four bytes, such as the similarity of texts."""

    template = "(%(expressions)s)::real"
    output_field = FloatField()


@pytest.mark.parametrize("page_size", [1, 2, 7])
@pytest.mark.parametrize("sign", ["", "-"])
def test_averages_are_walked_to_the_end(rows: list[Everything], page_size: int, sign: str) -> None:
    """PostgreSQL's average of whole numbers has more digits than the float that a row tells."""
    countries = Country.objects.bulk_create(Country(code=f"{n}", name="c") for n in range(9))
    City.objects.bulk_create(
        City(name=f"c{n}", country=countries[n % 9], population=n * n % 7) for n in range(60)
    )
    queryset = Country.objects.annotate(mean=Avg("cities__population")).order_by(f"{sign}mean", "code")
    assert walked(queryset, page_size) == [row.pk for row in queryset]


@pytest.mark.postgres
@pytest.mark.parametrize("page_size", [1, 4])
def test_floats_of_four_bytes_are_walked_to_the_end(rows: list[Everything], page_size: int) -> None:
    tenths = F("id") % 10 * 0.1
    queryset = Everything.objects.annotate(tenth=Single(tenths)).order_by("-tenth", "id")
    assert walked(queryset, page_size) == [row.pk for row in queryset]
    unnamed = Everything.objects.order_by(Single(tenths), "id")
    assert walked(unnamed, page_size) == [row.pk for row in unnamed]


def test_rows_have_nothing_that_only_told_their_place(rows: list[Everything]) -> None:
    for row in keyset(Everything.objects.order_by("country__name", Coalesce("whole", 1))).items:
        assert not [name for name in vars(row) if name.startswith("perfkit")]


@pytest.mark.parametrize(
    ("order", "queries"),
    [
        (["id"], 1),
        (["-id"], 1),
        (["country_id", "id"], 2),
        (["-whole"], 2),
    ],
)
def test_it_asks_for_few_segments(
    rows: list[Everything], order: list[str], queries: int, django_assert_max_num_queries: Any
) -> None:
    first = keyset(Everything.objects.order_by(*order), None, 5)
    with django_assert_max_num_queries(queries + 1):
        keyset(Everything.objects.order_by(*order), first.next, 5)


def test_it_prefetches_once(rows: list[Everything], django_assert_num_queries: Any) -> None:
    queryset = Everything.objects.prefetch_related("country").order_by("id")
    with django_assert_num_queries(2):
        page = keyset(queryset, None, 10)
    with django_assert_num_queries(0):
        assert {str(row.country and row.country.name) for row in page.items} == {"None", "Germany", "France"}
    with django_assert_num_queries(2):
        keyset(queryset, page.next, 10)


def test_the_async_twin_says_the_same(rows: list[Everything]) -> None:
    queryset = Everything.objects.prefetch_related("country").order_by("-whole", "text")
    page = keyset(queryset, None, 7)
    assert async_to_sync(akeyset)(queryset, None, 7) == page
    assert async_to_sync(akeyset)(queryset, page.next, 7) == keyset(queryset, page.next, 7)


class TestWhileRowsComeAndGo:
    def test_the_row_of_the_cursor_may_be_deleted(self, rows: list[Everything]) -> None:
        queryset = Everything.objects.order_by("id")
        page = keyset(queryset, None, 10)
        expected = [row.pk for row in queryset[10:20]]
        page.items[-1].delete()
        assert [row.pk for row in keyset(queryset, page.next, 10).items] == expected

    def test_new_rows_repeat_none(self, rows: list[Everything]) -> None:
        queryset = Everything.objects.order_by("-id")
        page = keyset(queryset, None, 10)
        expected = [row.pk for row in queryset[10:20]]
        Everything.objects.create()
        assert [row.pk for row in keyset(queryset, page.next, 10).items] == expected

    def test_past_the_end_there_is_a_way_back(self, rows: list[Everything]) -> None:
        queryset = Everything.objects.order_by("id")
        page = keyset(queryset, None, 30)
        Everything.objects.filter(pk__gt=page.items[-1].pk).delete()
        end = keyset(queryset, page.next, 30)
        assert (end.items, end.has_next, end.has_prev) == ([], False, True)
        assert [row.pk for row in keyset(queryset, end.previous, 30).items] == [row.pk for row in page.items]

    def test_before_the_beginning_there_is_a_way_on(self, rows: list[Everything]) -> None:
        queryset = Everything.objects.order_by("id")
        page = keyset(queryset, keyset(queryset, None, 30).next, 30)
        Everything.objects.filter(pk__lt=page.items[0].pk).delete()
        begin = keyset(queryset, page.previous, 30)
        assert (begin.items, begin.has_next, begin.has_prev) == ([], True, False)
        assert [row.pk for row in keyset(queryset, begin.next, 30).items] == [row.pk for row in page.items]


class TestCursors:
    def cursor(self, scope: str = "") -> str:
        found = keyset(Everything.objects.order_by("whole", "id"), None, 5, scope=scope).next
        assert found is not None
        return found

    @pytest.mark.parametrize("order", [["-whole", "-id"], ["text", "id"], ["whole", "text", "id"]])
    def test_one_of_another_order_is_refused(self, rows: list[Everything], order: list[str]) -> None:
        with pytest.raises(CursorError, match="Ask for the first page without one"):
            keyset(Everything.objects.order_by(*order), self.cursor())

    def test_one_of_another_model_is_refused(self, rows: list[Everything]) -> None:
        cursor = keyset(Country.objects.order_by("pk"), None, 1).next
        with pytest.raises(CursorError):
            keyset(City.objects.order_by("pk"), cursor)

    def test_one_of_another_scope_is_refused(self, rows: list[Everything]) -> None:
        queryset = Everything.objects.order_by("whole", "id")
        assert keyset(queryset, self.cursor("airport=JFK"), scope="airport=JFK").items
        with pytest.raises(CursorError):
            keyset(queryset, self.cursor("airport=JFK"), scope="airport=LGA")

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_one_that_was_changed_is_refused(self, rows: list[Everything], data: st.DataObject) -> None:
        cursor = self.cursor()
        place = data.draw(st.integers(0, len(cursor) - 1))
        letter = data.draw(st.sampled_from("Aa0.-_ é\0"))
        changed = f"{cursor[:place]}{letter}{cursor[place + 1 :]}"
        if changed == cursor:
            return
        with pytest.raises(CursorError):
            keyset(Everything.objects.order_by("whole", "id"), changed)

    @pytest.mark.parametrize("cursor", ["", ".", "x", "a.b", "é", "A" * 10_000])
    def test_any_text_is_refused(self, rows: list[Everything], cursor: str) -> None:
        with pytest.raises(CursorError):
            keyset(Everything.objects.order_by("whole", "id"), cursor)

    def test_one_that_is_cut_off_is_refused(self, rows: list[Everything]) -> None:
        cursor = self.cursor()
        for end in range(len(cursor)):
            with pytest.raises(CursorError):
                keyset(Everything.objects.order_by("whole", "id"), cursor[:end])

    def test_it_holds_with_a_former_secret(self, rows: list[Everything], settings: Any) -> None:
        cursor = self.cursor()
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new one", [settings.SECRET_KEY]
        assert keyset(Everything.objects.order_by("whole", "id"), cursor).items
        settings.SECRET_KEY_FALLBACKS = []
        with pytest.raises(CursorError):
            keyset(Everything.objects.order_by("whole", "id"), cursor)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        (lambda: Everything.objects.order_by("?"), "random"),
        (lambda: Everything.objects.order_by(Random()), "random"),
        (lambda: Everything.objects.order_by("id")[:5], "slice"),
        (lambda: Everything.objects.values("id"), "values"),
        (lambda: Country.objects.order_by("cities__name"), "several values"),
        (lambda: City.objects.order_by("country"), "name a column of it"),
        (lambda: Everything.objects.order_by("document__a"), "no column"),
        (lambda: Country.objects.union(Country.objects.all()), "union"),
    ],
)
def test_an_order_without_places_is_refused(
    query: Callable[[], QuerySet[Any, Any]], problem: str, django_assert_num_queries: Any, db: None
) -> None:
    with django_assert_num_queries(0), pytest.raises(KeysetOrderError, match=problem):
        keyset(query())


def test_a_value_that_cannot_stand_in_a_cursor_is_named(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    Country.objects.bulk_create([Country(code="DE"), Country(code="FR")])
    monkeypatch.setattr("perfkit.api.keysets.pages.value_of", lambda row, key: 1j)
    with pytest.raises(KeysetOrderError, match="value of type complex"):
        keyset(Country.objects.order_by("name"), None, 1)


@pytest.mark.parametrize("page_size", [0, -1, 101, 1_000_000, True, "10"])
def test_a_size_out_of_range_is_refused(page_size: Any, django_assert_num_queries: Any, db: None) -> None:
    with django_assert_num_queries(0), pytest.raises(PageError, match="page_size"):
        keyset(Country.objects.order_by("pk"), None, page_size)
