"""What tests of PostgreSQL's own programs use."""

from __future__ import annotations

from pathlib import Path

import pytest

from project.services.cluster import wheel_folder


@pytest.fixture(scope="session")
def postgres_binaries() -> Path:
    """The folder of initdb, psql, pg_dump and the others."""
    return wheel_folder() / "bin"
