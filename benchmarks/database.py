"""The benchmarks' own database: made before, dropped afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.core.management import call_command
from django.db import connection
from psycopg import sql

from benchmarks.settings import DATABASE_NAME
from project import services


@contextmanager
def own_database() -> Iterator[None]:
    """Make an empty database with the demo's tables; drop it at the end, also after a failure."""
    name = sql.Identifier(DATABASE_NAME)
    with psycopg.connect(services.database_url(), autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        server.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            call_command("migrate", verbosity=0)
            yield
        finally:
            connection.close()
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


def database_version() -> str:
    """Return the server's name and version."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        return f"PostgreSQL {cursor.fetchone()[0]}"
