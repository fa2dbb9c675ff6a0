"""What a page says of the number of rows is true, however they are counted."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.api import OpenPage, apaginate_open, paginate, paginate_open
from perfkit.api import counts as counts_room
from perfkit.api.counts import Count, checked_counting, counted
from perfkit.api.pagination import PagePagination
from perfkit.errors import PageError, UsageError
from tests.api.views import api
from tests.testapp.models import Item

ROWS = 25


@pytest.fixture
def groups(db: None) -> list[Group]:
    return Group.objects.bulk_create(Group(name=f"group {index:02}") for index in range(ROWS))


@pytest.fixture
def cap(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(counts_room, "COUNT_CAP", 10)
    return 10


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.sampled_from(["capped", "estimated", "none"]), st.integers(1, 12), st.integers(1, 30))
def test_it_never_says_what_is_not_so(groups: list[Group], cap: int, how: Any, page: int, size: int) -> None:
    queryset = Group.objects.order_by("name")
    answer = paginate_open(queryset, page, size, count=how)
    exact = paginate(queryset, page, size)
    assert [row.pk for row in answer.items] == [row.pk for row in exact.items]
    assert (answer.has_next, answer.has_prev) == (exact.has_next, exact.has_prev)
    assert answer.total in {None, ROWS}
    assert answer.total_at_least <= ROWS
    if answer.items:
        assert answer.total_at_least >= (page - 1) * size + len(answer.items)
    assert async_to_sync(apaginate_open)(queryset, page, size, count=how) == answer


@pytest.mark.parametrize(
    ("how", "found", "queries"),
    [
        ("exact", Count(ROWS, ROWS), 1),
        ("capped", Count(None, 11), 1),
        ("none", Count(None, 0), 0),
    ],
)
def test_it_counts_as_it_is_told(
    groups: list[Group], cap: int, how: Any, found: Count, queries: int, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(queries):
        assert counted(Group.objects.all(), how) == found


@pytest.mark.parametrize("how", ["capped", "estimated"])
def test_a_short_list_is_counted(groups: list[Group], how: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert counted(Group.objects.all(), how) == Count(ROWS, ROWS)


@pytest.mark.postgres
def test_a_long_one_is_estimated(groups: list[Group], cap: int, django_assert_num_queries: Any) -> None:
    connection.cursor().execute("ANALYZE auth_group")
    with django_assert_num_queries(2):
        assert counted(Group.objects.all(), "estimated") == Count(None, 11, ROWS)
    estimate = counted(Group.objects.filter(name__startswith="group"), "estimated").estimate
    assert estimate is not None
    assert estimate >= 11, "it is never less than what was counted"


@pytest.mark.redis
@pytest.mark.django_db(transaction=True)
def test_a_count_that_is_cached_follows_its_rows() -> None:
    Item.objects.bulk_create(Item(name=str(number)) for number in range(3))
    pages = Item.objects.order_by("id")
    for _ in range(2):
        assert paginate(pages, 1, 2, count="cached").total == 3
    with CaptureQueriesContext(connection) as queries:
        assert counted(pages, "cached").total == 3
    assert not [query for query in queries if "testapp_item" in query["sql"]]
    Item.objects.create(name="one more")
    assert paginate(pages, 1, 2, count="cached").total == 4


@pytest.mark.parametrize(("page", "size"), [(0, 20), (1, 0), (1, 101), (2**31, 20)])
def test_a_number_out_of_range_is_refused(
    page: int, size: int, db: None, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0), pytest.raises(PageError):
        paginate_open(Group.objects.all(), page, size)


def test_an_unknown_way_is_named() -> None:
    with pytest.raises(UsageError, match="Did you mean 'capped'"):
        checked_counting("caped")
    with pytest.raises(UsageError, match="no way to count"):
        PagePagination(count="guessed")  # type: ignore[arg-type]  # on purpose


@pytest.mark.urls("tests.api.views")
class TestPagination:
    @pytest.mark.parametrize("path", ["/api/capped-groups", "/api/async-capped-groups"])
    @pytest.mark.django_db(transaction=True)
    def test_it_answers_with_the_open_envelope(
        self, client: Client, groups: list[Group], cap: int, path: str
    ) -> None:
        answer = client.get(f"{path}?page=2&page_size=7").json()
        assert [item["id"] for item in answer.pop("items")] == [group.pk for group in groups[7:14]]
        assert answer == {
            "total": None,
            "total_at_least": 15,
            "estimated_total": None,
            "page": 2,
            "page_size": 7,
            "has_next": True,
            "has_prev": True,
        }

    def test_openapi_tells_of_it(self) -> None:
        schema: Any = api.get_openapi_schema()
        answer = schema["paths"]["/api/capped-groups"]["get"]["responses"][200]
        name = answer["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        properties = schema["components"]["schemas"][name]["properties"]
        assert properties.keys() == set(OpenPage.__dataclass_fields__)
