"""A server that counts statements, and a database on it whose role is nobody special."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from perfkit.postgres import database_settings
from tests.plugins.postgres import DisposablePostgres

PASSWORD = "only-for-tests"


class PreloadedPostgres:
    """Its database `shop` belongs to the role `plain`; each of its databases has the extension."""

    def __init__(self, server: DisposablePostgres) -> None:
        self._server = server
        self.run(
            f"CREATE ROLE plain LOGIN PASSWORD '{PASSWORD}'",
            "CREATE DATABASE shop OWNER plain",
        )

    @property
    def plain_url(self) -> str:
        """How the project gets there."""
        address = self._server.url.rpartition("@")[2].rpartition("/")[0]
        return f"postgres://plain:{PASSWORD}@{address}/shop"

    def restart(self) -> None:
        self.run("CHECKPOINT")  # a server of tests writes its log late
        self._server.kill()
        self._server.start()

    def run(self, *statements: str, database: str = "perfkit") -> None:
        """Run statements as a superuser."""
        with psycopg.connect(self._server.url, dbname=database, autocommit=True) as direct:
            for statement in statements:
                direct.execute(statement)


@pytest.fixture(scope="module")
def preloaded() -> Iterator[PreloadedPostgres]:
    """The server."""
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)  # root does not run PostgreSQL; who does must get in
        folder = Path(top) / "server"
        folder.mkdir()
        server = DisposablePostgres(folder)
        try:
            yield PreloadedPostgres(server)
        finally:
            server.remove()


@pytest.fixture
def plain(preloaded: PreloadedPostgres, transactional_db: None) -> Iterator[PreloadedPostgres]:
    """The server, with the project connected to it as the role without rights."""
    preloaded.run("SELECT pg_stat_statements_reset()", database="shop")
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(database_settings(preloaded.plain_url, pool_size=0))
    yield preloaded
    connection.close()
    connection.settings_dict.update(before)
