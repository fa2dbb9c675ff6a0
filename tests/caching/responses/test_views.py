"""Decorated views, through Django's handler: when a page is made, and when it goes."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from perfkit.caching import cache_response, invalidate
from perfkit.caching.responses.views import PageCache
from perfkit.errors import KeyTemplateError
from perfkit.signals import cache_read
from tests.caching.responses import urls
from tests.testapp.models import Booking, Item

pytestmark = pytest.mark.django_db(transaction=True)

KINDS = ("item", "plain", "rendered", "async", "view", "direct", "async-view", "api/items", "api/async-items")


def new_calls(calls: list[str]) -> int:
    made = len(calls)
    calls.clear()
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_made_once_and_again_after_a_write(
    kind: str, item: Item, calls: list[str], client: Client
) -> None:
    url = f"/{kind}/{item.pk}"
    for name in ("old", "new"):
        Item.plain.filter(pk=item.pk).update(name=name)
        pages = [client.get(url) for _ in range(3)]
        assert {page.status_code for page in pages} == {200}
        assert len({page.content for page in pages}) == 1
        assert name.encode() in pages[0].content
        assert new_calls(calls) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_so_it_is_where_the_handler_is_asynchronous(kind: str, item: Item, calls: list[str]) -> None:
    async def ask() -> list[bytes]:
        client = AsyncClient()
        return [(await client.get(f"/{kind}/{item.pk}")).content for _ in range(3)]

    for name in ("old", "new"):
        Item.plain.filter(pk=item.pk).update(name=name)
        pages = async_to_sync(ask)()
        assert len(set(pages)) == 1
        assert name.encode() in pages[0]
        assert new_calls(calls) == 1


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("item", "item"),
        ("view", "ItemView"),
        ("direct", "DirectView"),
        ("async", "async_item"),
        ("api/items", "item_out"),
        ("api/wrapped-items", "wrapped_item_out"),
        ("api/async-items", "async_item_out"),
    ],
)
def test_a_page_is_told_by_the_name_of_its_view(url: str, name: str, item: Item, client: Client) -> None:
    """Whatever decorates the view."""
    found: set[str] = set()

    def listen(sender: Any, **_: Any) -> None:
        if isinstance(sender, PageCache):
            found.add(sender.name)

    cache_read.connect(listen)
    assert client.get(f"/{url}/{item.pk}").status_code == 200
    cache_read.disconnect(listen)
    assert found == {f"tests.caching.responses.urls.{name}"}


def test_a_hit_sends_no_query(item: Item, client: Client) -> None:
    client.get(f"/item/{item.pk}")
    with CaptureQueriesContext(connection) as queries:
        assert client.get(f"/item/{item.pk}").content == b"old"
    assert len(queries) == 0


def test_a_page_of_one_row_outlives_writes_of_others(item: Item, calls: list[str], client: Client) -> None:
    other = Item.plain.create(name="other")
    for _ in range(3):
        client.get(f"/item/{item.pk}")
        Item.plain.filter(pk=other.pk).update(name="another")
    assert new_calls(calls) == 1


def test_a_page_of_declared_rows_outlives_writes_of_others(calls: list[str], client: Client) -> None:
    north = Booking.plain.create(name="a", zone="north")
    south = Booking.plain.create(name="b", zone="south")
    for _ in range(2):
        assert client.get("/zone/north").content == b"['a']"
        if connection.vendor == "postgresql":  # SQLite cannot tell what a row was before
            south.save()
    assert new_calls(calls) == 1
    north.name = "c"
    north.save()
    assert client.get("/zone/north").content == b"['c']"


def test_a_page_that_is_posted_to_is_not_what_get_shows(item: Item, calls: list[str], client: Client) -> None:
    url = f"/view/{item.pk}"
    client.get(url)
    for name in ("new", "newer"):
        assert client.post(url, {"name": name}).content == b"written"
        assert client.get(url).content == name.encode()


def test_a_view_that_writes_is_called_each_time(
    item: Item, calls: list[str], told: list[str], client: Client
) -> None:
    for count in (1, 2, 3):
        client.get(f"/writes/{item.pk}")
        assert Item.plain.get(pk=item.pk).count == count
    assert new_calls(calls) == 3
    assert "bypass it writes" in told


def test_what_is_read_of_tables_that_nobody_watches_is_not_kept(
    calls: list[str], told: list[str], client: Client
) -> None:
    for _ in range(2):
        client.get("/note")
    assert new_calls(calls) == 2
    assert "bypass untracked table" in told


def test_raw_sql_is_seen(item: Item, calls: list[str], client: Client) -> None:
    for name in ("old", "new"):
        Item.plain.filter(pk=item.pk).update(name=name)
        for _ in range(2):
            assert name.encode() in client.get("/raw").content
        assert new_calls(calls) == 1


def test_an_error_is_not_kept(calls: list[str], client: Client) -> None:
    client.raise_request_exception = False
    for code in (404, 201, 500):
        for _ in range(2):
            assert client.get(f"/status/{code}").status_code == code
        assert new_calls(calls) == 2, code


def test_a_missing_row_is_found_once_it_is_there(client: Client) -> None:
    client.raise_request_exception = False
    assert client.get("/item/4711").status_code == 500
    Item.plain.create(pk=4711, name="there")
    for _ in range(2):
        assert client.get("/item/4711").content == b"there"


@pytest.mark.postgres
def test_within_a_transaction_pages_are_shown_and_made(
    item: Item, calls: list[str], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    for name in ("old", "new"):
        Item.plain.filter(pk=item.pk).update(name=name)
        for _ in range(2):
            assert client.get(f"/item/{item.pk}").content == name.encode()
        assert new_calls(calls) == 1


def test_a_transaction_sees_its_own_writes_and_shows_them_to_nobody(item: Item, client: Client) -> None:
    with transaction.atomic():
        Item.plain.filter(pk=item.pk).update(name="never")
        request = RequestFactory().get(f"/item/{item.pk}")
        assert urls.item(request, pk=item.pk).content == b"never"
        transaction.set_rollback(True)
    assert client.get(f"/item/{item.pk}").content == b"old"


def test_pages_are_voided_by_tag_by_view_and_by_pattern(calls: list[str], client: Client) -> None:
    def ask() -> int:
        for pk in (1, 2):
            client.get(f"/tagged/{pk}")
        return new_calls(calls)

    assert [ask(), ask()] == [2, 0]
    invalidate(tags=["item:1"])
    assert ask() == 1
    urls.tagged.kept_pages.invalidate()
    assert ask() == 2
    invalidate("page:*")
    assert ask() == 2
    assert ask() == 0


def test_a_project_may_tell_pages_apart_by_more(calls: list[str], client: Client) -> None:
    seen: list[tuple[str, int]] = []

    @cache_response(ttl=60, key=lambda request, pk: [request.headers.get("X-Kind", "-"), str(pk)])
    def view(request: object, pk: int) -> object:
        seen.append(("called", pk))
        return urls.text("a text")

    def ask(kind: str, pk: int) -> None:
        view(RequestFactory().get("/same", headers={"X-Kind": kind}), pk=pk)

    for _ in range(2):
        ask("a", 1)
        ask("b", 1)
        ask("a", 2)
    assert len(seen) == 3


def test_wrong_options_are_refused_where_the_view_is_decorated() -> None:
    with pytest.raises(ValueError, match="ttl"):
        cache_response(ttl=0)
    with pytest.raises(ValueError, match="max_age"):
        cache_response(max_age=-1)
    with pytest.raises(KeyTemplateError):
        cache_response(tags=["item:{pk"])(urls.text)


def test_a_tag_that_the_address_does_not_have_is_an_error() -> None:
    view = cache_response(tags=["item:{pk}"])(lambda request: urls.text("a text"))
    with pytest.raises(KeyTemplateError, match="pk"):
        view(RequestFactory().get("/"))


def test_a_method_that_is_decorated_as_a_function_is_an_error() -> None:
    with pytest.raises(TypeError, match="method_decorator"):
        cache_response()(lambda self, request: None)(object(), RequestFactory().get("/"))


def test_with_the_cache_switched_off_nothing_changes(
    item: Item, calls: list[str], client: Client, settings: object
) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}  # type: ignore[attr-defined]
    for _ in range(2):
        page = client.get(f"/item/{item.pk}")
        assert page.content == b"old"
        assert not page.has_header("ETag")
    assert new_calls(calls) == 2


def test_each_has_a_page_of_their_own_where_it_is_kept_for_users(
    db: None, calls: list[str], settings: object
) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_MODELS": ["auth.User"]}  # type: ignore[attr-defined]
    clients = {}
    for name in ("ann", "bob"):
        clients[name] = Client()
        clients[name].force_login(User.objects.create_user(name, first_name=f"{name} the first"))
    clients[""] = Client()
    new_calls(calls)
    for _ in range(2):
        for name, client in clients.items():
            page = client.get("/own")
            assert page.content.decode().startswith(name)
            assert page["Cache-Control"] == "private, no-cache"
            assert "Cookie" in page["Vary"]
    assert new_calls(calls) == 3
    User.objects.filter(username="ann").update(first_name="of another name")
    assert clients["ann"].get("/own").content == b"ann of another name"
    assert clients["ann"].get("/own").content == b"ann of another name"
    assert new_calls(calls) == 1


def test_a_page_with_a_fragment_is_kept_by_what_the_fragment_looks_at(
    db: None, calls: list[str], client: Client
) -> None:
    for what in ("nothing", "path"):
        pages = [client.get(f"/with-fragment/{what}") for _ in range(3)]
        assert {page.content for page in pages} == {
            b"a text" if what == "nothing" else b"/with-fragment/path"
        }
        assert not pages[2].has_header("Vary")
    assert new_calls(calls) == 2
    for _ in range(2):
        for agent in ("one", "two"):
            page = Client(headers={"User-Agent": agent}).get("/with-fragment/agent")
            assert (page.content.decode(), page["Vary"]) == (agent, "User-Agent")
    assert new_calls(calls) == 2
    for _ in range(2):
        assert client.get("/with-fragment/theme", headers={"Cookie": "theme=dark"}).content == b"dark"
        assert client.get("/with-fragment/theme").content == b""
    assert new_calls(calls) in {3, 4}


def test_a_page_with_a_fragment_that_shows_the_user_is_kept_for_visitors(db: None, calls: list[str]) -> None:
    member = Client()
    member.force_login(User.objects.create_user("ann"))
    for _ in range(2):
        assert Client().get("/with-fragment/user").content == b""
        assert member.get("/with-fragment/user").content == b"ann"
    assert new_calls(calls) == 1 + 2


@pytest.mark.parametrize("path", ["/own", "/own-async"])
@pytest.mark.parametrize("is_watched", [True, False])
def test_a_page_of_a_user_is_never_older_than_their_row(
    path: str, calls: list[str], client: Client, told: list[str], settings: LazySettings, *, is_watched: bool
) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_MODELS": ["auth.User"] if is_watched else []}
    client.force_login(User.objects.create_user("ann", first_name="old"))
    new_calls(calls)
    for name in ("old", "new", "newer"):
        User.objects.filter(username="ann").update(first_name=name)
        for _ in range(3):
            assert client.get(path).content.decode() == f"ann {name}"
    assert new_calls(calls) == (3 if is_watched else 9)
    assert ("bypass untracked table" in told) is not is_watched


def test_a_page_of_a_user_that_does_not_look_at_them_needs_nobody_to_watch(
    calls: list[str], client: Client, django_user_model: type[User]
) -> None:
    client.force_login(django_user_model.objects.create_user("ann"))
    new_calls(calls)
    for _ in range(2):
        client.get("/own-long")
    assert new_calls(calls) == 1
