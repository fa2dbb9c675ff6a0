"""What rows refer to may be named by any field that names one row, and that somebody may see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from perfkit.admin.columns import guesses, lookup_fields
from tests.admin.conftest import Importing, errors, text_of
from tests.testapp.imported import Crate, Folder, Maker, Ware

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def crates(person: Callable[..., Client]) -> Importing:
    """Somebody who may see makers too."""
    client = person("crate")
    get_user_model().objects.get().user_permissions.add(Permission.objects.get(codename="view_maker"))
    return Importing(client, "crate")


@pytest.fixture
def makers(db: None) -> list[Maker]:
    return [Maker.objects.create(name=name, license=100 + n, secret=name) for n, name in enumerate("ABC")]


def choices(page: Any, place: int = 0) -> dict[str, str]:
    return {name: str(label) for name, label in page.context["form"].fields[f"column_{place}"].choices}


def stored() -> list[Any]:
    return sorted(Crate.objects.values_list("number", "maker__name"))


class TestOffers:
    def test_they_are_the_fields_that_name_one_row(self) -> None:
        def names(model: Any, name: str) -> list[str]:
            return [field.name for field in lookup_fields(model._meta.get_field(name))]

        assert names(Crate, "maker") == ["name", "license", "secret"]  # an email may be NULL
        assert names(Crate, "origin") == ["id", "name", "secret"]
        assert names(Crate, "keeper") == ["username"]
        assert names(Ware, "bin") == names(Ware, "name") == []

    def test_they_are_what_somebody_may_see_of_the_others(self, crates: Importing) -> None:
        page = crates.upload("number\n1\n")
        assert choices(page) == {
            "": "leave it out",
            "id": "ID",
            "number": "Number",
            "maker": "Maker, by ID",
            "maker__name": "Maker, by name",
            "maker__license": "Maker, by license number",
            "origin": "Origin, by license number",
            "origin__name": "Origin, by name",
            "keeper": "Keeper",
        }
        assert "maker__name" in text_of(crates.client.get(f"{crates.base}import/"))

    def test_they_are_none_of_what_somebody_may_not_see(
        self, person: Callable[..., Client], makers: list[Maker]
    ) -> None:
        page = Importing(person("crate"), "crate")
        assert choices(page.upload("number,maker__name\n1,A\n")).keys() == {
            *("", "id", "number", "maker", "origin", "keeper")
        }
        assert "Select a valid choice" in text_of(page.check(way="insert", column_1="maker__name"))
        assert "Select a valid choice" in text_of(page.check(way="insert", column_1="maker__secret"))

    def test_they_are_what_the_admin_names(
        self, person: Callable[..., Client], admin_of: Callable[..., None]
    ) -> None:
        admin_of(Crate, import_relation_keys={"maker": ["secret"], "keeper": ["username"]})
        page = Importing(person("crate"), "crate").upload("number\n1\n")
        assert choices(page)["maker__secret"] == "Maker, by secret"
        assert choices(page)["keeper__username"] == "Keeper, by username"
        assert "maker__name" not in choices(page)

    def test_a_column_is_known_by_its_name(self) -> None:
        fields = {field.name: field for field in Crate._meta.concrete_fields}
        lookups = {"maker": lookup_fields(fields["maker"])}
        for name in ("maker__name", "Maker Name", "maker-name"):
            assert guesses([name, "maker"], fields, lookups) == {name: "maker__name"}
        assert guesses(["maker", "maker_id", "maker name"], fields, lookups) == {"maker": "maker"}


class TestRows:
    def test_they_name_what_they_refer_to(self, crates: Importing, makers: list[Maker]) -> None:
        crates.upload("number,maker__name,origin name\n1, B ,C\n2,A,\n")
        page = crates.check(way="insert")
        assert errors(page) == []
        assert [[cell.value for cell in row.cells] for row in page.context["rows"]] == [
            ["1", "B", "C"],
            ["2", "A", "-"],
        ]
        crates.confirm(page)
        assert stored() == [(1, "B"), (2, "A")]
        assert Crate.objects.get(number=1).origin_id == 102

    def test_they_are_told_by_line_and_column(self, crates: Importing, makers: list[Maker]) -> None:
        Maker.objects.filter(name="C").update(is_open=False)
        crates.upload("number,who,origin\n1,A,100\n2,nobody,\n3,C,\n4,,\n5,a,x\n6,A\0,\n")
        page = crates.check(way="insert", column_1="maker__name", column_2="origin", skips_bad_rows="on")
        unknown = "There is no maker with this name, or it may not be chosen."
        assert errors(page) == [
            (3, "who", unknown),
            (4, "who", unknown),
            (5, "who", "This field cannot be blank."),
            (6, "origin", "“x” value must be an integer."),
            (7, "who", "Null characters are not allowed."),
        ]
        crates.confirm(page)
        assert stored() == [(1, "A")]

    def test_they_are_told_of_names_that_are_none(self, crates: Importing, makers: list[Maker]) -> None:
        crates.upload(f"number,maker__license\n1,100\n2,x\n3,{10**30}\n4,7\n")
        found = errors(crates.check(way="insert"))
        assert [error[:2] for error in found] == [(line, "maker__license") for line in (3, 4, 5)]

    def test_they_are_found_by_a_key_with_a_relation(self, crates: Importing, makers: list[Maker]) -> None:
        Crate.objects.create(number=1, maker=makers[0], origin=makers[0])
        crates.upload("maker__name,number,origin__name\nA,1,B\nB,1,\nA,1,\n")
        page = crates.check(way="upsert:maker,number", skips_bad_rows="on")
        assert errors(page) == [(4, "", "An earlier line has the same maker, number.")]
        changed, new = page.context["rows"]
        assert [(cell.former, cell.value) for cell in changed.cells if cell.is_changed] == [("A", "B")]
        assert new.state == "new"
        crates.confirm(page)
        assert sorted(Crate.objects.values_list("maker__name", "origin__name")) == [("A", "B"), ("B", None)]

    def test_they_name_one_thing_in_one_way(self, crates: Importing, makers: list[Maker]) -> None:
        crates.upload("number,maker,who\n1,1,A\n")
        page = crates.check(way="insert", column_2="maker__name")
        assert "Another column is the maker already." in text_of(page)

    def test_they_are_checked_as_rows_with_keys(
        self, crates: Importing, makers: list[Maker], admin_of: Callable[..., None]
    ) -> None:
        def clean_import_row(self: Any, request: Any, row: dict[str, Any]) -> dict[str, Any]:
            seen.append(row["maker_id"])
            return row

        seen: list[Any] = []
        admin_of(Crate, clean_import_row=clean_import_row)
        crates.upload("number,maker__name\n1,B\n")
        crates.check(way="insert")
        assert seen == [makers[1].pk]

    def test_they_are_asked_for_a_thousand_at_once(self, crates: Importing) -> None:
        def queries(rows: int) -> int:
            Maker.objects.all().delete()
            Maker.objects.bulk_create(Maker(name=f"m{n}", license=n, secret=str(n)) for n in range(rows))
            crates.upload("number,maker__name\n" + "".join(f"{n},m{n}\n" for n in range(rows)))
            page = crates.check(way="insert")
            assert errors(page) == []
            with CaptureQueriesContext(connection) as captured:
                crates.confirm(page)
            assert Crate.objects.count() == rows
            return len(captured)

        queries(1)  # what Django remembers of models, it asks once
        assert queries(900) == queries(1)


class TestOwnTable:
    @pytest.fixture
    def folders(self, person: Callable[..., Client]) -> Importing:
        return Importing(person("folder", name="bob"), "folder")

    def test_rows_name_what_was_there_before(self, folders: Importing) -> None:
        """Of what the file brings nobody knows the number yet, however many rows lie between."""
        Folder.objects.create(title="top")
        rows = "".join(f"{number},top\n" for number in range(2500))
        folders.upload(f"title,parent__title\nin,top\n{rows}late,in\n")
        page = folders.check(way="insert", skips_bad_rows="on")
        problem = "There is no parent with this title, or it may not be chosen."
        assert errors(page) == [(2503, "parent__title", problem)]
        folders.confirm(page)
        assert Folder.objects.filter(parent__title="top").count() == 2501

    def test_rows_move(self, folders: Importing) -> None:
        one, two, three = (Folder.objects.create(title=title) for title in "abc")
        Folder.objects.filter(pk=three.pk).update(parent=one)
        folders.upload("title,parent__title\nc,b\nb,a\na,\n")
        page = folders.check(way="upsert:title")
        assert page.context["report"].counts == [0, 2, 1, 0]
        assert [(cell.former, cell.value) for cell in page.context["rows"][0].cells if cell.is_changed] == [
            ("a", "b")
        ]
        folders.confirm(page)
        assert dict(Folder.objects.values_list("title", "parent__title")) == {"a": None, "b": "a", "c": "b"}
        assert two.pk == Folder.objects.get(title="c").parent_id
