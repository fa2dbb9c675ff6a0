"""PostgreSQL 15 with hypopg, as Debian has both; the wheel's server has no hypopg."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from project.services.account import server_account
from project.services.processes import free_port, run
from project.services.state import LOOPBACK

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
CONTROL = Path("/usr/share/postgresql/15/extension/hypopg.control")
ROLE = "perfkit"

CONFIGURATION = """
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
fsync = off
autovacuum = off
timezone = 'UTC'
"""


def is_here() -> bool:
    """Say whether server and extension are installed."""
    return CONTROL.exists() and (PROGRAMS / "postgres").exists()


def is_done_without() -> bool:
    """Say whether this run leaves the tests on it out; never in CI, where they fail instead."""
    return not is_here() and os.environ.get("CI") != "true"


@pytest.fixture(scope="session")
def _hypopg_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if not is_here():
        pytest.fail(
            "There is no hypopg here: install Debian's packages postgresql-15 and postgresql-15-hypopg."
        )
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top)
        folder.chmod(0o755)  # root does not run PostgreSQL; who does must get in
        data = folder / "data"
        data.mkdir(mode=0o700)
        account = server_account(data)
        password = folder / "password"
        password.write_text(secrets.token_hex(16))
        if account is not None:
            account.own(data)
            account.own(password)
        port = free_port()
        made = run(
            [
                *(PROGRAMS / "initdb", "-D", data, "-U", ROLE, "--encoding=UTF8", "--locale=C"),
                *("--auth=scram-sha-256", f"--pwfile={password}", "--no-sync"),
            ],
            account=account,
        )
        assert made.returncode == 0, made.stderr
        with (data / "postgresql.conf").open("a") as file:
            file.write(CONFIGURATION.format(host=LOOPBACK, port=port))
        control = [PROGRAMS / "pg_ctl", "-D", data, "-w", "-t", "60"]
        started = run([*control, "-l", data / "log.txt", "start"], account=account)
        assert started.returncode == 0, started.stderr
        try:
            yield {"HOST": LOOPBACK, "PORT": str(port), "USER": ROLE, "PASSWORD": password.read_text()}
        finally:
            run([*control, "-m", "fast", "stop"], account=account)


@pytest.fixture
def hypopg(_hypopg_server: dict[str, str], transactional_db: None) -> Iterator[None]:
    """Send this test's connections to a database of its own there, with hypopg created in it."""
    before = dict(connection.settings_dict)
    name = f"hypopg_{secrets.token_hex(4)}"
    server = _hypopg_server
    url = {key.lower(): value for key, value in server.items()}
    with psycopg.connect(dbname="postgres", autocommit=True, **url) as admin:  # type: ignore[arg-type]
        admin.execute(f"CREATE DATABASE {name}")
    connection.close()
    connection.settings_dict.update(server, NAME=name)
    try:
        with connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION hypopg")
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)
        with psycopg.connect(dbname="postgres", autocommit=True, **url) as admin:  # type: ignore[arg-type]
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
