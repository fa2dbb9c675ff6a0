"""In the middle of 300,000 rows a client, or the server, dies, or somebody interrupts: all or nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from django.db import OperationalError, connection
from django.db.models import Count

from perfkit.bulk import bulk_delete, bulk_insert, bulk_update, bulk_upsert
from project import services
from project.services.postgres import PostgresServer
from tests.testapp.bulk import City, Country, Stock

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="a file has no server to die"),
]

ROWS = 300_000
CHILD = [sys.executable, "-m", "tests.bulk.loader"]


class Loader:
    """A process that writes rows; see `tests.bulk.loader`."""

    def __init__(self, url: str, name: str, action: str, rows: int) -> None:
        self.process = subprocess.Popen(
            [*CHILD, url, name, action, str(rows)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("go\n")

    def go_half_way(self) -> None:
        """Begin, and return when half of the rows are sent."""
        self.go()
        while (line := self.line()).isdecimal() and int(line) < ROWS // 2:
            pass
        assert line.isdecimal(), line

    def outcome(self) -> str:
        """Return what the call came to."""
        while (line := self.line()).isdecimal():
            pass
        return line

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def loading(url: str, name: str, action: str, rows: int = ROWS) -> Iterator[Loader]:
    loader = Loader(url, name, action, rows)
    try:
        yield loader
    finally:
        loader.end()


@pytest.fixture
def url() -> str:
    return services.database_url()


@pytest.fixture
def name() -> str:
    return str(connection.settings_dict["NAME"])


@pytest.fixture
def cities(transactional_db: None) -> list[Any]:
    Country.objects.create(code="PE")
    bulk_insert(
        City, ({"name": f"n{number}", "country_id": "PE"} for number in range(ROWS)), chunk_rows=10_000
    )
    return facts()


def facts() -> list[Any]:
    """Return what is there: how many rows of each kind."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT left(name, 1), population, count(*) FROM testapp_city GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return cursor.fetchall()


def nobody_else_works() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return bool(cursor.fetchone()[0] == 0)


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("action", ["insert", "upsert", "update", "delete"])
def test_a_killed_client_leaves_nothing_half_written(
    cities: list[Any], url: str, name: str, action: str
) -> None:
    with loading(url, name, action) as loader:
        loader.go_half_way()
        loader.process.kill()
        loader.process.wait()
        wait_for(nobody_else_works)
    assert facts() == cities
    with loading(url, name, action) as loader:
        loader.go()
        assert loader.outcome() == f"done {ROWS}"
    assert (
        facts()
        == {
            "insert": [("n", 0, 2 * ROWS)],
            "upsert": [("n", 0, ROWS // 2), ("n", 2, ROWS)],
            "update": [("n", 3, ROWS)],
            "delete": [],
        }[action]
    )


@pytest.mark.parametrize("action", ["insert", "upsert"])
def test_an_interrupted_call_leaves_nothing_and_can_be_made_again(
    cities: list[Any], url: str, name: str, action: str
) -> None:
    with loading(url, name, action) as loader:
        loader.go_half_way()
        loader.process.send_signal(signal.SIGINT)
        assert loader.outcome() == "failed KeyboardInterrupt"
        assert facts() == cities
        loader.go()
        assert loader.outcome() == f"done {ROWS}"


def test_a_killed_server_has_all_or_nothing_when_it_is_back(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    server = PostgresServer(tmp_path / "own")
    try:
        own = server.start()
        with loading(own, "perfkit", "prepare") as loader:
            loader.go()
            assert loader.outcome() == "done PE"
        with loading(own, "perfkit", "insert") as loader:
            loader.go_half_way()
            processes = server.cluster.servers()
            for process in processes:
                process.kill()
            psutil.wait_procs(processes, timeout=30)
            wait_for(lambda: not server.cluster.servers())
            assert loader.outcome() == "failed OperationalError"
            assert server.start() == own
            with psycopg.connect(own) as direct:
                assert direct.execute("SELECT count(*) FROM testapp_city").fetchone() == (0,)
                assert direct.execute("SELECT count(*) FROM testapp_country").fetchone() == (1,)
            loader.go()
            assert loader.outcome() == f"done {ROWS}"
    finally:
        server.remove()


CALLS: dict[str, Callable[[], Any]] = {
    "update": lambda: bulk_update(Country, [("AR", {"name": "b"}), ("PE", {"name": "b"})], chunk_rows=1),
    "upsert": lambda: bulk_upsert(
        Country,
        [{"code": "AR", "name": "b"}, {"code": "PE", "name": "b"}],
        conflict_columns=["code"],
        chunk_rows=1,
    ),
    "delete": lambda: bulk_delete(Country, ["AR", "PE"], chunk_rows=1),
    "insert": lambda: bulk_insert(Country, [{"code": "CL"}, {"code": "BR"}], chunk_rows=1),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("call", CALLS)
def test_a_statement_that_times_out_leaves_nothing(call: str, url: str, name: str) -> None:
    Country.objects.bulk_create([Country(code="AR"), Country(code="PE")])
    with psycopg.connect(url, dbname=name) as other:
        other.execute("UPDATE testapp_country SET name = 'held' WHERE code = 'PE'")
        other.execute("INSERT INTO testapp_country VALUES ('BR', 'held')")
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '200ms'")
        try:
            with pytest.raises(OperationalError, match="timeout"):
                CALLS[call]()
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = 0")
        assert sorted(Country.objects.values_list("code", "name")) == [("AR", "unnamed"), ("PE", "unnamed")]
        other.rollback()
    CALLS[call]()


@pytest.mark.django_db(transaction=True)
def test_processes_that_upsert_the_same_keys_lose_nothing_and_wait_for_each_other(
    url: str, name: str
) -> None:
    keys, times = 500, 3
    loaders = [Loader(url, name, "add", keys) for _ in range(4)]
    try:
        created = 0
        for _ in range(times):
            for loader in loaders:
                loader.go()
            for loader in loaders:
                word, new, old = loader.outcome().split()
                assert (word, int(new) + int(old)) == ("done", keys)
                created += int(new)
    finally:
        for loader in loaders:
            loader.end()
    assert created == keys
    assert list(Stock.objects.values_list("amount").annotate(Count("pk"))) == [(len(loaders) * times, keys)]
