"""A ledger of one test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from perfkit.caching import coherence
from perfkit.caching.store import forget_store
from perfkit.conf import configured
from perfkit.monitoring import recording


@pytest.fixture
def measured(settings: Any) -> Iterator[Any]:
    """Measure, and tell a ledger that nothing was told yet; the settings, to change more of them."""
    prefix = f"test-{uuid4().hex[:8]}"
    settings.PERFKIT = {
        **configured(),
        "METRICS_ENABLED": True,
        "METRICS_INTERVAL": 60.0,
        "CACHE_TIMEOUT": 5.0,
        "CACHE_KEY_PREFIX": prefix,
    }
    forget_store()
    coherence.breaker.succeeded()
    yield settings
    recording.recorder.forget()
    forget_store()
    coherence.breaker.succeeded()
