"""A standby of the run's PostgreSQL server: a real one, that streams what the primary writes."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from project.services.cluster import Cluster
from project.services.processes import end, free_port
from project.services.state import LOOPBACK

ALIAS = "replica"


class Standby:
    """The server, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._cluster = Cluster(folder, is_durable=False)
        self.port = free_port()
        if self._cluster.account is not None:
            self._cluster.account.own(folder)

    def start(self) -> None:
        """Copy the primary and follow it; the standby answers when this returns."""
        server = connection.settings_dict
        way = f"postgres://{server['USER']}:{quote(server['PASSWORD'])}@{server['HOST']}:{server['PORT']}/"
        data = self._cluster.data
        self._run("pg_basebackup", "-d", way, "-D", data, "-R", "-c", "fast", "--no-sync")
        self._cluster.configure(port=self.port)
        self._run("pg_ctl", "start", "-D", data, "-l", self._cluster.log, "-w", "-t", "60")

    def stop(self) -> None:
        self._cluster.program("pg_ctl", "stop", "-D", self._cluster.data, "-m", "immediate", "-w")
        end(self._cluster.servers())
        self._cluster.delete()

    def ask(self, sql: str, *params: Any) -> Any:
        """Return the first value of an answer."""
        server = connection.settings_dict
        with psycopg.connect(
            host=LOOPBACK,
            port=self.port,
            user=server["USER"],
            password=server["PASSWORD"],
            dbname=server["NAME"],
            autocommit=True,
        ) as direct:
            row = direct.execute(sql, params).fetchone()
            assert row is not None
            return row[0]

    def pause(self) -> None:
        """Let it show from now on what it shows now; it goes on hearing of the rest."""
        self.ask("SELECT pg_wal_replay_pause()::text")
        self._wait(lambda: self.ask("SELECT pg_get_wal_replay_pause_state()") == "paused")

    def resume(self) -> None:
        self.ask("SELECT pg_wal_replay_resume()::text")

    def catch_up(self) -> None:
        """Wait until it shows all that the primary has written by now."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_wal_insert_lsn()::text")
            [(position,)] = cursor.fetchall()
        seen = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        self._wait(lambda: self.ask(seen, position))

    def _run(self, name: str, *arguments: str | Path) -> None:
        outcome = self._cluster.program(name, *arguments)
        assert outcome.returncode == 0, outcome.stderr

    @staticmethod
    def _wait(claim: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not claim():
            assert time.monotonic() < deadline, "The standby did not come to that in time."
            time.sleep(0.01)


@pytest.fixture
def _may_connect(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests connect to a database that Django's own machinery knew nothing of when the run began."""
    guarded = BaseDatabaseWrapper.ensure_connection

    def ensure_connection(self: BaseDatabaseWrapper) -> None:
        if self.alias != ALIAS:
            guarded(self)
        elif self.connection is None:
            with self.wrap_database_errors:
                self.connect()

    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", ensure_connection)


@pytest.fixture(scope="module")
def standby_server(django_db_setup: None) -> Iterator[Standby]:
    """A standby of the test database."""
    folder = Path(tempfile.mkdtemp(prefix="perfkit-standby-"))
    server = Standby(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def standby(standby_server: Standby, _may_connect: None) -> Iterator[Standby]:
    """A standby that follows, and that Django knows as `ALIAS`; nothing is routed to it."""
    connections.settings[ALIAS] = {**connection.settings_dict, "HOST": LOOPBACK, "PORT": standby_server.port}
    yield standby_server
    connections[ALIAS].close()
    del connections[ALIAS]
    del connections.settings[ALIAS]
    standby_server.resume()
