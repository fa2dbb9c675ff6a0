"""Jobs without a queue: a test runs them itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from django.conf import LazySettings

from perfkit.jobs.backends import JobBackend
from perfkit.jobs.beats import beats
from tests.caching.conftest import forget_everything
from tests.plugins.valkey import DisposableValkey


class NoJobs(JobBackend):
    """Takes what it is sent, and carries nothing."""

    sent: list[tuple[UUID, str, str | None]] = []

    def send(self, job_id: UUID, *, name: str, queue: str | None) -> None:
        self.sent.append((job_id, name, queue))


class NoQueue(JobBackend):
    """Cannot be reached."""

    def send(self, job_id: UUID, *, name: str, queue: str | None) -> None:
        raise ConnectionError("nobody is there")


@pytest.fixture(autouse=True)
def _no_beats_outlive_their_test() -> Iterator[None]:
    yield
    beats.end()


@pytest.fixture
def sent(settings: LazySettings) -> list[tuple[UUID, str, str | None]]:
    """What was sent so far."""
    use(settings, "NoJobs")
    NoJobs.sent.clear()
    return NoJobs.sent


def use(settings: Any, backend: str) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "JOB_BACKEND": f"tests.jobs.conftest.{backend}"}


@pytest.fixture
def server(
    valkey_server: Callable[[], DisposableValkey], settings: LazySettings
) -> Iterator[DisposableValkey]:
    """A cache server that may be killed, and is this process's."""
    server = valkey_server()
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
    yield server
    forget_everything()
