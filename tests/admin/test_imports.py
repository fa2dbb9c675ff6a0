"""The import of CSV files in the admin: nothing is written until what was seen is confirmed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from perfkit.models import PendingImport
from tests.admin.conftest import TWO, Importing, errors, stored, text_of, told
from tests.testapp.imported import Bin, Token, Ware

pytestmark = pytest.mark.django_db(transaction=True)


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
