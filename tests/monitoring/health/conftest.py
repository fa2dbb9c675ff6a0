"""Each test finds a process that has never been probed, and leaves no check behind that still runs."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from perfkit.monitoring.health import registry, running
from perfkit.monitoring.health.probes import shared
from tests.caching.conftest import forget_everything


def stack_of(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return thread.name + "\n" + "".join(traceback.format_stack(frame))


def forget_probes() -> None:
    """Wait for the checks that run, and forget what they came to."""
    deadline = time.monotonic() + 60
    while left := [each for each in threading.enumerate() if each.name.startswith("perfkit-health")]:
        assert time.monotonic() < deadline, "\n".join(map(stack_of, left))
        time.sleep(0.005)
    shared.forget()
    running.runner._begin_anew()
    if "migrations" in registry._checks:
        from perfkit.monitoring.health import databases

        databases._migrated.clear()


@pytest.fixture(autouse=True)
def _fresh_probes(settings: Any) -> Iterator[None]:
    settings.PERFKIT = {**settings.PERFKIT, "HEALTH_TIMEOUT": 10.0, "CACHE_TIMEOUT": 5.0}
    forget_everything()
    forget_probes()
    yield
    forget_probes()
    forget_everything()


@pytest.fixture
def configure(settings: Any) -> Callable[..., None]:
    """A function that sets options."""

    def configure(**options: Any) -> None:
        settings.PERFKIT = {**settings.PERFKIT, **options}
        shared.forget()

    return configure


@pytest.fixture
def declare() -> Iterator[Callable[..., None]]:
    """A function that declares a check for this test."""
    names = []

    def declare(name: str, function: Any, **options: Any) -> None:
        registry.health_check(name, **options)(function)
        names.append(name)

    yield declare
    for name in names:
        registry.forget_check(name)
