from __future__ import annotations

from typing import Any

import pytest
from django.core.paginator import EmptyPage, PageNotAnInteger
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from perfkit.admin import paginators
from perfkit.admin.page_numbers import Asked
from perfkit.admin.paginators import LargeTablePaginator, ReadAheadPaginator
from tests.admin.tomes import estimate_tomes, make_tomes
from tests.testapp.large import Tome

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def small(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paginators, "DEEP_ROWS", 10)
    estimate_tomes(-1)
    make_tomes(23)


def ordered() -> QuerySet[Any]:
    return Tome.objects.order_by("-added", "-pk").select_related("rack").prefetch_related("marginals")


def long_list() -> LargeTablePaginator:
    paginator = LargeTablePaginator(ordered(), 5)
    paginator.count_cap = 20
    return paginator


class TestShortLists:
    @pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
    def test_it_yields_the_same_rows_shallow_and_deep(self, number: int) -> None:
        page = LargeTablePaginator(ordered(), 5).page(number)
        assert list(page) == list(ordered()[(number - 1) * 5 : number * 5])
        assert (page.has_next(), page.has_previous()) == (number < 5, number > 1)

    def test_it_finds_the_keys_of_a_deep_page_without_joins(self) -> None:
        paginator = LargeTablePaginator(ordered(), 5)
        assert paginator.count == 23
        with CaptureQueriesContext(connection) as queries:
            rows = paginator.page(4).object_list
            assert isinstance(rows, QuerySet)
            assert len(rows) == 5
        keys, whole, _ = [query["sql"] for query in queries]
        assert "JOIN" not in keys
        assert "OFFSET" not in whole

    def test_it_counts_pages_from_the_end(self) -> None:
        paginator = LargeTablePaginator(ordered(), 5)
        assert list(paginator.asked(Asked(-1))) == list(ordered()[20:])
        with pytest.raises(EmptyPage):
            paginator.asked(Asked(-6))

    def test_it_refuses_a_page_beyond_the_last(self) -> None:
        with pytest.raises(EmptyPage):
            LargeTablePaginator(ordered(), 5).page(6)


class TestLongLists:
    def test_it_yields_pages_as_far_as_there_are_rows(self) -> None:
        for number in range(1, 6):
            page = long_list().page(number)
            assert list(page) == list(ordered()[(number - 1) * 5 : number * 5])
            assert (page.number, page.has_next(), page.has_previous()) == (number, number < 5, number > 1)
        with pytest.raises(EmptyPage):
            long_list().page(6)

    def test_it_has_links_to_what_is_there(self) -> None:
        paginator = long_list()
        assert [str(each) for each in paginator.get_elided_page_range(1)] == ["1", "2", "3", "4", "…", "last"]
        assert [str(each) for each in paginator.get_elided_page_range(5)] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("paginator", [LargeTablePaginator(ordered(), 5), ReadAheadPaginator(ordered(), 5)])
@pytest.mark.parametrize("wrong", ["x", None, 1.5])
def test_it_refuses_what_is_no_number(paginator: Any, wrong: Any) -> None:
    with pytest.raises(PageNotAnInteger):
        paginator.page(wrong)


class TestReadAhead:
    @pytest.mark.parametrize("number", [1, 4, 5])
    def test_it_knows_whether_there_is_another_page(self, number: int) -> None:
        with CaptureQueriesContext(connection) as queries:
            page = ReadAheadPaginator(Tome.objects.order_by("pk"), 5).page(number)
            assert (page.has_next(), page.has_other_pages()) == (number < 5, True)
        assert len(queries) == 1
        assert list(page) == list(Tome.objects.order_by("pk")[(number - 1) * 5 : number * 5])

    def test_it_has_a_first_page_of_no_rows(self) -> None:
        nothing = Tome.objects.none()
        assert list(ReadAheadPaginator(nothing, 5).page(1)) == []
        with pytest.raises(EmptyPage):
            ReadAheadPaginator(nothing, 5).page(2)
        with pytest.raises(EmptyPage):
            ReadAheadPaginator(nothing, 5, allow_empty_first_page=False).page(1)
