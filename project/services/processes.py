"""Which processes are ours, which ports are free, and how a command is run."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from project.services.account import Account
from project.services.state import LOOPBACK, ServiceError

PATIENCE_SECONDS: Final = 60
HIGHEST_PORT: Final = 65_535
SERVER_PORTS: Final = range(10_000, 32_000)
_named: Final[set[int]] = set()
"""The ports that this process has chosen; their servers may not have begun yet."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time start or stop the servers of `folder`; the others wait."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def servers_in(folder: Path, executable: str) -> list[psutil.Process]:
    """Return the living processes of this executable that work in `folder`, oldest first.

    A server works in its data folder, so this knows ours from any other, whatever number a stale file names.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == executable and is_alive(process) and Path(process.cwd()) == folder.resolve():
                found.append((process.create_time(), process.pid, process))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it has just ended, or belongs to somebody else
    return [process for _, _, process in sorted(found, key=lambda item: item[:2])]


def is_alive(process: psutil.Process) -> bool:
    """Say whether a process still does anything; in a container an ended one may stay listed as a zombie."""
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(processes: Sequence[psutil.Process], *, seconds: float = 10) -> None:
    """End processes of ours that do not answer: politely first, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in filter(is_alive, processes):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        if wait_for_end(processes, seconds=seconds):
            return


def wait_for_end(processes: Sequence[psutil.Process], *, seconds: float = 10) -> bool:
    """Wait until all of these processes have ended, and say whether they have."""
    deadline = time.monotonic() + seconds
    while any(map(is_alive, processes)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_free(port: int) -> bool:
    """Say whether a server could listen on this loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a loopback port that is free at this moment, another one at each call.

    Not one of those that the system lends to outgoing connections, as binding to port 0 would: another program's
    connection might have it before a server is started there.
    """
    while True:
        port = SERVER_PORTS.start + secrets.randbelow(len(SERVER_PORTS))  # tests seed `random` alike
        if port in _named:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        _named.add(port)
        return port


def fixed_port(variable: str) -> int | None:
    """Return the port that this environment variable asks for.

    Raises:
        ServiceError: It names no port.
    """
    text = os.environ.get(variable)
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= HIGHEST_PORT:
        raise ServiceError(f"{variable}={text!r} must be a port: a number from 1 to {HIGHEST_PORT}.")
    return int(text)


def choose_port(fixed: int | None, last: int | None, *, variable: str) -> int:
    """Return the fixed port, else the one used last, else any free one.

    Raises:
        ServiceError: The fixed one is taken.
    """
    if fixed is not None:
        if not is_free(fixed):
            raise ServiceError(
                f"Port {fixed} ({variable}) is taken by another program: free it or choose another."
            )
        return fixed
    return last if last is not None and is_free(last) else free_port()


def run(
    command: Sequence[str | Path], *, account: Account | None = None, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a short command as `account`, in a folder that everybody may enter, with `text` as its input.

    Variables like PGHOST or PGOPTIONS are kept from it, and its messages are in English.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return subprocess.run(  # noqa: S603  # commands are lists, from installed packages
        [str(part) for part in command],
        input=text,
        capture_output=True,
        text=True,
        cwd="/",
        env={**environment, "LC_ALL": "C"},
        check=False,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
