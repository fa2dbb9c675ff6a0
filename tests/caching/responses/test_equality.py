"""Whatever is asked in whatever order: a kept page is what the view would have returned, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.caching import cache_response
from perfkit.caching.responses.learnt import forget_learnt
from perfkit.caching.store import current_store
from tests.caching.responses.decoders import body_of
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True)

HEADERS = {
    "Accept-Language": ["de", "en;q=0.5, de"],
    "X-Kind": ["a", "b"],
    "Accept-Encoding": ["gzip", "br, gzip;q=0.5", "zstd"],
}
COOKIES = ["", "theme=dark", "theme=light; seen=1"]
OF_THE_CACHE = {
    "ETag",
    "Cache-Control",
    "Vary",
    "Age",
    "Content-Encoding",
    "Content-Length",
    "Expires",
    "Date",
}


@dataclass(frozen=True)
class Does:
    """What a view looks at, and what it says of that."""

    looks: tuple[str, ...]
    vary: str
    control: str
    is_long: bool


@dataclass(frozen=True)
class Asks:
    method: str
    query: str
    headers: tuple[tuple[str, str], ...]
    cookie: str
    member: str
    writes: bool = field(default=False)


LOOKS: dict[str, Callable[[HttpRequest], Any]] = {
    "row": lambda request: list(Item.plain.values_list("name", "count").order_by("pk")),
    "cookie": lambda request: request.COOKIES.get("theme"),
    "cookies": lambda request: sorted(request.COOKIES),
    "kind": lambda request: request.headers.get("X-Kind"),
    "language": lambda request: request.META.get("HTTP_ACCEPT_LANGUAGE"),
    "user": lambda request: request.user.get_username(),
    "session": lambda request: request.session.get("cart"),
    "query": lambda request: sorted(pair for pair in request.GET.lists() if pair[0] != "utm_source"),
    "meta": lambda request: "HTTP_X_KIND" in request.META,
}

views = st.builds(
    Does,
    st.lists(st.sampled_from(sorted(LOOKS)), max_size=4, unique=True).map(tuple),
    st.sampled_from(["", "", "", "X-Kind", "Cookie", "Accept-Language, X-Kind", "*"]),
    st.sampled_from(["", "", "", "public", "private", "max-age=60"]),
    st.booleans(),
)
requests = st.builds(
    Asks,
    st.sampled_from(["GET", "GET", "GET", "HEAD"]),
    st.sampled_from(["", "a=1", "a=1&b=2", "b=2&a=1", "a=1&utm_source=x"]),
    st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(values) for name, values in HEADERS.items()}
    ).map(lambda found: tuple(sorted(found.items()))),
    st.sampled_from(COOKIES),
    st.sampled_from(["", "", "ann", "bob"]),
    st.booleans(),
)

does: Does


def view(request: HttpRequest) -> HttpResponse:
    found = [LOOKS[look](request) for look in does.looks]
    response = HttpResponse(repr(found) + " and so on" * (200 if does.is_long else 1))
    if does.vary:
        response["Vary"] = does.vary
    if does.control:
        response["Cache-Control"] = does.control
    return response


urlpatterns = [path("plain", view), path("kept", cache_response(ttl=60)(view))]


@pytest.fixture
def clients(settings: LazySettings) -> dict[str, Client]:
    settings.ROOT_URLCONF = __name__
    found = {"": Client()}
    for name in ("ann", "bob"):
        found[name] = Client()
        found[name].force_login(User.objects.create_user(name))
        session = found[name].session
        session["cart"] = f"of {name}"
        session.save()
    Item.plain.create(name="an item")
    return found


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(given_view=views, given_requests=st.lists(requests, min_size=2, max_size=9))
def test_a_kept_page_is_what_the_view_returns(
    clients: dict[str, Client], given_view: Does, given_requests: list[Asks]
) -> None:
    global does  # noqa: PLW0603  # the view that stands in the URLs
    does = given_view
    forget_learnt()
    store = current_store()
    assert store is not None
    store.clear()
    for number, asked in enumerate(given_requests):
        if asked.writes:
            Item.plain.update(count=number, name=f"of write {number}")
        kept, plain = (ask(clients[asked.member], url, asked) for url in ("/kept", "/plain"))
        assert kept.status_code == plain.status_code == 200
        assert body_of(kept) == body_of(plain)
        assert headers(kept) == headers(plain)
        assert {part.strip().lower() for part in plain.get("Vary", "").split(",") if part} <= {
            part.strip().lower() for part in kept.get("Vary", "").split(",")
        }


def ask(client: Client, url: str, asked: Asks) -> Any:
    sent = dict(asked.headers)
    own = client.cookies.output(header="", sep=";").split(";")[0].strip()
    cookie = "; ".join(part for part in (own, asked.cookie) if part)
    return client.generic(
        asked.method, f"{url}?{asked.query}", headers={**sent, **({"Cookie": cookie} if cookie else {})}
    )


def headers(response: Any) -> dict[str, str]:
    return {name: value for name, value in response.items() if name not in OF_THE_CACHE}
