"""A preview shows what changes, to whom may see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.db import connection, models
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from perfkit.admin.importer import SHOWN_ROWS
from perfkit.admin.previews import (
    CHANGED,
    NEW,
    SHOWN_CHARACTERS,
    UNCHANGED,
    Cell,
    Former,
    around_difference,
    preview_rows,
    shown,
)
from tests.admin.conftest import TWO, Importing, text_of, told
from tests.testapp.imported import Bin, Kept, Owned, Ware

pytestmark = pytest.mark.django_db(transaction=True)


def states(page: Any) -> list[str]:
    return [row.state for row in page.context["rows"]]


def changes(page: Any) -> list[tuple[str, str]]:
    """Return the former and the new value of each cell that changes."""
    return [
        (cell.former, cell.value) for row in page.context["rows"] for cell in row.cells if cell.is_changed
    ]


class TestRows:
    """Pure."""

    def test_they_have_what_the_table_has_where_that_differs(self) -> None:
        rows = [{"sku": "A", "name": "x", "note": None}, {"sku": "B", "name": "y"}, {"sku": "C", "name": "z"}]
        former = {
            ("A",): Former({"name": "old", "note": "", "price": 1}),
            ("B",): Former({"name": "y"}),
        }
        assert preview_rows(rows, ["sku", "name", "note"], ["sku"], former, {}) == [
            (CHANGED, [Cell("A"), Cell("x", "old", is_changed=True), Cell("-", '""', is_changed=True)]),
            (UNCHANGED, [Cell("B"), Cell("y"), Cell("-")]),
            (NEW, [Cell("C"), Cell("z"), Cell("-")]),
        ]

    def test_one_with_a_hidden_value_does_not_say_that_it_is_the_same(self) -> None:
        (row,) = preview_rows([{"sku": "A", "name": "x"}], ["sku", "name"], ["sku"], {("A",): Former({})}, {})
        assert row == (CHANGED, [Cell("A"), Cell("x")])

    @given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
    def test_long_texts_are_cut_around_what_differs(self, start: str, one: str, other: str) -> None:
        cut = around_difference(start + one, start + other)
        assert max(map(len, cut)) <= SHOWN_CHARACTERS
        assert (cut[0] == cut[1]) == (one == other)

    @pytest.mark.parametrize(
        ("value", "text"), [(None, "-"), ("\udc80", "\\udc80"), (b"\x01", "01"), (memoryview(b"\x01"), "01")]
    )
    def test_any_value_can_be_shown(self, value: Any, text: str) -> None:
        assert shown(value) == text


def test_it_shows_the_old_value_beside_the_new_one(wares: Importing) -> None:
    Bin.objects.create(code="S1")
    Ware.objects.create(sku="A", name="old", price=1, bin_id="S1")
    Ware.objects.create(sku="B", name="Bohea", price=2)
    wares.upload("sku,name,price,bin\nA,Assam,1.00,\nB,Bohea,2,\nC,Congou,3,S1\n")
    page = wares.check(way="upsert:sku")
    assert states(page) == [CHANGED, UNCHANGED, NEW]
    assert changes(page) == [("old", "Assam"), ("S1", "-")]
    assert "<del>old</del> → <ins>Assam</ins>" in page.content.decode()
    assert "changed A old → Assam 1.00 S1 → -" in text_of(page)
    assert "as it is B Bohea 2 -" in text_of(page)


def test_it_shows_what_rows_found_by_their_number_were(wares: Importing) -> None:
    pk = Ware.objects.create(sku="A", name="old", price=1).pk
    wares.upload(f"id,name\n{pk},new\n")
    assert changes(wares.check(way="update")) == [("old", "new")]


def test_it_shows_new_rows_without_more(wares: Importing) -> None:
    wares.upload(TWO)
    page = wares.check(way="insert")
    assert not page.context["has_states"]
    assert "<del>" not in page.content.decode()


def test_it_escapes_what_the_table_has(wares: Importing) -> None:
    Ware.objects.create(sku="A", name="<script>alert(1)", price=1)
    wares.upload(TWO)
    said = wares.check(way="upsert:sku").content.decode()
    assert "&lt;script&gt;alert(1)" in said
    assert "<script>alert" not in said


def test_it_shows_what_changes_in_a_long_text(wares: Importing) -> None:
    Ware.objects.create(sku="A", name="x", price=1, note="a" * 500 + "old")
    wares.upload("sku,name,price,note\nA,x,1," + "a" * 500 + "new\n")
    assert changes(wares.check(way="upsert:sku")) == [(f"…{'a' * 20}old", f"…{'a' * 20}new")]


def test_it_shows_no_row_that_the_database_refuses(wares: Importing) -> None:
    wares.upload("sku,name,price,count\nA,x,1,1000\nB,y,1,1\n")
    page = wares.check(way="upsert:sku", skips_bad_rows="on")
    assert [row.cells[0].value for row in page.context["rows"]] == ["B"]


def test_it_reads_the_first_rows_in_as_many_queries_as_one(wares: Importing) -> None:
    def queries(rows: int) -> int:
        Ware.objects.all().delete()
        Ware.objects.bulk_create(Ware(sku=str(n), name="old", price=1) for n in range(rows))
        wares.upload("sku,name,price\n" + "".join(f"{n},new,1\n" for n in range(rows)))
        with CaptureQueriesContext(connection) as captured:
            page = wares.check(way="upsert:sku")
        assert changes(page) == [("old", "new")] * min(rows, SHOWN_ROWS)
        return len(captured)

    queries(1)  # what Django remembers of models, it asks once
    assert queries(50) == queries(1)


def test_it_shows_anew_what_changed_after_the_check(wares: Importing) -> None:
    wares.upload(TWO)
    page = wares.check(way="upsert:sku")
    Ware.objects.create(sku="B", name="theirs", price=1)
    again = wares.confirm(page)
    assert "has changed since the check" in told(again)[0]
    assert states(again) == [NEW, CHANGED]
    assert changes(again) == [("theirs", "Bohea"), ("1.00", "2")]


def masked(self: Any, field: Any, request: HttpRequest, **kwargs: Any) -> Any:
    formfield = admin.ModelAdmin.formfield_for_dbfield(self, field, request, **kwargs)
    if field.name == "note" and formfield is not None:
        formfield.widget = forms.PasswordInput()
    return formfield


def never(self: Any, request: HttpRequest, obj: Any = None) -> bool:
    return False


def not_of_a(self: Any, request: HttpRequest, obj: Any = None) -> bool:
    return obj is None or obj.sku != "A"


def without_note(self: Any, request: HttpRequest, obj: Any = None) -> list[str]:
    return ["sku", "name", "price", *([] if obj else ["note"])]


def none_of_them(self: Any, request: HttpRequest) -> Any:
    return Ware.objects.none()


@pytest.mark.parametrize(
    "members",
    [
        {"exclude": ("note",)},
        {"readonly_fields": ("note",)},
        {"fields": ("sku", "name", "price")},
        {"get_fields": without_note},
        {"formfield_for_dbfield": masked},
        {"has_view_permission": never},
        {"has_view_permission": not_of_a},
        {"has_change_permission": not_of_a},
        {"get_queryset": none_of_them},
    ],
)
def test_it_tells_no_value_that_somebody_may_not_see(
    wares: Importing, admin_of: Callable[..., None], members: dict[str, Any]
) -> None:
    admin_of(Ware, import_fields=("sku", "name", "price", "note"), import_keys=[("sku",)], **members)
    Ware.objects.create(sku="A", name="x", price=1, note="classified")
    wares.upload("sku,name,price,note\nA,x,1,guess\n")
    page = wares.check(way="upsert:sku")
    assert page.context["report"].counts == [0, 1, 0, 0]
    assert states(page) == [CHANGED]
    assert changes(page) == []
    assert "guess" in text_of(page)
    assert "classified" not in page.content.decode()


def test_it_tells_nothing_of_a_row_that_is_hidden(
    person: Callable[..., Client], admin_of: Callable[..., None]
) -> None:
    admin_of(Owned, import_fields=("title", "owner"), import_keys=[("title",)])
    Owned.objects.create(owner="bob", title="theirs")
    page = Importing(person("owned"), "owned")
    page.upload("title,owner\ntheirs,eve\n")
    checked = page.check(way="upsert:title")
    assert (states(checked), changes(checked)) == ([CHANGED], [])
    assert "bob" not in text_of(checked)


def test_it_tells_nothing_of_a_row_that_the_manager_hides(
    person: Callable[..., Client], admin_of: Callable[..., None]
) -> None:
    def everything(model: type[models.Model]) -> Any:
        return model._base_manager.all()

    admin_of(Kept, import_keys=[("code",)])
    everything(Kept).create(code="a", is_dropped=True)
    page = Importing(person("kept"), "kept")
    page.upload("code,is_dropped\na,false\n")
    checked = page.check(way="upsert:code")
    assert (states(checked), changes(checked)) == ([CHANGED], [])
