"""`manage.py perfkit_pool`: how a project connects to PostgreSQL, and who does so at this moment."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.postgres.activity import ServerConnections, server_connections
from perfkit.postgres.dangers import dangers_in, dangers_of
from perfkit.postgres.pools import goes_through_pooler
from perfkit.postgres.prepared import may_prepare


class Command(BaseCommand):
    """Shows the settings of a database's connections, and the server's sessions by program."""

    help = "Show how this project connects to PostgreSQL, and the connections that the server has."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the database and the form."""
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="Which; the default one otherwise.")
        parser.add_argument("--json", action="store_true", dest="as_json", help="As JSON.")

    def handle(self, *_args: Any, database: str, as_json: bool, **_options: Any) -> None:
        """Show it.

        Raises:
            CommandError: There is no such database, it is not PostgreSQL, or it does not answer.
        """
        if database not in connections:
            raise CommandError(f"DATABASES has no {database!r}.")
        connection = connections[database]
        if connection.vendor != "postgresql":
            raise CommandError(f"{database!r} is {connection.vendor}, which has no connections to pool.")
        try:
            found = _found(connection)
            server = server_connections(connection)
        except DatabaseError as error:
            raise CommandError(f"{database!r} does not answer: {error}") from error
        if as_json:
            self.stdout.write(json.dumps({**found, "server": asdict(server)}, indent=2))
        else:
            self.stdout.write("\n".join([*_settings_lines(found), "", *_server_lines(server)]))


def _found(connection: BaseDatabaseWrapper) -> dict[str, Any]:
    settings = connection.settings_dict
    pool = (settings.get("OPTIONS") or {}).get("pool")
    return {
        "database": connection.alias,
        "pool": dict(pool) if isinstance(pool, Mapping) else ({} if pool else None),
        "is_checked": bool(settings.get("CONN_HEALTH_CHECKS")),
        "goes_through_pooler": goes_through_pooler(connection),
        "may_prepare": may_prepare(connection),
        "has_server_side_cursors": not settings.get("DISABLE_SERVER_SIDE_CURSORS"),
        "dangers": [danger.text for danger in [*dangers_in(settings), *dangers_of(connection)]],
    }


def _settings_lines(found: Mapping[str, Any]) -> Iterator[str]:
    pool = found["pool"]
    yield f"database    {found['database']}{', through a pooler' if found['goes_through_pooler'] else ''}"
    if pool is None:
        yield "pool        none"
    else:
        checked = "checked before use" if found["is_checked"] else "not checked"
        most, seconds = pool.get("max_size", pool.get("min_size", 4)), pool.get("max_lifetime", 3600.0)
        yield f"pool        up to {most} connections a process, replaced after {seconds:g} s, {checked}"
    yield f"statements  {'prepared where code asks for it' if found['may_prepare'] else 'never prepared'}"
    yield f"cursors     {'on the server' if found['has_server_side_cursors'] else 'in the client only'}"
    for danger in found["dangers"]:
        yield f"danger      {danger}"


def _server_lines(server: ServerConnections) -> Iterator[str]:
    yield f"server      {server.count} of {server.most} connections, to all of its databases"
    if not server.sessions:
        return
    yield ""
    headings = (
        "application",
        "connections",
        "active",
        "idle in transaction",
        "waiting",
        "oldest transaction",
    )
    rows = [
        (
            each.application,
            str(each.count),
            str(each.active),
            str(each.idle_in_transaction),
            str(each.waiting),
            f"{each.longest_transaction_seconds:.1f} s",
        )
        for each in server.sessions
    ]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        numbers = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  ".join([f"{row[0]:<{widths[0]}}", *numbers])
