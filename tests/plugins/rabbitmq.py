"""RabbitMQ, which counts priorities the other way: a node with a folder, a name and ports of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import amqp
import pytest

from project.services.processes import free_port, is_free
from project.services.state import LOOPBACK
from tests.plugins.nodes import wait_for

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
PLAIN = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's command on the path runs it as the system's service would; this one as it is told."""

STARTED = "Server startup complete"
PATIENCE_SECONDS = 90


def rabbitmq_server() -> str | None:
    """Return the program; None where it is not installed."""
    return str(PLAIN) if PLAIN.exists() else shutil.which("rabbitmq-server", path=PATH)


def is_done_without() -> bool:
    """Say whether this run leaves the tests on it out; never in CI, where they fail instead."""
    return rabbitmq_server() is None and os.environ.get("CI") != "true"


class DisposableRabbitmq:
    """A RabbitMQ for some tests: always on the same port, with what it had before it was killed.

    Args:
        folder: Where it keeps all that it writes, Erlang's cookie included.
    """

    def __init__(self, folder: Path) -> None:
        program, epmd = rabbitmq_server(), shutil.which("epmd", path=PATH)
        if program is None or epmd is None:
            pytest.fail("There is no rabbitmq-server here: install Debian's package of that name.")
        self.port = free_port()
        self.url = f"amqp://guest:guest@{LOOPBACK}:{self.port}//"
        self._program, self._epmd = program, epmd
        self._folder = folder
        self._output = folder / "output"
        self._names_port = free_port()
        self._environment = self._made_environment()
        self._names: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server; it answers when this returns."""
        assert self._process is None, "It runs already."
        if self._names is None:
            # Else the node would start one that stays.
            command = [self._epmd, "-port", str(self._names_port), "-address", LOOPBACK]
            self._names = self._popen(command)
        self._output.write_bytes(b"")
        self._process = self._popen([self._program])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while STARTED not in self._told():
            assert self._process.poll() is None, self._told()
            assert time.monotonic() < deadline, self._told()
            time.sleep(0.1)
        with amqp.Connection(f"{LOOPBACK}:{self.port}", connect_timeout=10):
            pass

    def kill(self) -> None:
        """End the server as a crash does: connections break, nothing is said."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let the server hang: it takes connections and never answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after a pause."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "It does not run."
        os.killpg(self._process.pid, number)

    def remove(self) -> None:
        """Stop it in order, and the daemon that knew its name."""
        if self._process is not None:
            self._end(signal.SIGTERM)
        if self._names is not None:
            self._names.terminate()
            self._names.wait(timeout=10)
            self._names = None

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        assert process is not None, "It does not run."
        os.killpg(process.pid, number)  # a shell waits for the server
        process.wait(timeout=60)
        wait_for(lambda: is_free(self.port))
        self._process = None

    def _popen(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self._output.open("ab") as output:
            return subprocess.Popen(
                command,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _told(self) -> str:
        return self._output.read_text("utf-8", "replace")[-6000:]

    def _made_environment(self) -> dict[str, str]:
        """Keep the node to its folder, to loopback, and away from the system's own."""
        files = {
            "environment": "",
            "enabled_plugins": "[].\n",
            "rabbitmq.conf": "loopback_users.guest = true\n",
        }
        for name, text in files.items():
            (self._folder / name).write_text(text)
        return {
            "PATH": PATH,
            "HOME": str(self._folder),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self._names_port),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "environment"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_NODENAME": f"tests{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
        }
