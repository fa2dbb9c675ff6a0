"""Kills operations at random moments, runs them again, and counts what is left: for a test and for a benchmark."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import kill
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import psycopg
from django.db import connection, models
from django.db.migrations.operations.base import Operation
from django.db.models import UniqueConstraint

from perfkit.errors import IndexLockedError
from perfkit.indexing import AddConstraintSafely, AddIndexSafely, ReplaceIndexSafely
from tests.indexing.client import CHANGED, DONE, LOCKED, SET_BEFORE
from tests.indexing.tables import APP, TABLE, Table

PARTED = "indexing_parted"
OLD = models.Index(fields=["status"], name="kill_old")
PATIENCE_SECONDS = 120.0

WAYS = ("client", "backend", "lock")
"""How an operation is ended; a server may be killed too."""


class Case(NamedTuple):
    """An operation, and what the database must show once it was run.

    Attributes:
        made: Index and its definition, or what it begins with.
        is_gone: An index that must not be there.
    """

    table: str
    operation: Callable[..., Operation]
    made: tuple[str, str]
    gone: str = ""


CASES = {
    "index": Case(
        TABLE,
        lambda **waiting: AddIndexSafely(
            "parcel", models.Index(fields=["owner", "-created"], name="kill_index"), **waiting
        ),
        ("kill_index", f"CREATE INDEX kill_index ON public.{TABLE} USING btree (owner, created DESC)"),
    ),
    "unique": Case(
        TABLE,
        lambda **waiting: AddConstraintSafely(
            "parcel", UniqueConstraint(fields=["owner", "id"], name="kill_unique"), **waiting
        ),
        ("kill_unique", f"CREATE UNIQUE INDEX kill_unique ON public.{TABLE} USING btree (owner, id)"),
    ),
    "replace": Case(
        TABLE,
        lambda **waiting: ReplaceIndexSafely(
            "parcel", "kill_old", models.Index(fields=["status", "owner"], name="kill_new"), **waiting
        ),
        ("kill_new", f"CREATE INDEX kill_new ON public.{TABLE} USING btree (status, owner)"),
        "kill_old",
    ),
    "partitions": Case(
        PARTED,
        lambda **waiting: AddIndexSafely(
            "parcel", models.Index(fields=["owner", "-created"], name="kill_parted"), **waiting
        ),
        (
            "kill_parted",
            f"CREATE INDEX kill_parted ON ONLY public.{PARTED} USING btree (owner, created DESC)",
        ),
    ),
}


def run(way: str, name: str) -> int:
    """Run an operation in a process of its own; return its exit code."""
    case = CASES[name]
    table = Table(connection, case.table)
    table.state.add_index(APP, "parcel", OLD)
    operation = case.operation(**({"lock_timeout_seconds": 0.1, "attempts": 1} if way == "hasty" else {}))
    with connection.cursor() as cursor:
        for setting, value in SET_BEFORE.items():
            cursor.execute(f"SET {setting} = '{value}'")
    code = DONE
    try:
        if way == "backwards":
            before = table.state.clone()
            operation.state_forwards(APP, table.state)
            table.backwards(operation, before)
        else:
            table.forwards(operation)
    except IndexLockedError:
        code = LOCKED
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout')")
        return code if cursor.fetchone() == tuple(SET_BEFORE.values()) else CHANGED


class Server(Protocol):
    """A server that may be killed, and comes back at the same place."""

    def kill(self) -> None: ...
    def start(self) -> None: ...


class Client:
    """Runs operations in processes of their own."""

    def __init__(self, url: str) -> None:
        self.pid = 0
        command = [sys.executable, "-m", "tests.indexing.client", url]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )

    def begin(self, way: str, name: str) -> None:
        """Begin to run an operation, in the process `pid`."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{way} {name}\n")
        self._process.stdin.flush()
        self.pid = self._answer()

    def end(self) -> int:
        """Wait for the end of the process; return how it ended."""
        return self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=PATIENCE_SECONDS)
        self._process.stdout.close()


class Kills:
    """The database under torture.

    Attributes:
        counts: Of what was done, and what was found.
        problems: What was not as it must be after an operation was run again.
    """

    def __init__(self, url: str, *, rows: int, seed: int, server: Server | None = None) -> None:
        self.url = url
        self.random = random.Random(seed)
        self.server = server
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.longest_seconds = 0.3
        self._rows = rows

    @contextmanager
    def stage(self) -> Iterator[None]:
        """Have the tables, full of rows, within the block."""
        values = (
            "'Owner' || (n * 7919 %% 99991), CASE WHEN n %% 100 = 0 THEN 'lost' ELSE 'sent' || n %% 50 END, "
            "n %% 300, '{}', '2026-01-01'::timestamptz - n * interval '1 minute'"
        )
        columns = (
            "owner varchar(20) NOT NULL, status varchar(10) NOT NULL, weight int, labels jsonb NOT NULL, "
        )
        columns += "created timestamptz NOT NULL"
        ask = self.ask
        ask(f"DROP TABLE IF EXISTS {TABLE}, {PARTED}")
        ask(f"CREATE TABLE {TABLE} (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, {columns})")
        ask(
            f"CREATE TABLE {PARTED} (id bigint GENERATED BY DEFAULT AS IDENTITY, {columns}) PARTITION BY HASH (id)"
        )
        for number in range(3):
            ask(
                f"CREATE TABLE {PARTED}_{number} PARTITION OF {PARTED} "
                f"FOR VALUES WITH (MODULUS 3, REMAINDER {number})"
            )
        for table in (TABLE, PARTED):
            ask(
                f"INSERT INTO {table} (owner, status, weight, labels, created) "
                f"SELECT {values} FROM generate_series(1, {self._rows}) n".replace("%%", "%")
            )
        ask(f"CREATE INDEX kill_old ON {TABLE} (status)")
        ask("VACUUM ANALYZE")
        self._client = Client(self.url)
        try:
            yield
        finally:
            self._client.close()
            ask(f"DROP TABLE {TABLE}, {PARTED}")

    def ask(self, sql: str) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as control:
            cursor = control.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def once(self, way: str, name: str) -> bool:
        """End an operation at a random moment in some way, run it again, look, and bring back what was before.

        Returns:
            Whether it was ended before it was done.
        """
        done_before = self.counts["done too soon to be ended"]
        getattr(self, f"_end_{way}")(name)
        self._wait(lambda: not self._builders())
        if self._invalid():
            self.counts["invalid before the retry"] += 1
        code = self._finish("forwards", name)
        problems = [f"the retry ended with {code}"] if code != DONE else []
        left = self._invalid()
        self.counts["invalid after the retry"] += len(left)
        problems += [f"{index} is invalid" for index in left]
        problems += self._differences(name)
        if problems:
            self.problems.append(f"{way}, {name}: {'; '.join(problems)}")
        assert self._finish("backwards", name) == DONE
        is_ended = self.counts["done too soon to be ended"] == done_before
        self.counts[f"ended by {way}"] += is_ended
        return is_ended

    def _end_client(self, name: str) -> None:
        self._client.begin("forwards", name)
        self._at_a_random_moment()
        with suppress(ProcessLookupError):  # it was quicker
            kill(self._client.pid, signal.SIGKILL)
        self._count(self._client.end())

    def _end_backend(self, name: str) -> None:
        self._client.begin("forwards", name)
        self._at_a_random_moment()
        for builder in self._builders():
            self.ask(f"SELECT pg_terminate_backend({builder})")
        self._count(self._client.end())

    def _end_lock(self, name: str) -> None:
        """Hold a lock, or an old snapshot, from a random moment on."""
        table = CASES[name].table
        is_late = self.random.random() < 0.5
        with psycopg.connect(self.url) as other:
            if not is_late:
                other.execute(f"UPDATE {table} SET weight = weight WHERE id = 1")
            self._client.begin("hasty", name)
            if is_late:
                self._at_a_random_moment()
                other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                other.execute(f"UPDATE {table} SET weight = weight WHERE id = 1")
            self._count(self._client.end())
            other.rollback()

    def _end_server(self, name: str) -> None:
        assert self.server is not None
        self._client.begin("forwards", name)
        self._at_a_random_moment()
        self.server.kill()
        self._count(self._client.end())
        self.server.start()

    def _count(self, code: int) -> None:
        if code == CHANGED:
            self.problems.append("settings of the session were not restored")
        if code == DONE:
            self.counts["done too soon to be ended"] += 1

    def _finish(self, way: str, name: str) -> int:
        self._client.begin(way, name)
        return self._client.end()

    def _at_a_random_moment(self) -> None:
        """Wait until something is built, and for a moment more."""
        self._wait(lambda: bool(self._builders()) or not self._is_running())
        time.sleep(self.random.uniform(0, self.longest_seconds))

    def _is_running(self) -> bool:
        try:
            kill(self._client.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _builders(self) -> list[int]:
        return [
            pid
            for (pid,) in self.ask(
                "SELECT pid FROM pg_stat_progress_create_index WHERE datname = current_database()"
            )
        ]

    def _invalid(self) -> list[str]:
        found = self.ask(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT (indisvalid AND indislive)"
        )
        return [index for (index,) in found]

    def _differences(self, name: str) -> list[str]:
        """Return in what the database is not as the operation declares it."""
        (index, wanted), gone = CASES[name].made, CASES[name].gone
        found = dict(self.ask("SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"))
        problems = [] if found.get(index) == wanted else [f"there is {found.get(index)}, not {wanted}"]
        if gone in found:
            problems.append(f"{gone} is still there")
        if name == "unique" and not self.ask(f"SELECT 1 FROM pg_constraint WHERE conname = '{index}'"):
            problems.append("there is no constraint")
        if name == "partitions":
            parts = self.ask(f"SELECT count(*) FROM pg_inherits WHERE inhparent = '{index}'::regclass")
            all_parts = [each for each in found if each.startswith(f"{index}_")]
            if parts != [(3,)] or len(all_parts) != 3:
                problems.append(f"its partitions have {all_parts}")
        return problems

    def _wait(self, claim: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not claim():
            assert time.monotonic() < deadline, f"It did not happen in {PATIENCE_SECONDS:.0f} seconds."
            time.sleep(0.005)
