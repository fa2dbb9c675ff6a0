"""Connections that prepare what asks for it, as the recommended settings have them, and others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from perfkit.api.compiling.statements import forget_statements
from perfkit.postgres.prepared import PREPARE_WHEN_ASKED

THRESHOLDS = [PREPARE_WHEN_ASKED, None] if connection.vendor == "postgresql" else [0]


@pytest.fixture(params=THRESHOLDS)
def _connection(db: None, request: pytest.FixtureRequest) -> Iterator[None]:
    forget_statements()
    if connection.vendor != "postgresql":
        yield
        return
    connection.ensure_connection()
    before = connection.connection.prepare_threshold
    connection.connection.prepare_threshold = request.param
    yield
    connection.connection.prepare_threshold = before
