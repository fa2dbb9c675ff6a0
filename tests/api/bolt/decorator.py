"""What django-bolt gets to see of a handler, and what its errors become, without a server."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import warnings
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.signals import request_finished, request_started
from django.db import OperationalError
from django_bolt import BoltAPI

from perfkit.api.bolt import json_handler
from perfkit.errors import PageError, UnavailableError


def list_groups(cursor: str | None = None, *, page_size: int = 20) -> bytes:
    return str(Group.objects.filter(pk=page_size).query).encode()


def ask(handler: Any, *args: Any) -> tuple[int, Any, dict[str, str]]:
    response = asyncio.run(json_handler(handler)(*args))
    return response.status_code, json.loads(response.content), response.headers


def test_it_has_the_parameters_of_the_handler_which_stays_as_it_is() -> None:
    handler = json_handler(list_groups)
    assert inspect.signature(handler) == inspect.signature(list_groups)
    assert inspect.iscoroutinefunction(handler)
    assert handler.__name__ == "list_groups"
    assert "return" not in handler.__annotations__
    assert list_groups.__annotations__["return"] == "bytes"


def test_django_bolt_takes_it_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BoltAPI().get("/groups")(json_handler(list_groups))


def test_a_sync_handler_runs_in_a_thread_of_its_request_between_the_signals() -> None:
    threads: list[threading.Thread] = []

    def note(**_: Any) -> None:
        threads.append(threading.current_thread())

    def handler() -> bytes:
        note()
        return b"1"

    request_started.connect(note)
    request_finished.connect(note)
    try:
        assert ask(handler)[:2] == (200, 1)
    finally:
        request_started.disconnect(note)
        request_finished.disconnect(note)
    assert len(threads) == 3
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread()


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (PageError("page", 0, "is not a page"), 422, {}),
        (UnavailableError("the secret address does not answer"), 503, {"Retry-After": "1"}),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_perfkits_errors_are_answers(
    error: Exception, status: int, headers: dict[str, str], is_async: bool
) -> None:
    def handler() -> bytes:
        raise error

    async def async_handler() -> bytes:
        raise error

    found, told, sent = ask(async_handler if is_async else handler)
    assert (found, sent) == (status, headers)
    assert "secret" not in str(told)


def test_another_error_of_the_database_is_raised() -> None:
    def handler() -> bytes:
        raise OperationalError("out of shared memory")

    with pytest.raises(OperationalError, match="out of shared memory"):
        ask(handler)
