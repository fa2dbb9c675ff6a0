"""The page of a whole day: what it asks; how long it takes, the benchmark of the room says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from perfkit.caching.store.redis import RedisStore
from perfkit.monitoring.recording import recorder
from tests.admin.conftest import text_of

pytestmark = [pytest.mark.redis, pytest.mark.django_db]

PAGE = "/admin/perfkit/monitoring/"
MOST_ASKED = 10


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent to the cache server by this thread of the test, one name for each round trip."""
    names: list[str] = []
    own = threading.get_ident()
    call = RedisStore._call

    def counted(store: RedisStore, command: Callable[..., Any]) -> Any:
        if threading.get_ident() == own:  # not that which tells what is measured
            names.append(command.__qualname__)
        return call(store, command)

    monkeypatch.setattr(RedisStore, "_call", counted)
    return names


@pytest.mark.parametrize("since", ["15m", "1h", "6h", "24h"])
def test_it_asks_little_and_is_quick(
    whole_day: dict[str, Any], settings: LazySettings, viewer: Client, asked: list[str], since: str
) -> None:
    settings.PERFKIT = whole_day
    viewer.get(PAGE, {"since": since})
    asked.clear()
    with CaptureQueriesContext(connection) as queries:
        page = viewer.get(PAGE, {"since": since})
    assert "/shop/a/" in text_of(page)
    assert len(queries) + len(asked) <= MOST_ASKED, (queries.captured_queries, asked)
    recorder.forget()
