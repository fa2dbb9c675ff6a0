"""What tests of PostgreSQL's own programs use, and servers that a test may kill."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import close_old_connections, connection
from django.test import Client

from perfkit.postgres import database_settings
from project.services.cluster import wheel_folder
from project.services.postgres import PostgresServer
from project.services.processes import is_alive, wait_for_end


@pytest.fixture(scope="session")
def postgres_binaries() -> Path:
    """The folder of initdb, psql, pg_dump and the others."""
    return wheel_folder() / "bin"


class ServedClient(Client):
    """Ends each request as a server does; else a test client would keep its connection, even a dead one."""

    def request(self, **request: Any) -> Any:
        try:
            return super().request(**request)
        finally:
            close_old_connections()


class DisposablePostgres:
    """A PostgreSQL server of a test's own: always on the same port, with what it had before it was killed."""

    def __init__(self, folder: Path) -> None:
        self._server = PostgresServer(folder, is_durable=False)
        self.url = self._server.start()

    def start(self) -> None:
        """Start the server again, on the port of before; it answers when this returns."""
        assert self._server.start() == self.url

    def kill(self) -> None:
        """End the server as a crash does: connections break, nothing is said."""
        processes = self._server.cluster.servers()
        assert processes, "It does not run."
        for process in filter(is_alive, processes):
            process.send_signal(signal.SIGKILL)
        assert wait_for_end(processes)

    def pause(self) -> None:
        """Let the server hang: it takes connections and never answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after a pause."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        processes = self._server.cluster.servers()
        assert processes, "It does not run."
        for process in filter(is_alive, processes):
            process.send_signal(number)

    def stop(self) -> None:
        """Stop it in order: sessions are told."""
        assert self._server.stop()

    def remove(self) -> None:
        self._server.remove()


@pytest.fixture(scope="module")
def _disposable_postgres() -> Iterator[DisposablePostgres]:
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)  # root does not run PostgreSQL; who does must get in
        folder = Path(top) / "server"
        folder.mkdir()
        server = DisposablePostgres(folder)
        yield server
        server.remove()


@pytest.fixture
def own_postgres(
    _disposable_postgres: DisposablePostgres, transactional_db: None
) -> Iterator[DisposablePostgres]:
    """A server that this test alone uses, through a pool as in production, and that it may kill."""
    _disposable_postgres.start()
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(database_settings(_disposable_postgres.url, wait_seconds=0.4))
    yield _disposable_postgres
    connection.close()
    connection.close_pool()
    connection.settings_dict.update(before)
