"""What is wrong with a file is told by line and column, and nothing is written that was not shown."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from perfkit.admin.importer import MOST_ERRORS
from tests.admin.conftest import TWO, Importing, errors, stored, text_of
from tests.testapp.imported import Bin, Ware

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_tells_each_by_line_and_column(wares: Importing) -> None:
    Bin.objects.create(code="NO", is_open=False)
    Ware.objects.create(sku="old", name="x", price=1)
    wares.upload(
        "sku,name,price,kind,place,count\n"
        'ok,"of\ntwo lines",1,t,,1\n'  # line 2
        "a,Assam,-1,x,,1\n"  # line 4
        "b,Assam,much,t,,1\n"
        "c,,1,t,,1\n"
        "d,x,1,t,NO,1\n"
        "e,x,1,t,??,1\n"
        "old,x,1,t,,1\n"
        "f,x,1,t,,1000\n"
        "g,bread,1,t,,1\n"
        "h,x,101,c,,1\n"
        "i,magic,1,t,,1\n"
        "j,x,1\n"
        "ninecharacters,x,1,t,,1\n"
    )
    page = wares.check(way="insert", column_4="bin")
    found = errors(page)
    assert [(line, column) for line, column, _ in found] == [
        (4, "price"),
        (4, "kind"),
        (5, "price"),
        (6, "name"),
        (7, "place"),
        (8, "place"),
        (9, "sku"),
        (10, ""),
        (11, "name"),
        (12, ""),
        (13, ""),
        (14, ""),
        (15, "sku"),
    ]
    texts = [text for *_, text in found]
    assert texts[0] == "Ensure this value is greater than or equal to 0."
    assert texts[3] == "This field cannot be blank."
    assert texts[8] == "We sell no bread."
    assert texts[9] == "Coffee is never so dear."
    assert "Coffee is never so dear." in text_of(page)
    assert 'name="check"' not in page.content.decode()
    assert stored() == [("old", "x", Decimal(1))]


def test_it_says_which_line_no_line_ends(wares: Importing) -> None:
    """An open quote would take the rest of the file into one cell."""
    told = "Line 4 of the file is not CSV: unexpected end of data."
    assert told in text_of(wares.upload('sku,name,price\nA,x,1\nB,"x,1\nC,x,1\n'))
    wares.upload("sku,name,price\n" + "".join(f"{n},x,1\n" for n in range(9)) + 'B,"x,1\nC,x,1\n')
    assert errors(wares.check(way="insert")) == [(None, "", told.replace("4", "12"))]


def test_it_is_as_strict_as_a_form(person: Callable[..., Client], wares: Importing) -> None:
    wares.upload(
        "sku,name,price,kind,junk,count,since,note\n"
        "A,\0,1,t,,1,,n\n"
        "B,x,1,t,,1,0001-01-01T00:00+14:00,n\n"
        'C,"  ",1,t,,1,,n\n'
        "D,x,101,c,,1,,n\n"
        "E,x,1,t,,,,n\n"
        'F,x,"1,5",t,,1,,n\n'
        "G , x ,1,t,,1,, n\n"
    )
    page = wares.check(way="insert", skips_bad_rows="on")
    assert errors(page) == [
        (2, "name", "Null characters are not allowed."),
        (3, "since", "Enter a valid date/time."),
        (4, "name", "This field cannot be blank."),
        (5, "", "Coffee is never so dear."),
        (6, "count", "This field cannot be blank."),
        (7, "price", "“1,5” value must be a decimal number."),
    ]
    wares.confirm(page)
    assert stored("sku", "name", "note") == [("G", "x", "n")]
    readings = Importing(person("measured", name="bob"), "measured")
    readings.upload("value,data\nnan,{}\ninf,{}\n1e999,{}\n1," + "[" * 100_000 + '\n2,"""\\ud800"""\n')
    found = errors(readings.check(way="insert", skips_bad_rows="on"))
    assert [(line, column) for line, column, _ in found][:4] == [
        (2, "value"),
        (3, "value"),
        (4, "value"),
        (5, "data"),
    ]


def test_it_says_that_a_key_is_none(wares: Importing) -> None:
    Bin.objects.create(code="b")
    wares.upload('sku,name,price,bin\nA,x,1,"b\0"\nB,x,1,bbbb\n')
    assert [(line, column) for line, column, _ in errors(wares.check(way="insert"))] == [
        (2, "bin"),
        (3, "bin"),
    ]


def test_it_leaves_bad_rows_out_where_that_is_wanted(wares: Importing) -> None:
    wares.upload("sku,name,price\nA,x,1\nB,x,bad\nC,x,1\nA,x,1\n")
    page = wares.check(way="insert", skips_bad_rows="on")
    assert page.context["report"].created == 2
    done = wares.confirm(page)
    assert [line for line, *_ in errors(done)] == [3, 5]
    assert "were left out" in text_of(done)
    assert stored("sku") == [("A",), ("C",)]


def test_it_reads_no_further_after_many(wares: Importing) -> None:
    Ware.objects.create(sku="A", name="x", price=1)
    for row in ("A,x,1\n", "B,x,bad\n"):
        wares.upload("sku,name,price\n" + row * 20_000)
        page = wares.check(way="insert", skips_bad_rows="on")
        assert page.context["report"].is_cut
        assert MOST_ERRORS < len(errors(page)) <= MOST_ERRORS + 1000
        assert 'name="check"' not in page.content.decode()


def test_it_writes_nothing_where_the_table_has_changed_meanwhile(wares: Importing) -> None:
    wares.upload(TWO)
    page = wares.check(way="insert")
    Ware.objects.create(sku="B", name="theirs", price=1)
    done = wares.confirm(page)
    assert errors(done)[0][:2] == (3, "sku")
    assert "Nothing was written." in text_of(done)
    assert stored("sku", "name") == [("B", "theirs")]
    assert not LogEntry.objects.exists()
    assert wares.client.get(wares.columns_url).status_code == 200  # it may be tried again


def test_it_writes_nothing_where_what_a_row_refers_to_is_gone_meanwhile(wares: Importing) -> None:
    Bin.objects.create(code="b")
    rows = "".join(f"{number},x,1,{'b' if number == 2500 else ''}\n" for number in range(3000))
    wares.upload(f"sku,name,price,bin\n{rows}")
    page = wares.check(way="insert")
    assert page.context["report"].created == 3000
    Bin.objects.all().delete()
    done = wares.confirm(page)
    assert errors(done) == [(2502, "bin", "There is no bin with this key, or it may not be chosen.")]
    assert "Nothing was written." in text_of(done)
    assert stored() == []
