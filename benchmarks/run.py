"""`python -m benchmarks.run ROOM [--quick] [--check] [--jobs N] [--json FILE]`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import environment
from project import services

ROOMS = sorted(path.stem for path in Path(__file__).with_name("rooms").glob("[a-z]*.py"))


def main(arguments: Sequence[str]) -> int:
    """Measure a room; return 1 where `--check` finds a goal missed, 2 where nothing could be measured."""
    options = _parsed(arguments)
    try:
        if environment.is_inside(options.room):
            return _measure(options)
        with servers():
            return _in_own_environment(options.room, arguments)
    except (environment.EnvironmentError, services.ServiceError) as error:
        print(error, file=sys.stderr)
        return 2


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="Measure a room against its peers."
    )
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds; ends within two minutes")
    parser.add_argument("--check", action="store_true", help="list what falls short of its goal, and exit 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--jobs", type=int, metavar="N", help="how many jobs room tasks runs under kills")
    options = parser.parse_args(arguments)
    if options.jobs is not None and (options.room != "tasks" or options.jobs < 1):
        parser.error("--jobs is a number of room tasks, at least 1.")
    return options


def _in_own_environment(room: str, arguments: Sequence[str]) -> int:
    """Run the same command again with the Python that has the peers."""
    variables = os.environ | {
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        "PERFKIT_BENCH_ROOM": room,
        "PYTHONPATH": str(environment.ROOT),
    }
    command = [str(environment.interpreter(room)), "-m", "benchmarks.run", *arguments]
    return subprocess.run(command, check=False, env=variables).returncode


@contextmanager
def servers() -> Iterator[None]:
    """Lend the server that DATABASE_URL names or that runs already; else start one, and stop it afterwards."""
    os.environ.setdefault("PERFKIT_SERVICES", "bench")
    try:
        services.database_url()
    except services.ServiceError:
        from project.services.postgres import PostgresServer
        from project.services.state import services_folder

        server = PostgresServer(services_folder())
        os.environ["DATABASE_URL"] = server.start()
        try:
            yield
        finally:
            server.stop()
    else:
        yield


def _measure(options: argparse.Namespace) -> int:
    import django

    django.setup()
    from benchmarks.database import database_version, own_database

    room = importlib.import_module(f"benchmarks.rooms.{options.room}")
    with own_database():
        own = {} if options.jobs is None else {"jobs": options.jobs}
        report = room.measure(is_quick=options.quick, **own)
        facts = environment.facts(database_version(), room.PEERS)
    print(report.text())
    if options.json:
        text = json.dumps(report.as_json(facts), indent=2, ensure_ascii=False)
        options.json.write_text(f"{text}\n", encoding="utf-8")
    missed = [figure for figure in report.figures if figure.falls_short]
    if options.check:
        print(
            "\n".join(["", *(f"Falls short: {figure}" for figure in missed)])
            if missed
            else "\nEvery goal is met."
        )
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
