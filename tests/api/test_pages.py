from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.db.models import Count, QuerySet
from hypothesis import given
from hypothesis import strategies as st

from perfkit.api import Page, apaginate, paginate
from perfkit.api.pages import MAX_PAGE, make_page
from perfkit.errors import PageError
from perfkit.paging.ordering import total_order


@pytest.fixture
def groups(db: None) -> list[Group]:
    return Group.objects.bulk_create(Group(name=f"group {index:02}") for index in range(45))


@given(total=st.integers(0, 1000), page_size=st.integers(1, 100))
def test_its_arithmetic_covers_each_item_once(total: int, page_size: int) -> None:
    items = list(range(total))
    seen: list[int] = []
    number = 1
    while True:
        page = paginate(items, number, page_size)
        assert page.total == total
        assert page.has_prev == (number > 1)
        seen += page.items
        if not page.has_next:
            break
        number += 1
    assert seen == items
    assert number == max(1, page.total_pages)


def test_it_answers_a_typed_page(groups: list[Group]) -> None:
    assert paginate(Group.objects.order_by("name"), 3) == Page(
        items=groups[40:], total=45, page=3, page_size=20, total_pages=3, has_next=False, has_prev=True
    )


def test_an_empty_list_has_no_page() -> None:
    assert make_page([], 0, 1, 20) == Page([], 0, 1, 20, 0, has_next=False, has_prev=False)


@pytest.mark.parametrize("page", [4, 10_000, MAX_PAGE])
def test_it_only_counts_past_the_end(groups: list[Group], page: int, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        answer = paginate(Group.objects.all(), page, 100)
    assert (answer.items, answer.total, answer.has_next, answer.has_prev) == ([], 45, False, True)


@pytest.mark.parametrize(
    ("page", "page_size", "field"),
    [
        (0, 20, "page"),
        (-1, 20, "page"),
        (10**21, 20, "page"),
        ("2", 20, "page"),
        (True, 20, "page"),
        (1.0, 20, "page"),
        (1, 0, "page_size"),
        (1, -1, "page_size"),
        (1, 101, "page_size"),
        (1, None, "page_size"),
    ],
)
def test_it_refuses_numbers_out_of_range_before_any_query(page: Any, page_size: Any, field: str) -> None:
    with pytest.raises(PageError) as raised:
        paginate(Group.objects.all(), page, page_size)
    assert raised.value.field == field
    assert field in str(raised.value)


@pytest.mark.django_db(transaction=True)
def test_its_async_twin_gives_the_same_answer() -> None:
    async_to_sync(compare_twins)()


async def compare_twins() -> None:
    await Group.objects.abulk_create(Group(name=f"group {index:02}") for index in range(45))
    for page in (1, 3, 4):
        answer = await apaginate(Group.objects.order_by("-name"), page)
        assert answer == await sync_to_async(paginate)(Group.objects.order_by("-name"), page)
        assert answer.total == 45
    with pytest.raises(PageError):
        await apaginate(Group.objects.all(), 0)
    assert (await apaginate([1, 2, 3], 2, 2)).items == [3]


@pytest.fixture
def many_groups(db: None) -> None:
    Group.objects.bulk_create(Group(name=f"group {(index * 7919) % 1300:04}") for index in range(1300))


DEEP = {
    "by its order": lambda: Group.objects.order_by("-name"),
    "without an order": Group.objects.all,
    "filtered": lambda: Group.objects.filter(name__gte="group 0050").order_by("name"),
    "distinct": lambda: Group.objects.distinct().order_by("name"),
    "annotated": lambda: Group.objects.annotate(Count("user")).order_by("name"),
    "as values": lambda: Group.objects.order_by("name").values_list("name", flat=True),
    "combined": lambda: Group.objects.filter(pk__gt=0).union(Group.objects.filter(pk__lt=0)).order_by("name"),
}


@pytest.mark.usefixtures("many_groups")
@pytest.mark.parametrize("rows", DEEP.values(), ids=DEEP)
def test_a_deep_page_is_the_slice_it_stands_for(rows: Callable[[], QuerySet[Any, Any]]) -> None:
    expected = list(total_order(rows()))[1220:1240]

    assert paginate(rows(), 62).items == expected
    assert len(expected) == 20


def test_a_deep_page_keeps_rows_that_a_join_repeats(many_groups: None, django_user_model: Any) -> None:
    groups = list(Group.objects.order_by("name"))
    for number in range(2):
        user = django_user_model.objects.create(username=f"user {number}")
        user.groups.set(groups)
    rows = Group.objects.filter(user__isnull=False).order_by("name")

    assert paginate(rows, 62).items == list(total_order(rows))[1220:1240]


@pytest.mark.usefixtures("many_groups")
def test_a_deep_page_reads_only_its_own_rows(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2) as captured:
        paginate(Group.objects.order_by("name"), 62)

    assert "IN (SELECT" in captured.captured_queries[1]["sql"]
