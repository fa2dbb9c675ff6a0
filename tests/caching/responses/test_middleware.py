"""The middleware: pages of views that know nothing of it."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import AsyncClient, Client

from perfkit.caching.responses.middleware import is_chosen
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True)

OWN = "perfkit.caching.responses.middleware.ResponseCacheMiddleware"


@pytest.fixture(autouse=True)
def _middleware(settings: LazySettings) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, OWN]


def new_calls(calls: list[str]) -> int:
    made = len(calls)
    calls.clear()
    return made


@pytest.mark.parametrize("kind", ["untouched", "async-untouched"])
@pytest.mark.parametrize("is_async", [False, True])
def test_it_keeps_pages_of_any_view(kind: str, item: Item, calls: list[str], *, is_async: bool) -> None:
    def ask() -> bytes:
        if is_async:
            return bytes(async_to_sync(AsyncClient().get)(f"/{kind}/{item.pk}").content)
        return bytes(Client().get(f"/{kind}/{item.pk}").content)

    for name in (b"old", b"new"):
        Item.plain.filter(pk=item.pk).update(name=name.decode())
        assert {ask() for _ in range(3)} == {name}
        assert new_calls(calls) == 1


def test_what_a_template_reads_is_seen_and_its_middleware_runs(
    item: Item, calls: list[str], client: Client, settings: LazySettings
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE[:-1], "tests.caching.responses.test_middleware.add_item", OWN]
    for name in ("old", "new"):
        Item.plain.filter(pk=item.pk).update(name=name)
        for _ in range(2):
            for kind in ("rendered", "untouched-rendered"):
                page = client.get(f"/{kind}/{item.pk}")
                assert page.content == f"<p>{name}</p><p>of the middleware</p>".encode()
        assert new_calls(calls) == 2 + 1, (
            "the decorator cannot see what the middleware does, and keeps nothing"
        )


class add_item:  # noqa: N801  # stands in MIDDLEWARE
    """Adds a row to what templates show."""

    def __init__(self, get_response: object) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> object:
        return self._get_response(request)  # type: ignore[operator]

    def process_template_response(self, request: HttpRequest, response: object) -> object:
        response.context_data["items"] = [  # type: ignore[attr-defined]
            *response.context_data["items"],  # type: ignore[attr-defined]
            Item(name="of the middleware"),
        ]
        return response


def test_a_view_that_keeps_its_pages_itself_is_left_alone(
    item: Item, calls: list[str], told: list[str], client: Client
) -> None:
    for _ in range(2):
        client.get(f"/item/{item.pk}")
        client.get(f"/api/items/{item.pk}")
    assert new_calls(calls) == 2
    assert set(told) == {"miss", "hit", "bypass kept by its view"}
    assert client.get(f"/item/{item.pk}")["ETag"]


def test_addresses_are_chosen_by_the_settings(
    item: Item, calls: list[str], client: Client, settings: LazySettings
) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_RESPONSES_ALLOW": ["/other/"]}
    client.get(f"/untouched/{item.pk}")
    client.get(f"/untouched/{item.pk}")
    assert new_calls(calls) == 2
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_RESPONSES_ALLOW": ["/other/", "/untouched/"]}
    client.get(f"/untouched/{item.pk}")
    client.get(f"/untouched/{item.pk}")
    assert new_calls(calls) == 1
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_RESPONSES_DENY": [rf"/.*/{item.pk}$"]}
    client.get(f"/untouched/{item.pk}")
    assert new_calls(calls) == 1


@pytest.mark.parametrize(
    ("path", "allow", "deny", "chosen"),
    [
        ("/", (), (), True),
        ("/admin/", (), ("/admin/",), False),
        ("/en/admin/", (), ("/admin/",), True),
        ("/api/a", ("/api/",), (), True),
        ("/b/api/a", ("/api/",), (), False),
        ("/api/a", ("/api/",), ("/api/a$",), False),
    ],
)
def test_a_path_is_chosen(path: str, allow: tuple[str, ...], deny: tuple[str, ...], *, chosen: bool) -> None:
    assert is_chosen(path, allow, deny) == chosen


def test_a_login_that_a_middleware_demands_stays_in_front(
    item: Item, calls: list[str], client: Client, settings: LazySettings
) -> None:
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE[:-1],
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
        OWN,
    ]
    client.force_login(User.objects.create_user("ann"))
    for _ in range(2):
        assert client.get(f"/untouched/{item.pk}").content == b"old"
        assert Client().get(f"/untouched/{item.pk}").status_code == 302


def test_a_missing_page_stays_missing(client: Client) -> None:
    for _ in range(2):
        assert client.get("/nowhere").status_code == 404


def test_nothing_of_a_user_is_kept_whichever_middleware_stands_behind(
    item: Item, calls: list[str], settings: LazySettings
) -> None:
    """In the wrong order it keeps less, and nothing of another."""
    settings.MIDDLEWARE = [OWN, *settings.MIDDLEWARE[:-1]]
    ann = Client()
    ann.force_login(User.objects.create_user("ann"))
    for _ in range(2):
        assert ann.get("/user").content == b"ann"
        assert Client().get("/user").content == b""
        assert ann.get(f"/untouched/{item.pk}").content == b"old"
