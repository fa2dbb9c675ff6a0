"""Starts the servers of a test run before Django's settings are read, and stops them after it.

The process that controls the run does so; the workers of pytest-xdist inherit its environment.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from project.services.__main__ import Server, needed
from project.services.postgres import PostgresServer
from project.services.state import ServiceError, make_folder, services_folder
from project.services.valkey import ValkeyServer
from tests.plugins import browser, hypopg, pgbouncer, prometheus, rabbitmq, redis_server

PLUGINS = ("cluster", "flushing", "postgres", "sentinel", "standby", "valkey")
pytest_plugins = [f"tests.plugins.{name}" for name in PLUGINS]

VARIABLES: dict[type[Server], str] = {PostgresServer: "DATABASE_URL", ValkeyServer: "REDIS_URL"}
LEFT_OUT = {
    "postgres": "need PostgreSQL and were left out of this run on SQLite",
    "redis": "need Redis or Valkey and were left out of this run on SQLite",
    "redis_server": "need redis-server and were left out: install Debian's package of that name, or another",
    "pgbouncer": "need PgBouncer and were left out: install Debian's package pgbouncer, or another",
    "hypopg": "need hypopg and were left out: install Debian's packages postgresql-15 and postgresql-15-hypopg",
    "rabbitmq": "need RabbitMQ and were left out: install Debian's package rabbitmq-server, or another",
    "prometheus": "need Prometheus and its promtool and were left out: install Debian's package prometheus",
    "browser": f"need a browser and were left out: install one of {', '.join(browser.NAMES)}, "
    "or name one in PERFKIT_CHROMIUM",
}
PROGRAMS = {
    "browser": browser,
    "redis_server": redis_server,
    "pgbouncer": pgbouncer,
    "hypopg": hypopg,
    "rabbitmq": rabbitmq,
    "prometheus": prometheus,
}
"""By the marker of the tests that need them."""

NOT_RUN = pytest.StashKey[Counter[str]]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Start what the environment does not replace; pytest-django reads the settings after that."""
    early_config.stash[NOT_RUN] = Counter()
    options = early_config.known_args_namespace
    if "PYTEST_XDIST_WORKER" not in os.environ and not options.help and not options.version:
        os.environ.setdefault("PERFKIT_SERVICES", "test")
        try:
            start_servers(early_config, services_folder(is_made=False))
        except ServiceError as error:
            raise pytest.UsageError(str(error)) from error
    return (yield)


def start_servers(config: pytest.Config, folder: Path) -> None:
    servers = needed([PostgresServer(folder, is_durable=False), ValkeyServer(folder)])
    if servers:
        config.add_cleanup(claim(folder).close)
    for server in servers:
        config.add_cleanup(server.stop)
        os.environ[VARIABLES[type(server)]] = server.start()


def claim(folder: Path) -> IO[str]:
    """Keep a second run off these servers: it would use the same test database, and stop them at its end.

    Returns:
        What must stay open for so long.

    Raises:
        ServiceError: Another run uses them.
    """
    make_folder(folder)
    file = (folder / "run.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        problem = (
            f"Another test run uses {folder}: wait for its end, or set PERFKIT_SERVICES to another name."
        )
        raise ServiceError(problem) from error
    return file


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, visibly, what needs a server or a browser that this run does without."""
    missing = {name for name, plugin in PROGRAMS.items() if plugin.is_done_without()}
    if os.environ.get("PERFKIT_DB") == "sqlite":
        missing.add("postgres")
        if not os.environ.get("REDIS_URL"):
            missing.add("redis")
    kept, left_out = [], []
    for item in items:
        reasons = sorted(missing & {mark.name for mark in item.iter_markers()})
        if reasons:
            config.stash[NOT_RUN][reasons[0]] += 1
            left_out.append(item)
        else:
            kept.append(item)
    if left_out:
        items[:] = kept
        config.hook.pytest_deselected(items=left_out)


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["not_run"] = dict(session.config.stash[NOT_RUN])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker left out; each of them collects everything."""
    node.config.stash[NOT_RUN] |= Counter(getattr(node, "workeroutput", {}).get("not_run", {}))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for marker, number in sorted(config.stash[NOT_RUN].items()):
        terminalreporter.write_line(f"{number} tests {LEFT_OUT[marker]}.")
