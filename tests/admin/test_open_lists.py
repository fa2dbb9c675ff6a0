from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.models import Count, F, QuerySet
from django.db.models.functions import Lower
from django.test.utils import CaptureQueriesContext

from perfkit.admin import open_lists
from perfkit.admin.open_lists import OpenList
from perfkit.admin.page_numbers import Asked
from tests.admin.tomes import make_tomes
from tests.testapp.large import Tome

PER_PAGE = 4
ROWS = 43

ORDERS: dict[str, Any] = {
    "one direction": lambda: Tome.objects.order_by("-added", "-pk"),
    "mixed": lambda: Tome.objects.order_by("-added", "kind", "pk"),
    "with NULLs": lambda: Tome.objects.order_by("rank", "-pk"),
    "NULLs last": lambda: Tome.objects.order_by(F("rank").desc(nulls_last=True), "-pk"),
    "related": lambda: Tome.objects.order_by("rack__hall__name", "-code"),
    "annotated": lambda: Tome.objects.annotate(n=Count("marginals")).order_by("-n", "pk"),
    "expression": lambda: Tome.objects.order_by(Lower("title").desc(), "pk"),
    "reversed": lambda: Tome.objects.order_by("added", "pk").reverse(),
    "by relation": lambda: Tome.objects.order_by("rack", "pk"),  # has no places
}

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def tomes(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_lists, "SHALLOW_ROWS", 5)
    make_tomes(ROWS)


def keys(rows: QuerySet[Any]) -> list[int]:
    return [row.pk for row in rows]


@pytest.mark.parametrize("order", ORDERS)
class TestWalk:
    def test_it_finds_every_page_from_the_one_before(self, order: str) -> None:
        rows = ORDERS[order]()
        found, asked = [], Asked(1)
        while True:
            page = OpenList(rows, PER_PAGE).page(asked)
            assert page.number == 1 + len(found) // PER_PAGE
            found += page.keys
            if not page.ahead:
                break
            asked = OpenList(rows, PER_PAGE).neighbour(page, 1)
        assert found == keys(rows)

    def test_it_finds_every_page_from_the_one_after(self, order: str) -> None:
        rows = ORDERS[order]()
        page = OpenList(rows, PER_PAGE).page(Asked(11))
        found = page.keys
        while page.number > 1:
            page = OpenList(rows, PER_PAGE).page(OpenList(rows, PER_PAGE).neighbour(page, -1))
            found = page.keys + found
        assert found == keys(rows)

    def test_it_finds_every_page_from_the_end(self, order: str) -> None:
        rows = ORDERS[order]()
        page = OpenList(rows, PER_PAGE).page(Asked(-1))
        found = page.keys
        assert len(found) == PER_PAGE
        while page.behind:
            page = OpenList(rows, PER_PAGE).page(OpenList(rows, PER_PAGE).neighbour(page, -1))
            if page.number == 1:  # fewer rows than a page were left
                break
            found = page.keys + found
        assert found[-40:] == keys(rows)[-40:]

    @pytest.mark.parametrize("steps", [-3, -2, 2, 3])
    def test_it_finds_the_pages_that_links_lead_to(self, order: str, steps: int) -> None:
        rows = ORDERS[order]()
        pages = OpenList(rows, PER_PAGE)
        page = pages.page(pages.neighbour(pages.page(Asked(6)), steps))
        assert (page.number, page.keys) == (6 + steps, keys(rows)[(5 + steps) * 4 : (6 + steps) * 4])
        end = pages.page(pages.neighbour(pages.page(Asked(-6)), steps))
        whole = keys(rows)
        begin = ROWS - (6 - steps) * 4
        assert (end.number, end.keys) == (-6 + steps, whole[begin : begin + 4])

    def test_it_knows_which_pages_there_are(self, order: str) -> None:
        pages = OpenList(ORDERS[order](), PER_PAGE)
        for number in range(1, 12):
            page = pages.page(Asked(number))
            assert (page.behind, page.ahead) == (min(number - 1, 3), min(11 - number, 3))
            if page.ahead:
                following = pages.page(pages.neighbour(page, 1))
                assert (following.behind, following.ahead) == (min(number, 3), min(10 - number, 3))
                before = pages.page(pages.neighbour(following, -1))
                assert (before.behind, before.ahead) == (page.behind, page.ahead)


class TestPlaces:
    def pages(self) -> OpenList:
        return OpenList(ORDERS["one direction"](), PER_PAGE)

    def test_it_finds_a_deep_page_by_a_comparison(self) -> None:
        asked = self.pages().neighbour(self.pages().page(Asked(8)), 1)
        assert asked.cursor
        with CaptureQueriesContext(connection) as queries:
            self.pages().page(asked)
        (sent,) = [query["sql"] for query in queries]
        assert "OFFSET" not in sent
        assert "LIMIT 16" in sent
        assert '("testapp_tome"."added", "testapp_tome"."id") < ' in sent

    def test_it_names_shallow_pages_by_number(self) -> None:
        assert self.pages().neighbour(self.pages().page(Asked(2)), -1) == Asked(1)
        assert self.pages().neighbour(self.pages().page(Asked(-2)), 1) == Asked(-1)

    def test_it_keeps_its_place_where_rows_come_and_go(self) -> None:
        pages = self.pages()
        page = pages.page(Asked(8))
        ahead, back = pages.neighbour(page, 1), pages.neighbour(page, -1)
        following = pages.page(ahead).keys
        Tome.objects.filter(pk__in=page.keys).delete()
        make_tomes(2, added="2030-01-01T00:00:00Z")
        assert pages.page(ahead).keys == following
        assert pages.page(back).number == 7

    def test_it_shows_the_end_where_what_came_after_has_gone(self) -> None:
        pages = self.pages()
        ahead = pages.neighbour(pages.page(Asked(9)), 1)
        Tome.objects.filter(pk__in=keys(ORDERS["one direction"]())[36:]).delete()
        page = pages.page(ahead)
        assert (page.number, page.keys, page.ahead) == (-1, keys(ORDERS["one direction"]())[-4:], 0)

    def test_it_shows_the_beginning_where_what_came_before_has_gone(self) -> None:
        pages = self.pages()
        back = pages.neighbour(pages.page(Asked(5)), -1)
        Tome.objects.filter(pk__in=keys(ORDERS["one direction"]())[:14]).delete()
        page = pages.page(back)
        assert (page.number, page.keys) == (1, keys(ORDERS["one direction"]())[:4])

    @pytest.mark.parametrize("change", ["another order", "tampered"])
    def test_it_falls_back_on_the_number(self, change: str) -> None:
        asked = self.pages().neighbour(self.pages().page(Asked(8)), 1)
        assert asked.cursor
        rows = ORDERS["mixed" if change == "another order" else "one direction"]()
        cursor = asked.cursor if change == "another order" else "x" + asked.cursor
        page = OpenList(rows, PER_PAGE).page(asked._replace(cursor=cursor))
        assert (page.number, page.keys) == (9, keys(rows)[32:36])

    @pytest.mark.parametrize("number", [12, 2**40, 10**30])
    def test_it_has_no_rows_beyond_the_end(self, number: int) -> None:
        assert self.pages().page(Asked(number)).keys == []

    @pytest.mark.parametrize("number", [-12, -(2**40), -(10**30)])
    def test_it_shows_the_first_page_beyond_the_beginning(self, number: int) -> None:
        assert self.pages().page(Asked(number)).number == 1

    def test_it_shows_what_is_left_before_the_pages_from_the_end(self) -> None:
        page = self.pages().page(Asked(-11))
        assert (page.keys, page.behind) == (keys(ORDERS["one direction"]())[:3], 0)
