"""The page of the cache: who may see it, what it says, and that it voids what was named, for who may."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from perfkit.caching.coherence import breaker
from perfkit.caching.counting import counting
from perfkit.caching.store import current_store
from perfkit.models import PendingInvalidation
from perfkit.signals import cache_read
from tests.admin.conftest import text_of, told
from tests.caching.conftest import forget_everything, write_unseen
from tests.caching.test_counting import Function
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/perfkit/cache/"
VOID = f"{PAGE}invalidate/"


@pytest.fixture(autouse=True)
def _fresh(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(counting, "taker", None)  # what others have measured on the same server
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 5.0, "CACHE_RETRY_AFTER": 0.1}
    forget_everything()
    store = current_store()
    assert store is not None
    store.clear()
    yield
    forget_everything()
    store.clear()


@pytest.fixture
def viewer(person: Callable[..., Client]) -> Client:
    return person("cache", "view")


@pytest.fixture
def voider(person: Callable[..., Client]) -> Client:
    return person("cache", "view", "invalidate", name="vic")


def count(sender: Any, *, hits: int = 0, misses: int = 0, **bypasses: int) -> None:
    for outcome, reason, times in [
        ("hit", "", hits),
        ("miss", "", misses),
        *(("bypass", reason, times) for reason, times in bypasses.items()),
    ]:
        for _ in range(times):
            cache_read.send(sender=sender, outcome=outcome, reason=reason)


def labels(page: Any) -> list[str]:
    return [reads.label for reads in page.context["rows"]]


class TestPermissions:
    def test_strangers_are_sent_to_the_login(self, db: None) -> None:
        for address in (PAGE, VOID):
            answer = Client().get(address)
            assert (answer.status_code, answer["Location"]) == (302, f"/admin/login/?next={address}")
            assert Client().post(address, {"name": "testapp.Item"}).status_code == 302

    def test_people_who_are_no_staff_are_too(self, db: None) -> None:
        client = Client()
        client.force_login(User.objects.create_user("joe"))
        assert client.get(PAGE).status_code == 302

    def test_staff_without_the_permission_is_refused(self, person: Callable[..., Client]) -> None:
        client = person("ware", "view")
        for address in (PAGE, VOID):
            assert client.get(address).status_code == 403
            assert client.post(address, {"name": "testapp.Item"}).status_code == 403
        assert PAGE not in client.get("/admin/").content.decode()

    def test_who_may_view_finds_it_and_cannot_void(self, viewer: Client) -> None:
        assert f'href="{PAGE}"' in viewer.get("/admin/").content.decode()
        page = viewer.get(PAGE)
        assert page.status_code == 200
        assert VOID not in page.content.decode()
        assert viewer.post(VOID, {"name": "testapp.Item"}).status_code == 403
        assert viewer.get(VOID).status_code == 403

    def test_who_may_void_and_not_view_does_neither(self, person: Callable[..., Client]) -> None:
        client = person("cache", "invalidate")
        assert client.get(PAGE).status_code == 403
        assert client.post(VOID, {"name": "testapp.Item"}).status_code == 403

    def test_a_superuser_may_do_both(self, db: None) -> None:
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        assert VOID in client.get(PAGE).content.decode()

    def test_there_is_nothing_else_to_do(self, db: None) -> None:
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        for address in ("add/", "1/change/", "1/delete/", "1/history/"):
            assert client.get(PAGE + address).status_code == 404
        assert 'class="addlink"' not in client.get("/admin/perfkit/").content.decode()

    def test_a_form_of_another_site_is_refused(self, db: None) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(User.objects.create_superuser("root"))
        assert client.post(VOID, {"name": "testapp.Item"}).status_code == 403


class TestPage:
    def test_it_shows_what_was_counted(self, viewer: Client, settings: LazySettings) -> None:
        count(Item, hits=1234, misses=100)
        count(Function("shop.top"), misses=1, size=3)
        page = viewer.get(PAGE)
        text = text_of(page)
        assert "testapp.Item 1,234 100 92.5% 0" in text
        assert "shop.top 0 1 0.0% 3" in text
        assert "size shop.top 3" in text
        assert "Too large to keep 3" in text
        settings.LANGUAGE_CODE = "de"
        assert "testapp.Item 1.234 100 92,5% 0" in text_of(viewer.get(PAGE))

    def test_it_sorts(self, viewer: Client) -> None:
        count(Item, hits=1, misses=9)
        count(Function("b"), hits=8)
        count(Function("a"), hits=3, misses=1)
        orders = {
            "": ["testapp.Item", "b", "a"],
            "?o=label": ["a", "b", "testapp.Item"],
            "?o=-label": ["testapp.Item", "b", "a"],
            "?o=-hits": ["b", "a", "testapp.Item"],
            "?o=rate": ["testapp.Item", "a", "b"],
            "?o=-rate&window=day": ["b", "a", "testapp.Item"],
            "?o=password": ["testapp.Item", "b", "a"],
        }
        assert {query: labels(viewer.get(PAGE + query)) for query in orders} == orders
        page = viewer.get(f"{PAGE}?o=-hits&window=day&evil=1").content.decode()
        assert 'aria-sort="descending"><a href="?window=day&amp;o=hits"' in page
        assert 'href="?window=day&amp;o=-misses"' in page
        assert "evil" not in re.sub(r"<form.*?</form>", "", page, flags=re.DOTALL)

    def test_it_takes_any_window(self, viewer: Client) -> None:
        assert viewer.get(f"{PAGE}?window=day").context["found"].window == "day"
        assert viewer.get(f"{PAGE}?window=<i>").context["found"].window == "hour"

    def test_it_counts_keys_where_that_is_asked_for(self, viewer: Client) -> None:
        assert viewer.get(PAGE).context["found"].store.own_keys is None
        assert viewer.get(f"{PAGE}?keys=1").context["found"].store.own_keys >= 0

    def test_hostile_names_stay_text(self, viewer: Client) -> None:
        count(Function("<script>alert(1)</script>"), hits=1, **{"<img src=x onerror=alert(1)>": 1})
        page = viewer.get(PAGE).content.decode()
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page

    def test_it_needs_no_script_or_style_of_its_own(self, voider: Client) -> None:
        count(Item, hits=1, misses=1, size=1)
        page = voider.get(PAGE).content.decode()
        main = page[page.index('id="content-main"') : page.index("</main>")]
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", main)

    def test_it_asks_the_database_for_the_person_alone(
        self, viewer: Client, django_assert_max_num_queries: Any
    ) -> None:
        count(Item, hits=1)
        with django_assert_max_num_queries(4):
            viewer.get(PAGE)

    def test_it_says_that_caching_is_off(self, viewer: Client, settings: LazySettings) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}
        assert "Caching is off." in text_of(viewer.get(PAGE))

    @pytest.mark.redis
    def test_it_says_that_the_server_is_down(
        self, viewer: Client, settings: LazySettings, valkey_server: Callable[[], DisposableValkey]
    ) -> None:
        server = valkey_server()
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 0.5}
        settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
        count(Item, hits=3)
        assert "errornote" not in viewer.get(PAGE).content.decode()
        server.kill()
        page = viewer.get(PAGE)
        assert page.status_code == 200
        assert "The cache server does not answer, and reads go to the database" in text_of(page)


class TestInvalidate:
    def void(self, client: Client, name: str) -> Any:
        return client.post(VOID, {"name": name}, follow=True)

    def test_it_voids_a_model_and_writes_that_down(self, voider: Client) -> None:
        item = Item.plain.create(name="old")
        Item.objects.get(pk=item.pk)
        write_unseen("testapp_item")
        assert Item.objects.get(pk=item.pk).name == "old"
        page = self.void(voider, " testapp.item ")
        assert told(page) == ["Invalidated testapp.item: from now on a read asks the database first."]
        assert page.redirect_chain == [(PAGE, 302)]
        assert Item.objects.get(pk=item.pk).name == "new"
        entry = LogEntry.objects.get()
        assert (entry.user.username, entry.object_repr, entry.change_message) == (
            "vic",
            "testapp.item",
            "Invalidated.",
        )
        assert entry.get_admin_url() is None
        assert "testapp.item" in voider.get("/admin/").content.decode()

    def test_it_takes_a_tag(self, voider: Client) -> None:
        store = current_store()
        assert store is not None
        before = store.take(["t:prices"])
        self.void(voider, "tag:prices")
        assert store.take(["t:prices"]) != before

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("testapp.Itm", "Did you mean 'testapp.Item'?"),
            ("<script>", "is neither a model nor a tag"),
            ("", "This field is required."),
            ("tag:a\x00b", "Null characters are not allowed."),
            ("x" * 501, "at most 500 characters"),
        ],
    )
    def test_it_says_what_is_wrong(self, voider: Client, name: str, problem: str) -> None:
        page = self.void(voider, name)
        assert page.status_code == 200
        assert problem in text_of(page)
        assert "<script>&" not in page.content.decode()
        assert not LogEntry.objects.exists()

    def test_its_address_leads_to_the_page(self, voider: Client) -> None:
        assert voider.get(VOID)["Location"] == PAGE

    @pytest.mark.redis
    @pytest.mark.postgres
    def test_it_says_where_it_waits_in_an_outage(
        self, voider: Client, settings: LazySettings, valkey_server: Callable[[], DisposableValkey]
    ) -> None:
        server = valkey_server()
        settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
        server.kill()
        [message] = told(self.void(voider, "testapp.Item"))
        assert "waits in the database" in message
        assert PendingInvalidation.objects.count() == 1
        assert "by the outbox" in LogEntry.objects.get().change_message
        breaker.succeeded()


def test_its_model_has_no_rows_to_dump(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    PendingInvalidation.objects.create(tags="[]", writer="a")
    call_command("dumpdata", "perfkit")
    assert "perfkit.cache" not in capsys.readouterr().out
