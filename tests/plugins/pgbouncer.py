"""PgBouncer in transaction mode, before the PostgreSQL of the run: each transaction may get another session."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from project.services.account import server_account
from project.services.processes import free_port
from project.services.state import LOOPBACK

SESSIONS = 2
"""Of PostgreSQL, that all clients share; tests may ask for another number by a parameter of the fixture."""

CONFIGURATION = """\
[databases]
* = {server}

[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
ignore_startup_parameters = extra_float_digits
"""


def pgbouncer_program() -> str | None:
    """Return the program; None where it is not on the path."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def is_done_without() -> bool:
    """Say whether this run leaves the tests on it out; never in CI, where they fail instead."""
    return pgbouncer_program() is None and os.environ.get("CI") != "true"


@pytest.fixture
def pgbouncer(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[int]:
    """Send this test's connections through a PgBouncer of its own, declared as in a project; yields its port."""
    program = pgbouncer_program()
    if program is None:
        pytest.fail("There is no pgbouncer here: install Debian's package of that name.")
    server = connection.settings_dict
    direct = {key: server[key] for key in ("HOST", "PORT", "DISABLE_SERVER_SIDE_CURSORS")}
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        process = start(program, Path(folder), port, sessions=getattr(request, "param", SESSIONS))
        try:
            wait_until_it_answers(process, port)
            connection.close()
            server.update(HOST=LOOPBACK, PORT=port, DISABLE_SERVER_SIDE_CURSORS=True)
            yield port
        finally:
            connection.close()
            server.update(direct)
            process.terminate()
            process.wait(timeout=20)


def start(program: str, folder: Path, port: int, *, sessions: int) -> subprocess.Popen[bytes]:
    account = server_account(folder / "none")  # it refuses root, as PostgreSQL does
    path = folder / "pgbouncer.ini"
    path.touch(mode=0o600)
    named = {key.lower(): connection.settings_dict[key] for key in ("HOST", "PORT", "USER", "PASSWORD")}
    server = " ".join(f"{key}={value}" for key, value in named.items() if value)
    path.write_text(CONFIGURATION.format(server=server, host=LOOPBACK, port=port, sessions=sessions))
    identity = {}
    if account is not None:
        for each in (folder, path):
            account.own(each)
        identity = {"user": account.uid, "group": account.gid, "extra_groups": []}
    return subprocess.Popen([program, "--quiet", path], **identity)  # type: ignore[call-overload]


def wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    server = connection.settings_dict
    deadline = time.monotonic() + 20
    while True:
        assert process.poll() is None, "PgBouncer has ended."
        try:
            psycopg.connect(host=LOOPBACK, port=port, user=server["USER"], dbname=server["NAME"]).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return
