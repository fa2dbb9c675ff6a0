"""RabbitMQ, which counts priorities the other way: a node with a folder, a name and ports of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import amqp
import pytest

from project.services.processes import free_port
from project.services.state import LOOPBACK

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
PLAIN = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's command on the path runs it as the system's service would; this one as it is told."""


def rabbitmq_server() -> str | None:
    """Return the program; None where it is not installed."""
    return str(PLAIN) if PLAIN.exists() else shutil.which("rabbitmq-server", path=PATH)


def is_done_without() -> bool:
    """Say whether this run leaves the tests on it out; never in CI, where they fail instead."""
    return rabbitmq_server() is None and os.environ.get("CI") != "true"


@pytest.fixture(scope="module")
def rabbitmq_url() -> Iterator[str]:
    """The URL of a RabbitMQ that answers, empty at first; gone after the module."""
    program = rabbitmq_server()
    if program is None:
        pytest.fail("There is no rabbitmq-server here: install Debian's package of that name.")
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = node_environment(folder, port)
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                [program], env=environment, cwd=folder, stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )
        try:
            wait_until_it_answers(process, port, folder / "output")
            yield f"amqp://guest:guest@{LOOPBACK}:{port}//"
        finally:
            process.terminate()
            process.wait(timeout=60)
            # The daemon that Erlang starts beside it listens on a port of this node's alone.
            epmd = shutil.which("epmd", path=PATH)
            if epmd is not None:
                subprocess.run([epmd, "-kill"], env=environment, check=False, capture_output=True)


def node_environment(folder: Path, port: int) -> dict[str, str]:
    """What keeps a node to its folder, to loopback, and away from the system's own."""
    (folder / "enabled_plugins").write_text("[].\n")
    (folder / "environment").touch()
    return {
        "PATH": PATH,
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "ERL_EPMD_PORT": str(free_port()),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "environment"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_NODENAME": f"tests{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
    }


def wait_until_it_answers(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = time.monotonic() + 90
    while True:
        assert process.poll() is None, output.read_text()
        try:
            with amqp.Connection(f"{LOOPBACK}:{port}", connect_timeout=2):
                return
        except (OSError, amqp.AMQPError):
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.2)
