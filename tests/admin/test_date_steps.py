from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from perfkit.admin.date_steps import with_date_steps
from tests.admin.tomes import TOMES, make_tomes
from tests.testapp.large import Tome

pytestmark = pytest.mark.django_db


def days(rows: Any) -> list[date]:
    return [each.date() if isinstance(each, datetime) else each for each in rows]


def tomes(*moments: str) -> None:
    for moment in moments:
        make_tomes(1, added=datetime.fromisoformat(moment).replace(tzinfo=UTC))


@pytest.mark.parametrize("kind", ["year", "month", "day"])
def test_it_answers_as_django_where_no_step_is_empty(kind: str) -> None:
    tomes("2019-12-31 23:30", "2020-01-01 00:30", "2020-01-02", "2020-02-29", "2020-03-31")
    rows = Tome.objects.filter(added__lt="2020-01-03T00:00Z") if kind == "day" else Tome.objects.all()
    with CaptureQueriesContext(connection) as queries:
        found = days(with_date_steps(rows).datetimes("added", kind))
    assert found == days(rows.datetimes("added", kind))
    assert [query["sql"] for query in queries if "DISTINCT" in query["sql"]] == []


def test_it_names_empty_steps_too() -> None:
    tomes("2018-05-05", "2021-01-01")
    assert [each.year for each in with_date_steps(Tome.objects.all()).datetimes("added", "year")] == [
        2018,
        2019,
        2020,
        2021,
    ]


def test_it_leaves_a_list_with_a_wrong_date_to_django() -> None:
    tomes("1001-01-01", "2021-01-01")
    assert [each.year for each in with_date_steps(Tome.objects.all()).datetimes("added", "year")] == [
        1001,
        2021,
    ]
    assert list(with_date_steps(Tome.objects.none()).datetimes("added", "year")) == []


@pytest.mark.parametrize("address", ["", "?added__year=2020", "?added__year=2020&added__month=1"])
def test_it_reads_no_rows_for_the_dates_of_a_large_list(
    admin_client: Client, admin_of: Any, address: str
) -> None:
    make_tomes(60)
    admin_of(Tome, date_hierarchy="added", count_cap=1_000)
    small = admin_client.get(TOMES + address)
    admin_of(Tome, count_cap=20)
    with CaptureQueriesContext(connection) as queries:
        large = admin_client.get(TOMES + address)
    assert not [query["sql"] for query in queries if "DISTINCT" in query["sql"]]
    assert dates(large) == dates(small)
    assert len(dates(large)) >= 2


def dates(page: Any) -> list[str]:
    return re.findall(r'href="(\?(?:added__\w+=\d+(?:&amp;)?)+)"', page.content.decode())
