"""`python -m tests.soak [--seconds 60] [--seed WORD] [--readers 3] [--writers 3] [--policy wait]`."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from project.services.__main__ import needed
from project.services.postgres import PostgresServer
from project.services.state import ServiceError, services_folder
from tests.plugins.servers import claim
from tests.plugins.valkey import DisposableValkey

DATABASE = "perfkit_soak"


def main(arguments: Sequence[str]) -> int:
    """Run a soak; return 1 where it found a fault or proved nothing, 2 where it could not begin."""
    options = parsed(arguments)
    try:
        with postgres(), valkey() as server:
            return soak(options, server)
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 2


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Read and write through the cache while processes and servers are killed; check every read.",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, at least")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="decides which faults come when")
    parser.add_argument("--readers", type=int, default=3)
    parser.add_argument("--writers", type=int, default=3, help="half of them are cut off at times")
    parser.add_argument("--policy", choices=("wait", "bounded"), default="wait", help="CACHE_OUTAGE_WRITES")
    return parser.parse_args(arguments)


@contextmanager
def postgres() -> Iterator[None]:
    """Use the server that DATABASE_URL names, or else start one and stop it afterwards."""
    os.environ.pop("PERFKIT_DB", None)
    os.environ.setdefault("PERFKIT_SERVICES", "soak")
    folder = services_folder()
    with claim(folder):
        servers = needed([PostgresServer(folder, is_durable=False)])
        for server in servers:
            os.environ["DATABASE_URL"] = server.start()
        try:
            yield
        finally:
            for server in servers:
                server.stop()


@contextmanager
def valkey() -> Iterator[DisposableValkey]:
    """Start a cache server that may be killed, whatever REDIS_URL names."""
    server = DisposableValkey()
    server.start()
    os.environ["REDIS_URL"] = server.url
    try:
        yield server
    finally:
        if server.is_started:
            server.kill()


def soak(options: argparse.Namespace, server: DisposableValkey) -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from django.db import connection

    from tests.soak.crew import KILLS
    from tests.soak.disturbances import DISTURBANCES
    from tests.soak.report import Plan
    from tests.soak.run import Soak

    plan = Plan(
        seconds=options.seconds,
        seed=options.seed,
        readers=options.readers,
        writers=options.writers,
        policy=options.policy,
        disturbances=tuple(DISTURBANCES),
        kills=KILLS,
    )
    ordinary = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = DATABASE
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        report = Soak(plan, server=server, tell=lambda line: print(line, flush=True)).run()
    finally:
        connection.creation.destroy_test_db(ordinary, verbosity=0)
    print(f"\n{report.text()}\n")
    shortcomings = report.shortcomings()
    print("\n".join(shortcomings) if shortcomings else "Every read kept the promise.")
    if shortcomings:
        print(f"\nRun it again with --seed {plan.seed} for the same faults at about the same times.")
    return 1 if shortcomings else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
