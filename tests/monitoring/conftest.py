"""Measuring as on servers, apart from the thread: a test tells itself, and reads what it has told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import LazySettings

from perfkit.caching.counting import counting
from perfkit.monitoring import installing, statements
from perfkit.monitoring.boards import LOOPS, PROCESSES, STATEMENTS, boards, boards_of
from perfkit.monitoring.generations import Generations
from perfkit.monitoring.ledgers import Ledger, current_ledger
from perfkit.monitoring.recording import recorder
from perfkit.monitoring.series import TOTALS, WINDOWS, total_page
from perfkit.monitoring.summary import Summary, read_summary
from tests.caching.conftest import forget_everything
from tests.plugins.valkey import DisposableValkey

MIDDLEWARE = [
    "perfkit.monitoring.metrics",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]


class Measured:
    """What was measured since the test began."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def summary(self, since: str = "1h") -> Summary:
        return read_summary(since)

    def ledger(self) -> Ledger:
        recorder.tell()
        return current_ledger()

    def text(self) -> str:
        """All that the ledger holds, pages of the last hours and boards, as text."""
        ledger = self.ledger()
        now = self._now()
        pages = [total_page(kind) for kind in TOTALS]
        for window in WINDOWS:
            pages += [window.name(window.part(now) - back) for back in range(3)]
        held = ledger.read(pages)
        days = [name for board in (STATEMENTS, LOOPS) for name in boards_of(board, now - 3600, now)]
        posted = ledger.posted([PROCESSES, *days])
        assert any(held)
        return repr((held, posted))


def begin(settings: LazySettings, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
    monkeypatch.setattr(recorder, "_has_thread", False)
    settings.PERFKIT = {
        **settings.PERFKIT,
        "METRICS_ENABLED": True,
        "CACHE_KEY_PREFIX": f"measured-{uuid4().hex[:8]}",
        **options,
    }
    installing.begin()
    counting.begin_anew()
    monkeypatch.setattr(statements, "_seen", {})
    monkeypatch.setattr(statements, "_known", Generations(statements.MOST_TEXTS))
    monkeypatch.setattr(statements, "_others", set())
    monkeypatch.setattr(boards, "_notes", {"statements": {}, "loops": {}})
    monkeypatch.setattr(boards, "_new", {"statements": {}, "loops": {}})
    monkeypatch.setattr(boards, "_used", {"statements": set(), "loops": set()})
    monkeypatch.setattr(boards, "_posted_at", -inf)


@pytest.fixture
def measured(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Measured]:
    """Metrics are on, with a fresh ledger inside the process."""
    location = uuid4().hex
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": location}
    }
    begin(settings, monkeypatch)
    yield Measured(recorder._now)
    recorder.forget()


@pytest.fixture
def server(
    valkey_server: Callable[[], DisposableValkey], settings: LazySettings
) -> Iterator[DisposableValkey]:
    """A cache server that may be killed, and is this process's."""
    server = valkey_server()
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
    yield server
    forget_everything()


@pytest.fixture
def measured_on_server(
    server: DisposableValkey, settings: LazySettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Measured]:
    """Metrics are on, told to a server of their own."""
    folder = tmp_path / "journals"
    begin(settings, monkeypatch, METRICS_DIRECTORY=str(folder), CACHE_RETRY_AFTER=0.1)
    yield Measured(recorder._now)
    recorder.forget()
