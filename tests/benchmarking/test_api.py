from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection

from perfkit.benchmarking import ask, declared
from perfkit.benchmarking.api import api_section
from perfkit.benchmarking.counting import counted, first_word
from perfkit.benchmarking.pairs import Effort
from perfkit.benchmarking.routes import addresses, own_path
from perfkit.benchmarking.sections import Section
from perfkit.benchmarking.switches import switchable
from perfkit.conf import options
from perfkit.errors import BenchmarkError
from tests.testapp.caching import Item, ItemNote

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.benchmarking.site")]

QUICK = Effort(rounds=2, budget_seconds=0.01)


@pytest.fixture
def rows() -> None:
    items = Item.plain.bulk_create([Item(name=f"No. {number}") for number in range(30)])
    ItemNote.objects.bulk_create([ItemNote(item=item, text="about it") for item in items])


@pytest.fixture(autouse=True)
def _nothing_declared() -> Iterator[None]:
    yield
    declared._asked.clear()


def section(*urls: str, user: Any = None, **values: str) -> Section:
    with switchable() as switch:
        return api_section(switch, urls, values=values, user=user, effort=QUICK, told=lambda text: None)


class TestAddresses:
    def test_it_finds_those_that_need_no_value(self) -> None:
        found, unknown = addresses({})
        assert found == [
            *("/items/", "/in/notes/", "/in/visits/", "/slow/", "/stream/"),
            *("/private/", "/elsewhere/", "/broken/"),
        ]
        assert unknown == ["/in/old/{number}/", "/one/{number}/"]

    def test_it_puts_values_in_their_places(self) -> None:
        found, unknown = addresses({"number": "7"})
        assert {"/one/7/", "/in/old/7/"} <= set(found)
        assert unknown == []

    @pytest.mark.urls("project.urls")
    def test_it_leaves_the_admin_and_documents_aside(self) -> None:
        found, unknown = addresses({})
        assert {"/", "/flights/", "/api/flights", "/api/airports"} <= set(found)
        assert not any(path.startswith(("/admin", "/api/docs", "/api/openapi")) for path in found)
        assert "/api/flights/{flight_id}" in unknown

    @pytest.mark.parametrize("url", ["items/", "http://example.org/items/", "//example.org/"])
    def test_it_refuses_what_is_not_of_this_site(self, url: str) -> None:
        with pytest.raises(BenchmarkError, match="must begin with one slash"):
            own_path(url)
        with pytest.raises(BenchmarkError, match="must begin with"):
            section(url)
        if not url.startswith("/"):
            with pytest.raises(BenchmarkError, match="must begin with a slash"):
                ask(url)


class TestMeasures:
    def test_it_measures_what_can_be_and_says_why_not_of_the_rest(self, rows: None) -> None:
        before = list(Item.plain.order_by("pk").values())
        found = section()
        assert [row["path"] for row in found.rows] == ["/items/", "/in/notes/", "/slow/"]
        said = "\n".join(found.notes)
        for path, reason in {
            "/in/visits/": "writes: INSERT",
            "/stream/": "stream",
            "/private/": "leads to /elsewhere/",
            "/elsewhere/": "leads to /items/",
            "/broken/": "500 Internal Server Error",
        }.items():
            assert f"Not measured: {path}: " in said
            assert reason in said
        assert "Not asked without --value NAME=VALUE: /in/old/{number}/, /one/{number}/." in said
        assert list(Item.plain.order_by("pk").values()) == before

    def test_it_counts_queries_without_the_cache_cold_and_warm(self, rows: None) -> None:
        [row] = section("/items/").rows
        assert (row["off_queries"], row["cold_queries"], row["warm_queries"]) == (1, 1, 0)
        assert row["bytes"] == len(str([f"No. {number}" for number in range(20)]).encode())
        assert row["ratio"] == pytest.approx(row["off_ms"] / row["warm_ms"])
        assert row["requests"] >= 8

    def test_it_warns_of_a_loop_and_of_slow_queries(self, rows: None, settings: Any) -> None:
        found = section("/in/notes/")
        assert [row["warm_queries"] for row in found.rows] == [31]
        assert any(
            warning.startswith("N+1 at /in/notes/: testapp.ItemNote.item x30") for warning in found.warnings
        )
        assert not any("SLOW QUERY" in warning for warning in found.warnings)
        settings.PERFKIT = {**settings.PERFKIT, "QUERY_SLOW_THRESHOLD": 0.0}
        [warning] = section("/slow/").warnings
        assert warning.startswith("SLOW QUERY at /slow/: ")
        assert "testapp_item" in warning

    def test_it_says_where_the_cache_is_passed_by(self, rows: None, settings: Any) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}
        assert "Past the cache, also when warm: /items/: disabled." in section("/items/").notes

    def test_it_refuses_a_named_address_that_cannot_be_measured(self, rows: None) -> None:
        for url, reason in {
            "/nowhere/": "404 Not Found",
            "/in/visits/": "a GET of it writes",
            "/stream/": "a stream",
        }.items():
            with pytest.raises(BenchmarkError, match=f"{url} cannot be measured: .*{reason}"):
                section(url)

    def test_it_asks_as_a_user_without_storing_a_session(self) -> None:
        user = User.objects.create_user("reader", password="secret")
        [row] = section("/private/", user=user).rows
        assert row["bytes"] == len("reader")
        assert not Session.objects.exists()
        user.refresh_from_db()
        assert user.last_login is None

    def test_it_asks_what_the_project_declares_first(self, rows: None) -> None:
        key = Item.plain.order_by("pk")[0].pk
        ask(f"/one/{key}/")
        assert section().rows[0]["path"] == f"/one/{key}/"

    def test_it_says_that_there_is_nothing_to_ask(self, settings: Any) -> None:
        settings.ROOT_URLCONF = "tests.benchmarking.empty_site"
        with pytest.raises(BenchmarkError, match="No address could be measured"):
            section()


class TestSwitch:
    def test_it_turns_the_cache_off_and_on_and_leaves_all_as_it_was(self) -> None:
        own = dict(django_settings.PERFKIT)
        with switchable() as switch:
            assert options.RATE_LIMIT_ENABLED is False
            switch.off()
            assert options.CACHE_ENABLED is False
            switch.on()
            assert options.CACHE_ENABLED is True
            switch.off()
        assert own == django_settings.PERFKIT
        assert options.CACHE_ENABLED is True


class TestCounting:
    def test_it_knows_what_writes(self) -> None:
        with counted() as sent:
            list(Item.plain.all())
            Item.plain.create(name="one")
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        assert len(sent.texts) == len(sent.seconds) == 3
        [text] = sent.writes
        assert text.startswith("INSERT")
        Item.plain.count()
        assert len(sent.texts) == 3, "what is sent after the block is not counted"

    def test_it_reads_the_first_word(self) -> None:
        assert first_word("(select 1) UNION select 2") == "SELECT"
        assert first_word("\n  update x set y = 1") == "UPDATE"
        assert first_word("") == ""
