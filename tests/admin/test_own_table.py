"""Rows that refer to others of their table: what is wrong is told by line, and so is what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from perfkit.admin.own_table import Referring, dangling
from tests.admin.conftest import Importing, errors, text_of
from tests.testapp.imported import Branch, Folder

pytestmark = pytest.mark.django_db(transaction=True)

PROBLEM = "There is no parent with this key, or it may not be chosen."


@pytest.fixture
def branches(person: Callable[..., Client]) -> Importing:
    return Importing(person("branch"), "branch")


@pytest.fixture
def folders(person: Callable[..., Client]) -> Importing:
    return Importing(person("folder", name="bob"), "folder")


def stored() -> list[Any]:
    return sorted(Branch.objects.values_list("code", "parent_id"))


KEYS = st.integers(0, 9)


@given(st.dictionaries(KEYS, KEYS | st.none()), st.sets(KEYS))
def test_what_is_left_refers_to_what_is_there(parents: dict[int, int | None], kept: set[int]) -> None:
    rows = [
        Referring(key, [] if parent is None else [("p", parent)], [("p", key)])
        for key, parent in parents.items()
    ]
    missing = {("p", each) for each in parents.values() if each is not None} - {
        ("p", each) for each in kept | parents.keys()
    }
    found = dangling(rows, missing, kept={("p", each) for each in kept})

    left = dict(parents)  # the same, by leaving out one after the other
    while wrong := [key for key, each in left.items() if each is not None and each not in kept | left.keys()]:
        del left[wrong[0]]
    assert parents.keys() - found.keys() == left.keys()
    assert all(names == ["p"] for names in found.values())


def test_a_row_may_be_wrong_in_two_relations() -> None:
    row = Referring(2, [("a", 1), ("b", 1)], [])
    assert dangling([row], [("a", 1), ("b", 1)], kept=[]) in ({2: ["a", "b"]}, {2: ["b", "a"]})


def test_it_tells_the_line_of_what_is_nowhere(branches: Importing) -> None:
    branches.upload("code,above\nb,a\na,\nc,z\n")
    page = branches.check(column_1="parent")
    assert errors(page) == [(4, "above", PROBLEM)]
    assert page.context["report"].counts == [2, 0, 0, 1]
    assert 'name="check"' not in page.content.decode()
    assert stored() == []


def test_a_row_may_refer_to_any_that_the_file_brings(branches: Importing) -> None:
    def code(number: int) -> str:
        return f"{number:03x}"

    rows = "".join(f"{code(number)},{code(1499 - number)}\n" for number in range(1500))
    branches.write(f"code,parent\n{rows}", way="insert")
    assert Branch.objects.count() == 1500


def test_it_leaves_out_what_refers_to_rows_that_are_left_out(branches: Importing) -> None:
    Branch.objects.create(code="old")
    branches.upload("code,parent\nd,c\nc,b\nb,z\nx,,\ne,x\nok,old\nno,ok\nf,no\ng,f\n")
    page = branches.check(way="insert", skips_bad_rows="on")
    expected = [
        (2, "parent", PROBLEM),
        (3, "parent", PROBLEM),
        (4, "parent", PROBLEM),
        (5, "", "it has 3 cells for 2 columns."),
        (6, "parent", PROBLEM),
        (9, "parent", PROBLEM),
        (10, "parent", PROBLEM),
    ]
    assert [error for error in errors(page) if error[0] != 8] == expected
    assert [row.cells[0].value for row in page.context["rows"]] == ["ok"]
    done = branches.confirm(page)
    assert "were left out" in text_of(done)
    assert [line for line, *_ in errors(done)] == [2, 3, 4, 5, 6, 8, 9, 10]
    assert stored() == [("ok", "old"), ("old", None)]


def test_it_asks_nothing_of_a_row_that_the_database_refuses(branches: Importing) -> None:
    branches.upload("code,parent\nno,z\na,\n")
    page = branches.check(way="insert", skips_bad_rows="on")
    ((line, _, problem),) = errors(page)
    assert line == 2
    assert problem != PROBLEM
    assert page.context["report"].counts == [1, 0, 0, 1]


def test_a_row_that_is_left_out_but_was_there_may_be_referred_to(branches: Importing) -> None:
    Branch.objects.create(code="a")
    branches.upload("code,parent\na,z\nb,a\n")
    page = branches.check(way="upsert:code", skips_bad_rows="on")
    assert errors(page) == [(2, "parent", PROBLEM)]
    branches.confirm(page)
    assert stored() == [("a", None), ("b", "a")]


def test_it_tells_the_line_of_what_is_gone_when_it_writes(branches: Importing) -> None:
    Branch.objects.create(code="z")
    branches.upload("code,parent\na,\nb,z\n")
    page = branches.check(way="insert")
    Branch.objects.all().delete()
    done = branches.confirm(page)
    assert errors(done) == [(3, "parent", PROBLEM)]
    assert "Nothing was written." in text_of(done)
    assert stored() == []


def test_it_chooses_nothing_that_the_form_does_not_offer(
    branches: Importing, admin_of: Callable[..., None]
) -> None:
    def without_roots(self: Any, field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        offered = Branch.objects.exclude(code__in=["r", "s"])
        return admin.ModelAdmin.formfield_for_foreignkey(self, field, request, queryset=offered, **kwargs)

    admin_of(Branch, formfield_for_foreignkey=without_roots)
    Branch.objects.create(code="r")
    branches.upload("code,parent\na,r\ns,\nb,s\nc,b\n")
    page = branches.check(way="insert", skips_bad_rows="on")
    assert errors(page) == [(line, "parent", PROBLEM) for line in (2, 4, 5)]
    branches.confirm(page)
    assert stored() == [("r", None), ("s", None)]


def test_a_number_that_the_database_gives_is_no_reference(folders: Importing) -> None:
    """Who wrote the file cannot know which row would get it."""
    pk = Folder.objects.create(title="there").pk
    numbers = "".join(f"n{number},{pk + number}\n" for number in range(1, 30))
    folders.upload(f"title,parent\nx,{pk}\n{numbers}")
    page = folders.check(way="insert", skips_bad_rows="on")
    assert errors(page) == [(line, "parent", PROBLEM) for line in range(3, 32)]
    folders.confirm(page)
    assert sorted(Folder.objects.values_list("title", "parent")) == [("there", None), ("x", pk)]


def test_rows_found_by_their_number_may_refer_to_each_other(folders: Importing) -> None:
    one, two = (Folder.objects.create(title=title).pk for title in "ab")
    folders.upload(f"id,parent\n{two},{one}\n{one},{two + 1}\n")
    assert errors(folders.check(way="update")) == [(3, "parent", PROBLEM)]
    folders.write(f"id,parent\n{two},{one}\n", way="update")
    assert Folder.objects.get(pk=two).parent_id == one


def test_it_tells_the_column_of_a_cell_that_is_no_key(folders: Importing) -> None:
    folders.upload("title,above\na,x\n")
    page = folders.check(way="insert", column_1="parent")
    assert errors(page) == [(2, "above", "“x” value must be an integer.")]


def test_it_asks_for_many_references_at_once(branches: Importing) -> None:
    def queries(rows: int) -> int:
        branches.upload("code,parent\n" + "".join(f"{n},{rows - n}\n" for n in range(1, rows)))
        with CaptureQueriesContext(connection) as captured:
            page = branches.check(way="insert", skips_bad_rows="on")
        assert errors(page) == []
        return len(captured)

    queries(2)  # what Django remembers of models, it asks once
    assert queries(900) == queries(2)
