"""Nobody gets a page that was made for another: what a view looks at, and what it says."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.caching.responses.urls import LOOKS, SAYS

pytestmark = pytest.mark.django_db(transaction=True)


def new_calls(calls: list[str]) -> int:
    made = len(calls)
    calls.clear()
    return made


SECRETS: dict[str, dict[str, str]] = {
    "cookie": {"Cookie": "theme=dark"},
    "raw cookies": {"Cookie": "theme=dark"},
    "cookie header": {"Cookie": "theme=dark"},
    "all cookies": {"Cookie": "theme=dark"},
    "api key": {"X-Api-Key": "secret"},
    "authorization": {"Authorization": "Bearer secret"},
}


@pytest.mark.parametrize("at", SECRETS)
def test_what_is_made_of_a_secret_is_not_kept(at: str, calls: list[str], client: Client) -> None:
    for _ in range(2):
        page = client.get(f"/looks/{at}", headers=SECRETS[at])
        assert b"dark" in page.content or b"secret" in page.content
        assert b"dark" not in client.get(f"/looks/{at}").content
        assert b"secret" not in client.get(f"/looks/{at}").content
    # Those who have none share a page; it may take one to learn of it.
    assert new_calls(calls) in {3, 4}


@pytest.mark.parametrize("at", ["agent", "agent of META", "address"])
def test_what_else_is_looked_at_tells_pages_apart(at: str, calls: list[str]) -> None:
    for _ in range(3):
        for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.2")):
            page = Client(REMOTE_ADDR=address, headers={"User-Agent": name}).get(f"/looks/{at}")
            assert page.content.decode() in {name, address}
            assert ("User-Agent" in page.get("Vary", "")) == (at != "address")
            assert page["Cache-Control"] == ("no-cache" if at != "address" else "private, no-cache")
    assert new_calls(calls) == 2


@pytest.mark.parametrize("at", ["all headers", "all of META", "csrf", "a new message"])
def test_what_depends_on_everything_or_on_a_token_is_not_kept(
    at: str, calls: list[str], told: list[str], client: Client
) -> None:
    for _ in range(2):
        client.get(f"/looks/{at}")
    assert new_calls(calls) == 2
    assert [each for each in told if each.startswith("bypass")] != []


@pytest.mark.parametrize("at", ["session", "session key", "user", "authenticated", "messages"])
def test_a_visitor_gets_no_page_of_a_user(at: str, calls: list[str]) -> None:
    members = []
    for name in ("ann", "bob"):
        member = Client()
        member.force_login(User.objects.create_user(name))
        session = member.session
        session["cart"] = f"of {name}"
        session.save()
        members.append(member)
    new_calls(calls)
    for _ in range(2):
        pages = [client.get(f"/looks/{at}") for client in (Client(), *members, Client())]
        assert pages[0].content == pages[3].content
        assert "Cookie" in pages[0]["Vary"]
        if at == "user":
            assert [page.content for page in pages[:3]] == [b"", b"ann", b"bob"]
        elif at == "session":
            assert [page.content for page in pages[:3]] == [b"empty", b"of ann", b"of bob"]
        elif at == "session key":
            keys = [member.session.session_key for member in members]
            assert [page.content.decode() for page in pages[:3]] == ["none", *keys]
        elif at == "authenticated":
            assert [page.content for page in pages[:3]] == [b"False", b"True", b"True"]
    # Visitors share one, users get their own each time; messages are looked for in a cookie of their own first.
    assert new_calls(calls) == (1 if at == "messages" else 1 + 2 * 2)


def test_a_template_that_shows_the_user_is_the_same(calls: list[str], client: Client) -> None:
    assert client.get("/user").content == b""
    assert Client().get("/user").content == b""
    assert new_calls(calls) == 1
    client.force_login(User.objects.create_user("ann"))
    for _ in range(2):
        assert client.get("/user").content == b"ann"
        assert Client().get("/user").content == b""
    assert new_calls(calls) == 2


def test_login_stays_in_front_of_a_kept_page(calls: list[str], client: Client) -> None:
    client.force_login(User.objects.create_user("ann"))
    for _ in range(2):
        assert client.get("/behind-login").content == b"for members"
        assert Client().get("/behind-login").status_code == 302
    assert new_calls(calls) == 1, "the page itself looks at nobody"


def test_authentication_of_an_operation_stays_in_front_of_its_page(calls: list[str], client: Client) -> None:
    client.force_login(User.objects.create_user("ann"))
    for _ in range(2):
        assert client.get("/api/members").json() == {"for": "members"}
        assert Client().get("/api/members").status_code == 401


def test_an_authorization_is_answered_by_the_view(calls: list[str], client: Client) -> None:
    for _ in range(2):
        client.get("/looks/nothing", headers={"Authorization": "Bearer one"})
    assert new_calls(calls) == 2
    client.get("/looks/nothing")
    client.get("/looks/nothing")
    client.get("/looks/nothing", headers={"Authorization": "Bearer one"})
    assert new_calls(calls) == 2


@pytest.mark.parametrize("path", ["/checks-token", "/checks-token-and-keeps"])
def test_a_credential_is_looked_at_by_the_view_even_where_its_answer_is_public(
    path: str, calls: list[str], told: list[str]
) -> None:
    for _ in range(2):
        for token, status in (("Bearer good", 200), ("Bearer evil", 401), ("", 401)):
            headers = {"Authorization": token} if token else {}
            assert Client(headers=headers).get(path).status_code == status
    if path == "/checks-token":
        assert new_calls(calls) == 6
        assert told.count("bypass Authorization") == 4
    else:
        assert new_calls(calls) == 1 + 2 * 2, "the good one's page is kept for itself"


def test_a_public_page_is_kept_for_those_without_a_credential(calls: list[str], client: Client) -> None:
    for headers in ({}, {"Authorization": "one"}, {}):
        assert client.get("/says/public", headers=headers).content == b"a text"
    assert new_calls(calls) == 2


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/kept-by-theme", "Cookie"),
        ("/kept-by-key", "X-Api-Key"),
        ("/kept-by-authorization", "Authorization"),
        ("/says/vary cookie", "Cookie"),
    ],
)
def test_what_is_declared_tells_pages_apart(url: str, name: str, calls: list[str], client: Client) -> None:
    values = ["theme=dark", "theme=light"]
    for _ in range(3):
        for value in values:
            page = client.get(url, headers={name: value})
            assert page.content.decode() in {value, value.partition("=")[2]}
            assert name in page["Vary"]
    assert new_calls(calls) == 2


def test_what_is_to_be_ignored_is_ignored(calls: list[str], client: Client) -> None:
    for agent in ("a", "b"):
        assert client.get("/kept-whatever-agent", headers={"User-Agent": agent}).content == b"a"
    assert new_calls(calls) == 1


NOT_KEPT = {
    "private": "says private",
    "no-store": "says no-store",
    "no-cache": "says no-cache",
    "never": "says private",
    "stale": "says it is stale",
    "expired": "says it is stale",
    "vary *": "varies on everything",
    "cookie": "sets a cookie",
    "stream": "streaming",
    "file": "streaming",
    "range": "status",
    "large": "size",
}


@pytest.mark.parametrize("what", NOT_KEPT)
def test_a_response_that_may_not_be_kept_is_not(
    what: str, calls: list[str], told: list[str], client: Client
) -> None:
    for _ in range(2):
        page = client.get(f"/says/{what}")
        assert not page.has_header("ETag")
        page.close()
    assert new_calls(calls) == 2
    assert f"bypass {NOT_KEPT[what]}" in told


@pytest.mark.parametrize("what", sorted(SAYS.keys() - NOT_KEPT.keys()))
def test_all_others_are(what: str, calls: list[str], client: Client) -> None:
    pages = [client.get(f"/says/{what}") for _ in range(2)]
    assert new_calls(calls) == 1
    assert pages[0].content == pages[1].content


def test_every_look_is_tried() -> None:
    tried = {
        *SECRETS,
        "agent",
        "agent of META",
        "address",
        "all headers",
        "all of META",
        "csrf",
        "a new message",
    }
    assert LOOKS.keys() - tried == {
        "session",
        "session key",
        "user",
        "authenticated",
        "messages",
        "language",
        "zone",
        "nothing",
    }
