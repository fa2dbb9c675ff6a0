"""`python -m tests.load [--seconds 30] [--users 100] [--outages] [--compare] [--check] …`: see `make load`."""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.error import HTTPError, URLError

from project.services.__main__ import all_servers
from project.services.postgres import PostgresServer
from project.services.processes import free_port, servers_in
from project.services.state import BASE_DIR, LOOPBACK, ServiceError, services_folder
from project.services.valkey import ValkeyServer

LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")
LEAST_REQUESTS: Final = 1_000
AWAY_SECONDS: Final = 3.0
GRACE_SECONDS: Final = 6.0
"""How long after a server's return the last 503 may be told: those who wait for a connection, wait in vain."""

COMING_SECONDS: Final = 5
"""In which the users come."""
WARM_UP_SECONDS: Final = 10.0
"""Of the same load, whose figures are not told, whose failures are: a server that has just started is slow."""

if TYPE_CHECKING:
    from perfkit.monitoring.figures import CacheFigures

Row = dict[str, str]

TARGETS: Final = {"list, cached": 10, "list, uncached": 100, "detail, cached": 5, "write": 150}
"""Milliseconds at P95 of 100 users who read what they get: see `--wait-seconds`."""

WORKERS: Final = ("--workers", "2")
SERVERS: Final[dict[str, tuple[str, ...]]] = {
    "gunicorn": (
        *("gunicorn", "project.wsgi", *WORKERS, "--threads", "16", "--bind", f"{LOOPBACK}:{{port}}"),
        *(
            "--keep-alive",
            "75",
        ),  # by itself it hangs up after two seconds, perhaps just when a user asks again
    ),
    "granian-threads": (
        *("granian", "project.wsgi:application", "--interface", "wsgi", *WORKERS, "--blocking-threads", "8"),
        *("--host", LOOPBACK, "--port", "{port}", "--no-access-log", "--log-level", "warning"),
    ),
    "granian": (
        *("granian", "project.asgi:application", "--interface", "asgi", *WORKERS),
        *("--host", LOOPBACK, "--port", "{port}", "--no-access-log", "--log-level", "warning"),
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Put the demo under load; return 1 where a request failed, 2 where it could not begin."""
    options = parsed(arguments)
    os.environ.setdefault("PERFKIT_SERVICES", "load")
    for name in ("DATABASE_URL", "REDIS_URL", "PERFKIT_DB"):
        os.environ.pop(name, None)  # these servers are killed
    postgres, valkey = servers = all_servers()
    try:
        for server in servers:
            server.start()
        os.environ["LOAD_TOKEN"] = prepare()
        failed = [
            name
            for name in options.server or SERVERS
            if not loaded(name, options, postgres=postgres, valkey=valkey)
        ]
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        for server in servers:
            server.stop()
    return 1 if failed else 0


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.load", description="The demo under load; says how fast it was and what failed."
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument(
        "--wait-seconds", type=float, default=0.2, help="between two requests of a user, about"
    )
    parser.add_argument("--check", action="store_true", help="a P95 beyond its target is a failure")
    parser.add_argument("--outages", action="store_true", help="kill the database, and then the cache")
    parser.add_argument(
        "--compare", action="store_true", help="the same again without the cache; users like what others like"
    )
    parser.add_argument("--server", action="append", choices=SERVERS, help="all, where none is named")
    parser.add_argument("--locust", default="locust", help="the program")
    return parser.parse_args(arguments)


def prepare() -> str:
    """Bring the database up to date, and return a token that may write."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    import django
    from django.core.management import call_command

    django.setup()
    from django.contrib.auth.models import User
    from django.db import connection

    from project.flights.models import Flight
    from project.flights.tokens import make_token

    call_command("migrate", verbosity=0)
    if not Flight.objects.exists():
        call_command("load_flights")
    user, _ = User.objects.get_or_create(username="load")
    token = make_token(user, "load")
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's
    return token


def loaded(name: str, options: argparse.Namespace, *, postgres: PostgresServer, valkey: ValkeyServer) -> bool:
    """Load one server, print what came of it, and say whether nothing failed."""
    outages = Outages(options.seconds, postgres, valkey) if options.outages else None
    is_right, cached = measured(name, options, outages=outages)
    if options.compare:
        was_right, uncached = measured(name, options, is_cached=False)
        is_right = is_right and was_right
        saved = 1 - cached.database_ms / uncached.database_ms
        print(f"\n{name}: the cache saves {saved:.1%} of the time in the database.")
    return is_right


class Asked(NamedTuple):
    """What requests asked of the cache and the database, on average, as `perfkit.monitoring` has measured it."""

    hit_rate: float
    queries: float
    database_ms: float
    reads: Sequence[CacheFigures]


def measured(
    name: str, options: argparse.Namespace, *, outages: Outages | None = None, is_cached: bool = True
) -> tuple[bool, Asked]:
    """Load one server, with or without the cache; print what came of it, and return whether nothing failed."""
    with served(name, is_cached=is_cached) as address:
        _, failures = users_of(address, options, seconds=WARM_UP_SECONDS)
        began = time.time()
        before = counted(began)
        rows, more_failures = users_of(address, options, seconds=options.seconds, outages=outages)
    asked = asked_between(before, counted(began))
    title = f"{name}, {options.users} users, {options.seconds:.0f} s{'' if is_cached else ', cache off'}"
    is_right = reported(title, rows, failures + more_failures, is_checked=options.check and is_cached)
    print(
        f"  {asked.hit_rate:.1%} of cached reads were hits; a request took {asked.queries:.2f} queries and "
        f"{asked.database_ms:.2f} ms of the database."
    )
    for each in asked.reads:
        print(f"  {each.label:48}{each.hits:9,} hits{each.misses:9,} misses{each.bypassed:9,} bypasses")
    return is_right, asked


Vectors = dict[str, dict[int, int]]


def counted(since: float) -> Vectors:
    """Return what all processes have measured since then, and up to five minutes before."""
    from perfkit.monitoring.ledgers import current_ledger
    from perfkit.monitoring.series import FIVES

    parts = range(FIVES.part(since), FIVES.part(time.time()) + 1)
    [found] = current_ledger().sums([[FIVES.name(part) for part in parts]])
    return found


def asked_between(before: Vectors, after: Vectors) -> Asked:
    """Say what was asked between two counts; what a killed server has lost of the first is not taken off."""
    from perfkit.monitoring.figures import Pages

    if any(
        after.get(name, {}).get(index, 0) < number
        for name, of in before.items()
        for index, number in of.items()
    ):
        before = {}
    new = {
        name: {index: number - before.get(name, {}).get(index, 0) for index, number in vector.items()}
        for name, vector in after.items()
    }
    pages = Pages(new)
    requests, reads = pages.all_requests(), pages.all_reads()
    count = max(1, requests.timing.count)
    return Asked(
        reads.hit_rate or 0.0,
        requests.queries / count,
        requests.database_seconds * 1000 / count,
        pages.reads(),
    )


def users_of(
    address: str, options: argparse.Namespace, *, seconds: float, outages: Outages | None = None
) -> tuple[list[Row], list[Row]]:
    """Have users ask a server for so long; return locust's figures and failures.

    Raises:
        ServiceError: There are none.
    """
    environment = {
        **os.environ,
        "LOAD_WAIT_SECONDS": str(options.wait_seconds),
        "LOAD_CHOICE": "popular" if options.compare else "any",
    }
    if outages is not None:
        environment["LOAD_OUTAGE_SECONDS"] = outages.window
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(options.locust, "-f", LOCUSTFILE, "--headless", "--only-summary", "--host", address),
            *("-u", str(options.users), "-r", str(max(1, options.users // COMING_SECONDS))),
            *("-t", f"{seconds:.0f}s"),
            *("--stop-timeout", "40", "--csv", f"{folder}/load", "--loglevel", "ERROR"),
        ]
        locust = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if outages is not None:
            outages.begin()
        _, said = locust.communicate()
        if outages is not None:
            outages.join()
        if not Path(folder, "load_stats.csv").exists():
            raise ServiceError(f"Locust has ended without figures: {said.strip()[-500:]}")
        return rows_in(Path(folder, "load_stats.csv")), rows_in(Path(folder, "load_failures.csv"))


def rows_in(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def reported(title: str, rows: list[Row], failures: list[Row], *, is_checked: bool) -> bool:
    """Print the table, and say whether it is a success."""
    heads = ("requests", "failed", "P50 ms", "P95 ms", "target", "P99 ms", "per s")
    print(f"\n{title}\n{'':32}" + "".join(f"{head:>9}" for head in heads))
    missed = []
    for row in rows:
        name, target = row["Name"], TARGETS.get(row["Name"])
        if target is not None and float(row["95%"]) > target:
            missed.append(name)
        cells = (
            *(row[key] for key in ("Request Count", "Failure Count", "50%", "95%")),
            *("" if target is None else f"{target}{'!' if name in missed else ' '}", row["99%"]),
            f"{float(row['Requests/s']):.0f}",
        )
        print(f"{name:32}" + "".join(f"{cell:>9}" for cell in cells))
    if missed:
        print(f"  P95 beyond its target: {'; '.join(missed)}.")
    for failure in failures:
        print(f"  {failure['Occurrences']} times {failure['Name']}: {failure['Error']}")
    total = rows[-1]
    is_enough = int(total["Request Count"]) >= LEAST_REQUESTS
    if not is_enough:
        print(f"  Fewer than {LEAST_REQUESTS:,} requests prove nothing.")
    return is_enough and not failures and not (is_checked and missed)


class Outages(threading.Thread):
    """Kills the database at a quarter of the time and the cache at a half, each for some seconds.

    Attributes:
        window: From which second to which one 503s are right.
    """

    def __init__(self, seconds: float, postgres: PostgresServer, valkey: ValkeyServer) -> None:
        super().__init__(daemon=True)
        self._quarter = seconds / 4
        self._postgres, self._valkey = postgres, valkey
        # What takes part begins some seconds after Locust is started.
        self.window = f"{self._quarter - 3}-{self._quarter + AWAY_SECONDS + GRACE_SECONDS}"
        self._faults: list[BaseException] = []

    def begin(self) -> None:
        self.start()

    def run(self) -> None:
        began = time.monotonic()
        servers: list[tuple[float, Callable[[], object], Callable[[], object]]] = [
            (self._quarter, self._kill_postgres, self._postgres.start),
            (2 * self._quarter, self._kill_valkey, self._valkey.start),
        ]
        for at, kill, start in servers:
            time.sleep(max(0.0, began + at - time.monotonic()))
            kill()
            time.sleep(AWAY_SECONDS)
            start()

    def _kill_postgres(self) -> None:
        kill_all(self._postgres.cluster.servers())

    def _kill_valkey(self) -> None:
        kill_all(servers_in(self._valkey.folder / "valkey", "valkey-server"))


def kill_all(processes: Sequence[object]) -> None:
    for process in processes:
        process.kill()  # type: ignore[attr-defined]  # psutil's


@contextmanager
def served(name: str, *, is_cached: bool) -> Iterator[str]:
    """Run the demo under a server; yields its address."""
    port = free_port()
    program, *rest = (part.format(port=port) for part in SERVERS[name])
    command = [str(Path(sys.executable).with_name(program)), *rest]
    environment = {**os.environ, "RATE_LIMIT_ENABLED": "false", "CACHE_ENABLED": str(is_cached).lower()}
    with (services_folder() / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=BASE_DIR, env=environment, stdout=log, stderr=log)
    address = f"http://{LOOPBACK}:{port}"
    try:
        deadline = time.monotonic() + 60
        while not answers(f"{address}/api/airports/JFK"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(f"{name} does not serve the demo.")
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        process.kill()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return bool(answer.status == 200)
    except (HTTPError, URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
