"""What the tests of the monitoring pages share: ledgers that hold a day, and the switch that is on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.conf import settings as current
from django.test import Client, override_settings

from perfkit.monitoring.ledgers import Ledger, current_ledger
from perfkit.monitoring.recording import recorder
from tests.admin.monitoring.days import all_pages, write_day
from tests.caching.conftest import forget_everything

MINUTES = 30
EVERYTHING = ("view", "explain", "warm")


def options(prefix: str, **others: Any) -> dict[str, Any]:
    """Return the options of a project that measures, with keys of its own on the server."""
    return {
        **current.PERFKIT,
        "METRICS_ENABLED": True,
        "CACHE_TIMEOUT": 5.0,
        "CACHE_RETRY_AFTER": 0.1,
        "CACHE_KEY_PREFIX": prefix,
        **others,
    }


@pytest.fixture
def measuring(settings: LazySettings) -> Iterator[None]:
    """Measure, and know nothing yet."""
    settings.PERFKIT = options("pages")
    forget_everything()
    current_ledger().clear(all_pages())
    caches = settings.CACHES
    yield
    settings.CACHES = caches  # a test may have put a server there that is down by now
    recorder.forget()
    current_ledger().clear(all_pages())
    forget_everything()


@pytest.fixture
def ledger(measuring: None) -> Ledger:
    return current_ledger()


@pytest.fixture
def busy(ledger: Ledger) -> Ledger:
    """Half an hour of a busy project."""
    write_day(ledger, minutes=MINUTES)
    return ledger


@pytest.fixture(scope="module")
def whole_day() -> Iterator[dict[str, Any]]:
    """Write a whole day, and return the options of the project that has it."""
    found = options("day")
    with override_settings(PERFKIT=found):
        current_ledger().clear(all_pages())
        write_day(current_ledger())
        yield found
        current_ledger().clear(all_pages())


@pytest.fixture
def viewer(person: Callable[..., Client]) -> Client:
    return person("monitoring", "view", name="vera")


@pytest.fixture
def operator(person: Callable[..., Client]) -> Client:
    return person("monitoring", *EVERYTHING, name="otto")
