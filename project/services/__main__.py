"""`python -m project.services start|stop|status|remove`: the servers of this clone."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

import environ

from project.services import is_sqlite
from project.services.account import delete_copies
from project.services.postgres import PORT_VARIABLE as POSTGRES_PORT
from project.services.postgres import PostgresServer
from project.services.processes import fixed_port
from project.services.state import BASE_DIR, LOCAL, ServiceError, services_folder
from project.services.valkey import PORT_VARIABLE as VALKEY_PORT
from project.services.valkey import ValkeyServer

Server = PostgresServer | ValkeyServer


def start(servers: Sequence[Server]) -> int:
    """Start what does not run."""
    for server in servers:
        server.start()
        _say(server.status())
    return 0


def stop(servers: Sequence[Server]) -> int:
    """Stop what runs."""
    for server in servers:
        _say(f"{server.title}: {'stopped' if server.stop() else 'did not run'}")
    return 0


def status(servers: Sequence[Server]) -> int:
    """Say what runs; 1 where something does not."""
    for server in servers:
        _say(server.status())
    return 0 if all(server.is_running for server in servers) else 1


def remove(servers: Sequence[Server]) -> int:
    """Stop what runs and delete its data, wherever it lies."""
    for server in servers:
        server.remove()
    if not any(LOCAL.glob("*/postgres.json")):
        delete_copies()
    return 0


ACTIONS: dict[str, Callable[[Sequence[Server]], int]] = {
    action.__name__: action for action in (start, stop, status, remove)
}


def all_servers() -> list[Server]:
    """Return the servers of this clone, on the ports that the environment asks for."""
    folder = services_folder()
    return [
        PostgresServer(folder, fixed_port=fixed_port(POSTGRES_PORT), is_durable=folder.name != "test"),
        ValkeyServer(folder, fixed_port=fixed_port(VALKEY_PORT)),
    ]


def needed(servers: Sequence[Server]) -> list[Server]:
    """Return those that nothing in the environment replaces."""
    replaced = {
        PostgresServer: is_sqlite() or bool(os.environ.get("DATABASE_URL")),
        ValkeyServer: is_sqlite() or bool(os.environ.get("REDIS_URL")),
    }
    return [server for server in servers if not replaced[type(server)]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m project.services", description=__doc__)
    parser.add_argument("action", choices=ACTIONS)
    action = parser.parse_args(arguments).action
    environ.Env.read_env(BASE_DIR / ".env")
    servers = all_servers()
    return ACTIONS[action](needed(servers) if action in {"start", "status"} else servers)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServiceError as error:
        sys.exit(str(error))
