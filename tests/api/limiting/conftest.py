"""Servers of each kind, and limits switched on where a test says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from perfkit.conf import configured
from tests.caching.store.conftest import cluster, server_url, watch

__all__ = ["cluster", "server_url", "watch"]

LOCAL = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "limits"}}


def limits(**options: Any) -> override_settings:
    """Switch limits on, with options; what was counted inside the process is forgotten."""
    values = {"RATE_LIMIT_ENABLED": True, "CACHE_TIMEOUT": 5.0, **options}
    return override_settings(PERFKIT={**configured(), **values})


@pytest.fixture
def local(settings: Any) -> Iterator[None]:
    """Count inside the process."""
    settings.CACHES = LOCAL
    with limits():
        yield
