"""The pages of an import take what fits together, once, and say what does not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from perfkit.admin.importer import Importer
from perfkit.admin.report import ImportReport
from perfkit.models import PendingImport
from tests.admin.conftest import TWO, Importing, errors, stored, text_of, told
from tests.testapp.admin import WareAdmin
from tests.testapp.imported import Titled, Ware

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "The submitted file is empty."),
        ("sku,name\n", "The file has no rows"),
        ("sku,sku\n1,2\n", "Two columns have the same name"),
        (f"{','.join(map(str, range(100_000)))}\n1\n", "more than 500 columns"),
        ("sku\ncaf\xe9\n".encode("latin-1"), "Line 2 is not UTF-8"),
    ],
)
def test_it_refuses_files(wares: Importing, content: str | bytes, problem: str) -> None:
    assert problem in text_of(wares.upload(content))
    assert not PendingImport.objects.exists()


def test_it_refuses_what_is_too_large(wares: Importing, settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "IMPORT_MAX_BYTES": 10}
    assert "larger than 10\xa0bytes" in wares.upload(TWO).content.decode()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"column_1": "sku"}, "Another column is the stock keeping unit already."),
        ({"column_2": ""}, "New rows need a column for: price."),
        ({"column_0": "", "column_1": "", "column_2": ""}, "Say of at least one column what it is."),
        ({"column_1": "secret"}, "Select a valid choice"),
        ({"way": "upsert:sku", "column_0": ""}, "That needs a column for: stock keeping unit."),
        ({"way": "update"}, "That needs a column for: ID."),
        ({"way": "drop"}, "Select a valid choice"),
    ],
)
def test_it_refuses_columns(wares: Importing, data: dict[str, str], problem: str) -> None:
    wares.upload(TWO)
    page = wares.check(**{"way": "insert", **data})
    assert problem in text_of(page)


def test_it_does_not_number_new_rows(wares: Importing) -> None:
    wares.upload("id,sku,name,price\n7,A,x,1\n")
    assert "leave out the column of ID" in text_of(wares.check(way="insert"))


def test_it_offers_no_file_and_nothing_hidden(wares: Importing) -> None:
    names = wares.client.get(f"{wares.base}import/").context["names"]
    assert names == ["id", "sku", "name", "kind", "price", "bin", "note", "count", "is_sold", "since"]


def test_it_writes_a_file_once(wares: Importing) -> None:
    wares.upload(TWO)
    page = wares.check(way="insert")
    wares.confirm(page)
    Ware.objects.all().delete()
    assert "upload it again" in told(wares.confirm(page))[0]
    assert stored() == []


def test_it_writes_what_was_checked_last(wares: Importing) -> None:
    wares.upload("sku,a,b,price\nA,x,y,1\n")
    first = wares.check(way="insert", column_1="name")
    wares.check(way="insert", column_2="name")
    assert "check again" in told(wares.confirm(first))[0]
    assert stored() == []


def test_it_forgets_a_file_after_a_day(wares: Importing) -> None:
    wares.upload(TWO)
    page = wares.check(way="insert")
    PendingImport.objects.update(created_at=timezone.now() - dt.timedelta(days=1, seconds=1))
    assert "upload it again" in told(wares.confirm(page))[0]
    wares.upload(TWO)
    assert PendingImport.objects.count() == 1


def test_it_says_that_a_file_is_gone_that_was_replaced_during_its_check(
    wares: Importing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(self: Importer) -> ImportReport:
        PendingImport.objects.all().delete()
        return plain(self)

    plain = Importer.check
    monkeypatch.setattr(Importer, "check", check)
    wares.upload(TWO)
    form = wares.client.get(wares.columns_url).context["form"]
    data = {name: field.initial for name, field in form.fields.items() if field.initial}
    assert "upload it again" in told(wares.client.post(wares.columns_url, data, follow=True))[0]


def test_it_leaves_columns_without_a_name_out(wares: Importing) -> None:
    wares.write("sku,,name,price,\nA,1,x,1,\n", way="insert")
    assert stored("sku", "name") == [("A", "x")]


def test_it_takes_a_column_for_the_field_that_another_is_named_after(wares: Importing) -> None:
    wares.write("name,label,sku,price\nwrong,right,A,1\n", way="insert", column_0="", column_1="name")
    assert stored("sku", "name") == [("A", "right")]


def test_it_keeps_what_the_model_fills(person: Callable[..., Client]) -> None:
    titled = Importing(person("titled"), "titled")
    titled.write("title,alias\nABC,\nDEF,  \n", way="insert")
    found = Titled.objects.order_by("pk").values_list("title", "slug", "alias")
    assert list(found) == [("ABC", "abc", None), ("DEF", "def", None)]
    pk = Titled.objects.get(title="ABC").pk
    titled.write(f"id,title\n{pk},XYZ\n", way="update")
    assert Titled.objects.get(pk=pk).slug == "xyz"


def test_it_has_no_file_of_an_impossible_name(wares: Importing) -> None:
    for answer in (
        wares.client.get(f"{wares.base}import/%00/", follow=True),
        wares.client.post(f"{wares.base}import/%00/confirm/", follow=True),
    ):
        assert "upload it again" in told(answer)[0]


def test_it_says_what_clean_import_row_gave_wrongly(
    wares: Importing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(self: Any, request: Any, row: dict[str, Any]) -> dict[str, Any]:
        return row | {"bin": None}

    monkeypatch.setattr(WareAdmin, "clean_import_row", add)
    wares.upload(TWO)
    problem = "clean_import_row() gave 'bin': name values by the fields' attname."
    assert errors(wares.check(way="insert")) == [(None, "", problem)]


def test_it_refuses_keys_that_become_equal(wares: Importing, monkeypatch: pytest.MonkeyPatch) -> None:
    def upper(self: Any, request: Any, row: dict[str, Any]) -> dict[str, Any]:
        return row | {"sku": row["sku"].upper()}

    monkeypatch.setattr(WareAdmin, "clean_import_row", upper)
    wares.upload("sku,name,price\na,x,1\nA,y,1\n")
    assert [line for line, *_ in errors(wares.check(way="upsert:sku"))] == [3]


def test_it_takes_a_line_as_csv_does(wares: Importing) -> None:
    wares.write("sku,name,no\x0bte\u2028,price\nA,x\u2028y,z,1\n", way="insert")
    assert stored("sku", "name") == [("A", "x\u2028y")]


def test_it_has_no_page_that_writes_without_a_check(wares: Importing) -> None:
    wares.upload(TWO)
    for answer in (
        wares.client.get(f"{wares.columns_url}confirm/", follow=True),
        wares.client.post(f"{wares.columns_url}confirm/", follow=True),
        wares.client.post(f"{wares.columns_url}confirm/", {"check": "None"}, follow=True),
    ):
        assert answer.status_code == 200
    assert stored() == []
