"""The API of `tests.api.views`, without limits except where a test sets them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import override_settings

from perfkit.conf import configured


@pytest.fixture(autouse=True)
def no_rate_limit() -> Iterator[None]:
    with override_settings(PERFKIT={**configured(), "RATE_LIMIT_ENABLED": False}):
        yield
