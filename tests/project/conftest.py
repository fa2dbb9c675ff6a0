"""The demo is tested with its own settings of what is watched."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _demo_cache_models(settings: Any) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_MODELS": settings.DEMO_CACHE_MODELS}
