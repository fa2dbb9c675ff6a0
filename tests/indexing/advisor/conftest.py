"""Fixtures of the advisor's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from tests.indexing.advisor.shop import shop_in


@pytest.fixture
def shop(transactional_db: None) -> Iterator[None]:
    """A shop in the test database, outside a transaction."""
    with shop_in(connection):
        yield
