"""The servers that the demo, the tests and the benchmarks use: where they are.

`DATABASE_URL` and `REDIS_URL` win.
Where one is not set, `python -m project.services start` runs that server from an installed wheel,
and keeps what belongs to it under `.local/`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from project.services.state import (
    LOCAL,
    ServiceError,
    answers,
    one_line,
    read_state,
    services_folder,
    write_new,
)

__all__ = [
    "ServiceError",
    "database_url",
    "is_sqlite",
    "local_password",
    "local_secret_key",
    "redis_url",
    "report_path",
    "sqlite_path",
    "unreachable_database",
]

REDIS_SCHEMES = frozenset({"redis", "rediss", "unix"})
POSTGRES_SCHEMES = frozenset({"postgres", "postgresql", "pgsql", "psql"})

NOT_RUNNING = (
    "No {server} runs: start one with `python -m project.services start` (or `make demo`), "
    "or name one of your own in {variable}."
)


def is_sqlite() -> bool:
    """Return whether SQLite is used instead of PostgreSQL.

    Raises:
        ServiceError: PERFKIT_DB names another database.
    """
    name = os.environ.get("PERFKIT_DB") or ""
    if name not in {"", "sqlite"}:
        raise ServiceError(f"PERFKIT_DB={name!r} must be sqlite, or be left out for PostgreSQL.")
    return name == "sqlite"


def database_url() -> str:
    """Return the URL of the PostgreSQL server to use.

    Raises:
        ServiceError: DATABASE_URL is no such URL, or is not set and no server of ours answers.
    """
    url = os.environ.get("DATABASE_URL")
    if not url:
        return _running("postgres", server="PostgreSQL", variable="DATABASE_URL")
    if not _names_postgres(url):
        raise ServiceError(
            "DATABASE_URL must look like postgres://user:password@host:5432/name. "
            "For SQLite leave it out and set PERFKIT_DB=sqlite."
        )
    return url


def redis_url() -> str:
    """Return the URL of the Valkey or Redis server to use.

    Raises:
        ServiceError: REDIS_URL is no such URL, or is not set and no server of ours answers.
    """
    url = os.environ.get("REDIS_URL")
    if not url:
        return _running("valkey", server="Valkey", variable="REDIS_URL")
    if not _names_redis(url):
        raise ServiceError("REDIS_URL must look like redis://user:password@host:6379/0 (or rediss, or unix).")
    return url


def sqlite_path() -> str:
    """Return the file of the demo's SQLite database, its folder made.

    Raises:
        ServiceError: The folder cannot be written.
    """
    return str(services_folder() / "db.sqlite3")


def report_path() -> Path:
    """Return the file that `manage.py demo` writes its figures to, one per kind of database; it need not exist."""
    return services_folder(is_made=False) / ("report-sqlite.json" if is_sqlite() else "report.json")


def local_secret_key(make: Callable[[], str], *, folder: Path = LOCAL) -> str:
    """Return the secret key of this clone, made once and readable by its owner alone.

    Raises:
        ServiceError: The folder cannot be written.
    """
    return write_new(folder / "secret_key", make)


def local_password(make: Callable[[], str], *, folder: Path = LOCAL) -> str:
    """Return the password of this clone's demo user, made once and readable by its owner alone.

    Raises:
        ServiceError: The folder cannot be written.
    """
    return write_new(folder / "demo_password", make)


def unreachable_database(config: dict[str, object]) -> str | None:
    """Say in one line why the database of Django's `config` takes no connection, or None where it does.

    The line names the host and port, never the password.
    """
    if config["ENGINE"] != "django.db.backends.postgresql":
        return None
    import psycopg  # a run on SQLite does not need it

    password = str(config.get("PASSWORD") or "")
    host, port = config.get("HOST") or "localhost", config.get("PORT") or 5432
    try:
        psycopg.connect(
            host=str(host),
            port=str(port),
            user=str(config.get("USER") or ""),
            password=password,
            dbname=str(config.get("NAME") or "postgres"),
            connect_timeout=5,
        ).close()
    except psycopg.OperationalError as error:
        reason = one_line(str(error))
        if password:
            reason = reason.replace(password, "***")
        return (
            f"The database at {host}:{port} did not answer: {reason} "
            "Start it or correct DATABASE_URL; without DATABASE_URL, `make demo` runs a server of its own."
        )
    return None


def _names_postgres(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in POSTGRES_SCHEMES and bool(parts.path.strip("/")) and parts.port != 0
    except ValueError:  # the port is no number
        return False


def _names_redis(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = parts.path if parts.scheme == "unix" else parts.hostname
        return parts.scheme in REDIS_SCHEMES and bool(named) and parts.port != 0
    except ValueError:  # the port is no number
        return False


def _running(kind: str, *, server: str, variable: str) -> str:
    state = read_state(services_folder(is_made=False) / f"{kind}.json")
    if state is None or not answers(state.port):
        raise ServiceError(NOT_RUNNING.format(server=server, variable=variable))
    return state.url
