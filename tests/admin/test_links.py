"""Relations to many in a file: checked, previewed and written like the rest, and as a form would leave them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.forms import modelform_factory
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from perfkit.admin.links import Links, WrittenRow
from tests.admin.conftest import Importing, errors, text_of
from tests.testapp.imported import Parcel, Sticker, Stuck

pytestmark = pytest.mark.django_db(transaction=True)

THROUGH = Parcel.stickers.through


@pytest.fixture
def parcels(person: Callable[..., Client]) -> Importing:
    """Somebody who may see stickers too."""
    client = person("parcel")
    get_user_model().objects.get().user_permissions.add(Permission.objects.get(codename="view_sticker"))
    return Importing(client, "parcel")


@pytest.fixture
def pks(db: None) -> list[int]:
    """Return the keys of three stickers, and of one that may not be chosen."""
    return [Sticker.objects.create(name=name, is_open=name != "gone").pk for name in ("a", "b", "c", "gone")]


def stored() -> dict[str, str]:
    """Return the names of the stickers of each parcel."""
    return {
        parcel.code: "".join(sorted(sticker.name for sticker in parcel.stickers.all()))
        for parcel in Parcel.objects.order_by("code")
    }


def changes(page: Any) -> list[tuple[str, str]]:
    return [
        (cell.former, cell.value) for row in page.context["rows"] for cell in row.cells if cell.is_changed
    ]


class TestWriting:
    @pytest.mark.parametrize("separator", ["|", ", "])
    def test_new_rows_get_what_they_refer_to(
        self, parcels: Importing, pks: list[int], separator: str
    ) -> None:
        a, b, _, _ = pks
        parcels.upload(f'code,stickers\nA,"{a}{separator}{b}"\nB,\nC,"{b}{separator}{b}{separator}"\n')
        page = parcels.check(way="insert")
        assert (errors(page), page.context["report"].counts) == ([], [3, 0, 0, 0])
        assert not THROUGH.objects.exists()
        parcels.confirm(page)
        assert stored() == {"A": "ab", "B": "", "C": "b"}

    def test_rows_that_exist_keep_nothing_else(self, parcels: Importing, pks: list[int]) -> None:
        for code in "ABCD":
            Parcel.objects.create(code=code).stickers.set(pks[:2])
        kept = set(THROUGH.objects.values_list("pk", flat=True))
        parcels.upload("code,stickers__name\nA,b|c\nB,\nC,b|a\nE,a\n")
        page = parcels.check(way="upsert:code")
        assert page.context["report"].counts == [1, 2, 1, 0]
        assert [row.state for row in page.context["rows"]] == ["changed", "changed", "unchanged", "new"]
        assert changes(page) == [("a, b", "b, c"), ("a, b", "-")]
        assert stored()["A"] == "ab"
        parcels.confirm(page)
        assert stored() == {"A": "bc", "B": "", "C": "ab", "D": "ab", "E": "a"}
        assert len(kept & set(THROUGH.objects.values_list("pk", flat=True))) == 5  # no link is made anew

    def test_rows_found_by_their_number_may_change_in_that_alone(
        self, parcels: Importing, pks: list[int]
    ) -> None:
        one, two = (Parcel.objects.create(code=code).pk for code in "AB")
        parcels.upload(f"id,stickers\n{one},{pks[0]}\n{two},\n")
        page = parcels.check(way="update")
        assert page.context["report"].counts == [0, 1, 1, 0]
        parcels.confirm(page)
        assert stored() == {"A": "a", "B": ""}
        parcels.write(f"id,weight,stickers\n{one},7,\n{two},8,{pks[1]}\n", way="update")
        assert stored() == {"A": "", "B": "b"}
        assert list(Parcel.objects.order_by("code").values_list("weight", flat=True)) == [7, 8]

    def test_rows_without_that_column_keep_what_they_have(self, parcels: Importing, pks: list[int]) -> None:
        Parcel.objects.create(code="A").stickers.set(pks)
        parcels.write("code,weight\nA,7\n", way="upsert:code")
        assert stored() == {"A": "abcgone"}

    def test_rows_that_are_refused_get_nothing(self, parcels: Importing, pks: list[int]) -> None:
        rows = "".join(f"{number},{1000 if number % 3 == 0 else 1},a\n" for number in range(30))
        parcels.upload(f"code,weight,stickers__name\n{rows}")
        for way in ("insert", "upsert:code"):
            page = parcels.check(way=way, skips_bad_rows="on")
            assert page.context["report"].counts == [20, 0, 0, 10]
        parcels.confirm(page)
        assert stored() == {str(number): "a" for number in range(30) if number % 3}

    def test_nothing_is_written_where_one_row_is_wrong(self, parcels: Importing, pks: list[int]) -> None:
        parcels.upload("code,stickers__name\nA,a\nB,b\n")
        page = parcels.check(way="insert")
        Sticker.objects.filter(name="b").delete()
        done = parcels.confirm(page)
        assert [error[:2] for error in errors(done)] == [(3, "stickers__name")]
        assert "Nothing was written." in text_of(done)
        assert (stored(), THROUGH.objects.count()) == ({}, 0)

    def test_nothing_else_is_written_than_was_shown(self, parcels: Importing, pks: list[int]) -> None:
        parcel = Parcel.objects.create(code="A")
        parcels.upload("code,stickers__name\nA,a\n")
        page = parcels.check(way="upsert:code")
        parcel.stickers.set(pks[:1])
        again = parcels.confirm(page)
        assert again.context["report"].counts == [0, 0, 1, 0]
        assert "has changed since the check" in text_of(again)

    def test_many_rows_cost_as_many_queries(self, parcels: Importing, pks: list[int]) -> None:
        def queries(rows: int) -> int:
            """Of links and what they lead to; the rows themselves are asked for one by one on SQLite."""
            Parcel.objects.all().delete()
            for number in range(20):
                Parcel.objects.create(code=str(number)).stickers.set(pks[:1])
            parcels.upload("code,stickers__name\n" + "".join(f"{n},b\n" for n in range(rows)))
            with CaptureQueriesContext(connection) as captured:
                parcels.check(way="upsert:code")
            return sum("sticker" in query["sql"] for query in captured)

        queries(21)  # what Django remembers of models, it asks once
        assert queries(900) == queries(21) > 0

    def test_more_rows_than_a_chunk_get_their_own(self, parcels: Importing, pks: list[int]) -> None:
        parcels.write(
            "code,stickers__name\n" + "".join(f"{n},{'abc'[n % 3]}\n" for n in range(2500)), way="insert"
        )
        assert all(name == "abc"[int(code) % 3] for code, name in stored().items())
        assert Parcel.objects.count() == 2500


class TestChecks:
    def test_what_may_not_be_chosen_is_told(self, parcels: Importing, pks: list[int]) -> None:
        a, _, _, gone = pks
        parcels.upload(
            f"code,on\nA,{a}|{gone}\nB,x\nC,{10**30}\nD,{a}\nE,{a}|{gone + 1}|{gone + 2}\nF,{a}|\0\n"
        )
        page = parcels.check(way="insert", column_1="stickers", skips_bad_rows="on")
        unknown = "There is no sticker with this key, or it may not be chosen."
        found = errors(page)
        assert [error[:2] for error in found] == [(line, "on") for line in (2, 3, 4, 6, 7)]
        assert found[0][2] == f"“{gone}”: {unknown}"
        assert found[3][2] == f"“{gone + 1}, {gone + 2}”: {unknown}"
        parcels.confirm(page)
        assert stored() == {"D": "a"}

    def test_what_a_form_requires_is_required(self, person: Callable[..., Client], pks: list[int]) -> None:
        page = Importing(person("stuck"), "stuck")
        page.upload(f"stickers,x\n{pks[0]},\n|,\n")
        assert errors(page.check(way="insert")) == [(3, "stickers", "This field cannot be blank.")]
        page.write(f"stickers,x\n{pks[0]}|{pks[2]},\n", way="insert")
        assert sorted(Stuck.objects.get().stickers.values_list("name", flat=True)) == ["a", "c"]

    def test_the_project_s_own_check_sees_the_keys(
        self, parcels: Importing, pks: list[int], admin_of: Callable[..., None]
    ) -> None:
        def clean_import_row(self: Any, request: Any, row: dict[str, Any]) -> dict[str, Any]:
            return row | {"stickers": row["stickers"][:1]}

        admin_of(Parcel, clean_import_row=clean_import_row)
        parcels.write("code,stickers__name\nA,b|a\n", way="insert")
        assert stored() == {"A": "b"}

    def test_pages_name_what_a_file_cannot_give(self, parcels: Importing) -> None:
        assert parcels.client.get(f"{parcels.base}import/").context["names"] == [
            *("id", "code", "weight", "stickers", "stickers__name")
        ]
        told = "Not imported, to be set by hand: parts."
        assert told in text_of(parcels.client.get(f"{parcels.base}import/"))
        assert told in text_of(parcels.upload("code\nA\n"))

    def test_old_values_are_told_to_whom_may_see_them(
        self, parcels: Importing, pks: list[int], admin_of: Callable[..., None]
    ) -> None:
        admin_of(Parcel, exclude=("stickers",), import_fields=("code", "stickers"), import_keys=[("code",)])
        Parcel.objects.create(code="A").stickers.set(pks)
        parcels.upload("code,stickers__name\nA,a\n")
        page = parcels.check(way="upsert:code")
        assert page.context["report"].counts == [0, 1, 0, 0]
        assert changes(page) == []
        assert "gone" not in text_of(page)


KEYS = st.integers(0, 4)


class TestAsForms(TestCase):
    """What is written is what Django's form would leave."""

    @settings(max_examples=25)
    @given(st.lists(st.tuples(st.sets(KEYS), st.sets(KEYS)), max_size=4))
    def test_links_are_those_of_a_form(self, rows: list[tuple[set[int], set[int]]]) -> None:
        Sticker.objects.all().delete()
        stickers = [Sticker.objects.create(name=str(number)).pk for number in range(5)]
        field = Parcel._meta.get_field("stickers")
        links = Links([field], "default")
        form_class = modelform_factory(Parcel, fields=["stickers"])
        written, by_form, differ = [], [], 0
        for number, (before, after) in enumerate(rows):
            differ += before != after
            one, other = (Parcel.objects.create(code=f"{which}{number}") for which in "xy")
            for parcel in (one, other):
                parcel.stickers.set([stickers[each] for each in before])
            links.note(number, {"stickers": [stickers[each] for each in after]})
            links.written([WrittenRow(one.pk, is_untouched=True)], first_row=number)
            form = form_class({"stickers": [stickers[each] for each in after]}, instance=other)
            assert form.is_valid()
            form.save()
            written.append(one)
            by_form.append(other)
        assert links.write() == differ
        for one, other in zip(written, by_form, strict=True):
            assert set(one.stickers.all()) == set(other.stickers.all())
