"""The import of CSV files in the admin: nothing is written until what was seen is confirmed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perfkit.admin.importer import MOST_ERRORS, Importer, ImportReport
from perfkit.models import PendingImport
from tests.admin.conftest import Importing, errors, text_of, told
from tests.testapp.admin import WareAdmin
from tests.testapp.imported import Bin, Branch, Owned, Titled, Token, Ware

pytestmark = pytest.mark.django_db(transaction=True)

TWO = "sku,name,price\nA,Assam,1.50\nB,Bohea,2\n"


def stored(*names: str) -> list[Any]:
    return sorted(Ware.objects.values_list(*names or ("sku", "name", "price")))


class TestInsert:
    def test_it_writes_what_was_confirmed(self, wares: Importing) -> None:
        wares.upload(TWO)
        page = wares.check(way="insert")
        report = page.context["report"]
        assert (report.created, report.updated, report.errors) == (2, 0, [])
        assert "Assam" in text_of(page)
        assert stored() == []
        done = wares.confirm(page)
        assert told(done) == ["wares.csv: 2 created, 0 updated, 0 left as they were."]
        assert stored() == [("A", "Assam", Decimal("1.50")), ("B", "Bohea", Decimal(2))]
        assert not PendingImport.objects.exists()

    def test_it_fills_what_is_left_out_with_its_default(self, wares: Importing) -> None:
        wares.write(TWO, way="insert")
        assert stored("kind", "count", "is_sold", "note", "since") == [("t", 0, False, "", None)] * 2

    def test_it_reads_every_kind_of_value(self, wares: Importing) -> None:
        Bin.objects.create(code="S1")
        wares.write(
            "sku,name,price,kind,bin,note,count,is_sold,since\n"
            'A,Assam,1.5,c,S1,"two\nlines",3,yes,2026-01-02 03:04:05+00:00\n',
            way="insert",
        )
        since = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
        assert stored("kind", "bin_id", "note", "count", "is_sold", "since") == [
            ("c", "S1", "two\nlines", 3, True, since)
        ]

    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    def test_it_sees_what_separates_the_names(self, wares: Importing, separator: str) -> None:
        wares.write("\ufeff" + TWO.replace(",", separator), way="insert")
        assert len(stored()) == 2

    def test_it_knows_a_column_by_the_words_for_its_field(self, wares: Importing) -> None:
        wares.upload("Stock keeping unit,NAME,Price ,unknown\nA,Assam,1,x\n")
        form = wares.client.get(wares.columns_url).context["form"]
        assert [form.fields[f"column_{place}"].initial for place in range(4)] == ["sku", "name", "price", ""]

    def test_it_logs_who_did_it(self, wares: Importing) -> None:
        wares.write(TWO, way="insert")
        entry = LogEntry.objects.get()
        assert (entry.user.get_username(), entry.action_flag, entry.object_repr) == (
            "ann",
            ADDITION,
            "wares.csv",
        )
        assert entry.get_change_message() == "wares.csv: 2 created, 0 updated, 0 left as they were."
        assert wares.client.get("/admin/").status_code == 200

    def test_it_costs_as_many_queries_for_many_rows(self, wares: Importing) -> None:
        def queries(rows: int) -> int:
            Ware.objects.all().delete()
            Bin.objects.get_or_create(code="S1")
            wares.upload("sku,name,price,bin\n" + "".join(f"{n},x,1,S1\n" for n in range(rows)))
            page = wares.check(way="insert")
            with CaptureQueriesContext(
                connection,
            ) as captured:
                wares.confirm(page)
            assert Ware.objects.count() == rows
            return len(captured)

        queries(1)  # what Django remembers of models, it asks once
        assert queries(900) == queries(1)


class TestErrors:
    def test_it_tells_each_by_line_and_column(self, wares: Importing) -> None:
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

    def test_it_says_which_line_no_line_ends(self, wares: Importing) -> None:
        """An open quote would take the rest of the file into one cell."""
        told = "Line 4 of the file is not CSV: unexpected end of data."
        assert told in text_of(wares.upload('sku,name,price\nA,x,1\nB,"x,1\nC,x,1\n'))
        wares.upload("sku,name,price\n" + "".join(f"{n},x,1\n" for n in range(9)) + 'B,"x,1\nC,x,1\n')
        assert errors(wares.check(way="insert")) == [(None, "", told.replace("4", "12"))]

    def test_it_is_as_strict_as_a_form(self, person: Callable[..., Client], wares: Importing) -> None:
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

    def test_it_says_that_a_key_is_none(self, wares: Importing) -> None:
        Bin.objects.create(code="b")
        wares.upload('sku,name,price,bin\nA,x,1,"b\0"\nB,x,1,bbbb\n')
        assert [(line, column) for line, column, _ in errors(wares.check(way="insert"))] == [
            (2, "bin"),
            (3, "bin"),
        ]

    def test_it_leaves_bad_rows_out_where_that_is_wanted(self, wares: Importing) -> None:
        wares.upload("sku,name,price\nA,x,1\nB,x,bad\nC,x,1\nA,x,1\n")
        page = wares.check(way="insert", skips_bad_rows="on")
        assert page.context["report"].created == 2
        done = wares.confirm(page)
        assert [line for line, *_ in errors(done)] == [3, 5]
        assert "were left out" in text_of(done)
        assert stored("sku") == [("A",), ("C",)]

    def test_it_reads_no_further_after_many(self, wares: Importing) -> None:
        Ware.objects.create(sku="A", name="x", price=1)
        for row in ("A,x,1\n", "B,x,bad\n"):
            wares.upload("sku,name,price\n" + row * 20_000)
            page = wares.check(way="insert", skips_bad_rows="on")
            assert page.context["report"].is_cut
            assert MOST_ERRORS < len(errors(page)) <= MOST_ERRORS + 1000
            assert 'name="check"' not in page.content.decode()

    def test_it_writes_nothing_where_the_table_has_changed_meanwhile(self, wares: Importing) -> None:
        wares.upload(TWO)
        page = wares.check(way="insert")
        Ware.objects.create(sku="B", name="theirs", price=1)
        done = wares.confirm(page)
        assert errors(done)[0][:2] == (3, "sku")
        assert "Nothing was written." in text_of(done)
        assert stored("sku", "name") == [("B", "theirs")]
        assert not LogEntry.objects.exists()
        assert wares.client.get(wares.columns_url).status_code == 200  # it may be tried again

    def test_it_writes_nothing_where_what_a_row_refers_to_is_gone_meanwhile(self, wares: Importing) -> None:
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

    def test_it_tells_of_rows_that_refer_to_nothing_in_their_table(
        self, person: Callable[..., Client]
    ) -> None:
        branches = Importing(person("branch"), "branch")
        branches.upload("code,parent\nb,a\na,\nc,z\n")
        page = branches.check(skips_bad_rows="on")
        found = errors(page)
        assert len(found) == 1
        assert page.context["report"].counts == [0, 0, 0, 1]
        assert 'name="check"' not in page.content.decode()
        branches.write("code,parent\nb,a\na,\n")
        assert sorted(Branch.objects.values_list("code", "parent_id")) == [("a", None), ("b", "a")]


class TestUpsert:
    def test_it_updates_the_rows_that_exist(self, wares: Importing) -> None:
        Ware.objects.create(sku="A", name="old", price=1, note="kept", secret="s")
        Ware.objects.create(sku="B", name="Bohea", price=2)
        wares.upload(TWO + "C,Congou,3\n")
        page = wares.check(way="upsert:sku")
        report = page.context["report"]
        assert (report.created, report.updated, report.untouched) == (1, 1, 1)
        wares.confirm(page)
        assert stored("sku", "name", "note", "secret") == [
            ("A", "Assam", "kept", "s"),
            ("B", "Bohea", "", ""),
            ("C", "Congou", "", ""),
        ]
        assert LogEntry.objects.get().action_flag == CHANGE

    def test_it_offers_nothing_where_nothing_would_change(self, wares: Importing) -> None:
        wares.write(TWO, way="insert")
        wares.upload(TWO)
        page = wares.check(way="upsert:sku")
        assert page.context["report"].counts == [0, 0, 2, 0]
        assert "Nothing would change." in text_of(page)
        assert 'name="check"' not in page.content.decode()

    def test_it_updates_by_the_number_of_the_row(self, wares: Importing) -> None:
        pk = Ware.objects.create(sku="A", name="old", price=1, note="kept").pk
        wares.upload(f"id,name\n{pk},new\n{pk + 1},other\n")
        page = wares.check(way="update")
        assert errors(page) == [(3, "id", "There is no ware with this ID.")]
        wares.write(f"id,name\n{pk},new\n", way="update")
        assert stored("sku", "name", "note") == [("A", "new", "kept")]

    def test_it_updates_by_a_key_that_nobody_types(self, person: Callable[..., Client]) -> None:
        tokens = Importing(person("token"), "token")
        tokens.write("title\nold\n", way="insert")
        pk = Token.objects.get().pk
        tokens.write(f"id,title\n{pk},new\n", way="update")
        assert list(Token.objects.values_list("pk", "title")) == [(pk, "new")]

    def test_it_refuses_a_key_that_comes_twice(self, wares: Importing) -> None:
        wares.upload("sku,name,price\nA,x,1\nA,y,1\n")
        assert errors(wares.check(way="upsert:sku")) == [
            (3, "sku", "An earlier line has the same stock keeping unit.")
        ]

    def test_it_writes_nothing_else_than_was_shown(self, wares: Importing) -> None:
        wares.upload(TWO)
        page = wares.check(way="upsert:sku")
        Ware.objects.create(sku="B", name="theirs", price=1)
        again = wares.confirm(page)
        assert "has changed since the check" in told(again)[0]
        assert stored("sku", "name") == [("B", "theirs")]
        assert again.context["report"].counts == [1, 1, 0, 0]
        wares.confirm(again)
        assert stored("sku", "name") == [("A", "Assam"), ("B", "Bohea")]

    def test_it_asks_the_whole_row_where_the_model_does(self, wares: Importing) -> None:
        Ware.objects.create(sku="dear", name="x", price=50, kind="c")
        wares.upload("sku,name,price\ndear,x,500\nnew,x,500\n")
        assert errors(wares.check(way="upsert:sku")) == [(2, "", "Coffee is never so dear.")]
        pk = Ware.objects.create(sku="A", name="x", price=500).pk
        wares.upload(f"id,kind\n{pk},c\n")
        assert errors(wares.check(way="update")) == [(2, "", "Coffee is never so dear.")]


class TestForms:
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
    def test_it_refuses_files(self, wares: Importing, content: str | bytes, problem: str) -> None:
        assert problem in text_of(wares.upload(content))
        assert not PendingImport.objects.exists()

    def test_it_refuses_what_is_too_large(self, wares: Importing, settings: LazySettings) -> None:
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
    def test_it_refuses_columns(self, wares: Importing, data: dict[str, str], problem: str) -> None:
        wares.upload(TWO)
        page = wares.check(**{"way": "insert", **data})
        assert problem in text_of(page)

    def test_it_does_not_number_new_rows(self, wares: Importing) -> None:
        wares.upload("id,sku,name,price\n7,A,x,1\n")
        assert "leave out the column of ID" in text_of(wares.check(way="insert"))

    def test_it_offers_no_file_and_nothing_hidden(self, wares: Importing) -> None:
        names = [field.name for field in wares.client.get(f"{wares.base}import/").context["fields"]]
        assert names == ["id", "sku", "name", "kind", "price", "bin", "note", "count", "is_sold", "since"]

    def test_it_writes_a_file_once(self, wares: Importing) -> None:
        wares.upload(TWO)
        page = wares.check(way="insert")
        wares.confirm(page)
        Ware.objects.all().delete()
        assert "upload it again" in told(wares.confirm(page))[0]
        assert stored() == []

    def test_it_writes_what_was_checked_last(self, wares: Importing) -> None:
        wares.upload("sku,a,b,price\nA,x,y,1\n")
        first = wares.check(way="insert", column_1="name")
        wares.check(way="insert", column_2="name")
        assert "check again" in told(wares.confirm(first))[0]
        assert stored() == []

    def test_it_forgets_a_file_after_a_day(self, wares: Importing) -> None:
        wares.upload(TWO)
        page = wares.check(way="insert")
        PendingImport.objects.update(created_at=timezone.now() - dt.timedelta(days=1, seconds=1))
        assert "upload it again" in told(wares.confirm(page))[0]
        wares.upload(TWO)
        assert PendingImport.objects.count() == 1

    def test_it_says_that_a_file_is_gone_that_was_replaced_during_its_check(
        self, wares: Importing, monkeypatch: pytest.MonkeyPatch
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

    def test_it_leaves_columns_without_a_name_out(self, wares: Importing) -> None:
        wares.write("sku,,name,price,\nA,1,x,1,\n", way="insert")
        assert stored("sku", "name") == [("A", "x")]

    def test_it_takes_a_column_for_the_field_that_another_is_named_after(self, wares: Importing) -> None:
        wares.write("name,label,sku,price\nwrong,right,A,1\n", way="insert", column_0="", column_1="name")
        assert stored("sku", "name") == [("A", "right")]

    def test_it_keeps_what_the_model_fills(self, person: Callable[..., Client]) -> None:
        titled = Importing(person("titled"), "titled")
        titled.write("title,alias\nABC,\nDEF,  \n", way="insert")
        found = Titled.objects.order_by("pk").values_list("title", "slug", "alias")
        assert list(found) == [("ABC", "abc", None), ("DEF", "def", None)]
        pk = Titled.objects.get(title="ABC").pk
        titled.write(f"id,title\n{pk},XYZ\n", way="update")
        assert Titled.objects.get(pk=pk).slug == "xyz"

    def test_it_has_no_file_of_an_impossible_name(self, wares: Importing) -> None:
        for answer in (
            wares.client.get(f"{wares.base}import/%00/", follow=True),
            wares.client.post(f"{wares.base}import/%00/confirm/", follow=True),
        ):
            assert "upload it again" in told(answer)[0]

    def test_it_says_what_clean_import_row_gave_wrongly(
        self, wares: Importing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def add(self: Any, request: Any, row: dict[str, Any]) -> dict[str, Any]:
            return row | {"bin": None}

        monkeypatch.setattr(WareAdmin, "clean_import_row", add)
        wares.upload(TWO)
        problem = "clean_import_row() gave 'bin': name values by the fields' attname."
        assert errors(wares.check(way="insert")) == [(None, "", problem)]

    def test_it_refuses_keys_that_become_equal(
        self, wares: Importing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def upper(self: Any, request: Any, row: dict[str, Any]) -> dict[str, Any]:
            return row | {"sku": row["sku"].upper()}

        monkeypatch.setattr(WareAdmin, "clean_import_row", upper)
        wares.upload("sku,name,price\na,x,1\nA,y,1\n")
        assert [line for line, *_ in errors(wares.check(way="upsert:sku"))] == [3]

    def test_it_takes_a_line_as_csv_does(self, wares: Importing) -> None:
        wares.write("sku,name,no\x0bte\u2028,price\nA,x\u2028y,z,1\n", way="insert")
        assert stored("sku", "name") == [("A", "x\u2028y")]

    def test_it_has_no_page_that_writes_without_a_check(self, wares: Importing) -> None:
        wares.upload(TWO)
        for answer in (
            wares.client.get(f"{wares.columns_url}confirm/", follow=True),
            wares.client.post(f"{wares.columns_url}confirm/", follow=True),
            wares.client.post(f"{wares.columns_url}confirm/", {"check": "None"}, follow=True),
        ):
            assert answer.status_code == 200
        assert stored() == []


class TestPermissions:
    def test_it_lets_nobody_in_without_one(self, person: Callable[..., Client]) -> None:
        client = person("ware", "view")
        assert client.get("/admin/testapp/ware/import/").status_code == 403
        assert "import/" not in client.get("/admin/testapp/ware/").content.decode()
        assert Client().get("/admin/testapp/ware/import/").status_code == 302

    def test_it_offers_what_somebody_may(self, person: Callable[..., Client]) -> None:
        def offered(*permissions: str) -> list[str]:
            page = Importing(person("ware", *permissions, name="-".join(permissions)), "ware")
            form = page.upload(TWO).context["form"]
            return [value for value, _ in form.fields["way"].choices]

        assert offered("add", "view") == ["insert"]
        assert offered("change", "view") == ["update"]
        assert offered("add", "change", "view") == ["insert", "update", "upsert:sku"]

    def test_it_asks_again_when_it_writes(self, wares: Importing) -> None:
        wares.upload(TWO)
        page = wares.check(way="upsert:sku")
        user = page.wsgi_request.user
        user.user_permissions.set(user.user_permissions.filter(codename="add_ware"))
        assert "Select a valid choice" in text_of(wares.confirm(page))
        assert stored() == []

    def test_it_gives_nobody_the_file_of_another(
        self, wares: Importing, person: Callable[..., Client]
    ) -> None:
        wares.upload(TWO)
        page = wares.check(way="insert")
        wares.client = person("ware", name="eve")
        assert "upload it again" in told(wares.client.get(wares.columns_url, follow=True))[0]
        assert "upload it again" in told(wares.confirm(page))[0]
        assert stored() == []

    def test_it_changes_no_row_that_somebody_cannot_see(self, person: Callable[..., Client]) -> None:
        theirs = Owned.objects.create(owner="bob", title="theirs")
        own = Owned.objects.create(owner="ann", title="own")
        page = Importing(person("owned"), "owned")
        form = page.upload(f"id,title\n{own.pk},a\n{theirs.pk},b\n").context["form"]
        assert [value for value, _ in form.fields["way"].choices] == ["insert", "update"]
        assert [error[:2] for error in errors(page.check(way="update"))] == [(3, "id")]
        page.confirm(page.check(way="update", skips_bad_rows="on"))
        assert sorted(Owned.objects.values_list("title", flat=True)) == ["a", "theirs"]
        fields = page.client.get(f"{page.base}import/").context["fields"]
        assert [field.name for field in fields] == ["id", "title"]
