from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from perfkit.api.limiting.identity import aclient_of, checked, client_of
from perfkit.errors import UsageError

ADDRESS = "address 192.0.2.1"


class Nameless:
    pass


@dataclass
class Token:
    key: str


class Named:
    def __str__(self) -> str:
        return "robot 7"


def request_of(**attributes: Any) -> HttpRequest:
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1")
    for name, value in attributes.items():
        setattr(request, name, value)
    return request


def both(request: HttpRequest, by: Any) -> str | None:
    found = client_of(request, by)
    assert asyncio.run(aclient_of(request, by)) == found
    return found


@pytest.mark.parametrize("by", ["user", "key"])
@pytest.mark.parametrize(
    ("auth", "name"),
    [
        ("secret", "str secret"),
        (7, "int 7"),
        ("7", "str 7"),
        (uuid.UUID(int=7), f"UUID {uuid.UUID(int=7)}"),
        (User(pk=7), "auth.user 7"),
        (Group(pk=7), "auth.group 7"),
        (SimpleLazyObject(lambda: User(pk=7)), "auth.user 7"),
        ({"sub": "alice", "exp": 1}, "sub alice"),
        (Token("secret"), "Token Token(key='secret')"),
        (Named(), "Named robot 7"),
        (None, ADDRESS),
        (True, ADDRESS),
        (AnonymousUser(), ADDRESS),
        (Nameless(), ADDRESS),
    ],
)
def test_it_names_whom_the_view_has_authenticated(by: str, auth: Any, name: str) -> None:
    assert both(request_of(auth=auth), by) == name


def test_it_says_once_that_a_kind_of_client_has_no_name(caplog: pytest.LogCaptureFixture) -> None:
    class Unheard:
        pass

    with caplog.at_level(logging.WARNING, "perfkit.api"):
        for _ in range(3):
            assert both(request_of(auth=Unheard()), "key") == ADDRESS
    assert len(caplog.records) == 1
    assert "Unheard" in caplog.text


def test_it_asks_the_session_only_for_users() -> None:
    async def auser() -> User:
        return User(pk=9)

    def refused() -> User:
        raise AssertionError("nobody may look")

    assert both(request_of(user=User(pk=9), auser=auser), "user") == "auth.user 9"
    unseen = request_of(user=SimpleLazyObject(refused), auser=refused)
    assert both(unseen, "key") == both(unseen, "address") == ADDRESS
    assert both(unseen, "everyone") == "everyone"


def test_somebody_who_is_not_logged_in_counts_by_address() -> None:
    async def auser() -> AnonymousUser:
        return AnonymousUser()

    assert both(request_of(user=AnonymousUser(), auser=auser), "user") == ADDRESS
    assert both(request_of(), "user") == ADDRESS


def test_a_function_may_name_clients() -> None:
    assert both(request_of(), lambda request: request.method) == "named GET"
    assert both(request_of(), lambda request: None) is None


def test_clients_of_different_kinds_never_share_a_name() -> None:
    names = [
        both(request_of(auth="192.0.2.1"), "key"),
        both(request_of(), "key"),
        both(request_of(), lambda request: "192.0.2.1"),
        both(request_of(auth=7), "key"),
        both(request_of(auth="7"), "key"),
        both(request_of(auth=User(pk=7)), "key"),
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("by", ["ip", "", None, 5])
def test_it_refuses_what_clients_cannot_be_told_apart_by(by: Any) -> None:
    with pytest.raises(UsageError, match="A limit is by 'user', 'key', 'address', 'everyone' or a function"):
        checked(by)
