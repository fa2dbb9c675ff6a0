"""What holds for the tests of benchmarks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.caching.conftest import forget_everything


@pytest.fixture(autouse=True)
def _patient_cache(settings: Any) -> None:
    """On a busy machine a slow answer of the cache server must not look like an outage.

    Nor does what another test has found out of the tables hold any more.
    """
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 5.0}
    forget_everything()
