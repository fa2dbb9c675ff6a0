"""Eight web processes and two Celery workers share one cache; some are killed, and every read is checked.

What is checked, and how, is the soak's: see Note [Registers] in `tests.soak.history`.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from celery.exceptions import TimeoutError as TaskTimeoutError
from django.conf import settings

from project.services.processes import end, free_port, is_alive
from project.services.state import LOOPBACK
from tests.caching.conftest import wait_until
from tests.caching.scale_out import site
from tests.soak.board import Board
from tests.soak.history import problems
from tests.soak.looks import LOOKS
from tests.soak.stage import LEASE_MS, furnish
from tests.tasks.workers import database_url, running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]

WEB_PROCESSES = 8
SECONDS = 6.0
KILL_EVERY_SECONDS = 1.0
TASK_SECONDS = 10.0
LEAST_HIT_RATE = 0.99
"""Once nobody writes and all has been read, by whomever; what is stored unawaited may take a round more."""

ENVIRONMENT = {"DJANGO_SETTINGS_MODULE": "tests.caching.scale_out.site_settings", "PERFKIT_SCALE_OUT": "1"}


class Site:
    """The site, in eight processes under one of gunicorn's, which replaces those that die."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.log = log
        address = f"{LOOPBACK}:{self.port}"
        command = [sys.executable, "-m", "gunicorn", f"--workers={WEB_PROCESSES}", f"--bind={address}"]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "--timeout=60", "--no-control-socket", f"{site.__name__}:application"],
                env={
                    **os.environ,
                    **ENVIRONMENT,
                    "DATABASE_URL": database_url(),
                    "DJANGO_SECRET_KEY": "only-for-tests",
                },
                cwd=settings.BASE_DIR,
                stdout=output,
                stderr=output,
            )

    def web_processes(self) -> list[psutil.Process]:
        assert self._process.poll() is None, self.log.read_text()
        children = psutil.Process(self._process.pid).children()
        return [child for child in children if is_alive(child)]

    def is_whole(self) -> bool:
        return len(self.web_processes()) == WEB_PROCESSES and get(self.port, "/look/get/0/1/") is not None

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            end(psutil.Process(self._process.pid).children())
            self._process.kill()
            self._process.wait(timeout=10)


@pytest.fixture
def site_process(tmp_path: Path) -> Iterator[Site]:
    started = Site(tmp_path / "gunicorn.log")
    try:
        wait_until(started.is_whole, seconds=60)
        yield started
    finally:
        started.stop()


def get(port: int, path: str) -> Any:
    """Ask the site; None where the process that was to answer is gone."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    try:
        connection.request("GET", quote(path))
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    assert response.status == 200, body[:2000]
    return json.loads(body)


class Check:
    """Who reads and writes, and what is known of that."""

    def __init__(self, port: int, board: Board) -> None:
        self.port = port
        self.board = board
        self.ends = 0.0
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self.pids: dict[str, set[int]] = {"look": set(), "write": set(), "task": set()}
        self._lock = threading.Lock()

    @property
    def is_on(self) -> bool:
        return time.monotonic() < self.ends and not self.faults

    def look(self, ask: Callable[[str, int, int], Any], kind: str, key: int) -> list[str]:
        """Look, check what was seen, and return where it came from."""
        floors = tuple(self.board.floors)
        told = ask(kind, site.LAYOUT.station_of(key), key)
        known = self.board.known(floors)
        if told is None:
            self.count("looks that nobody answered")
            return []
        for problem in problems(site.answer_of(told), known):
            self.faults.append(f"{kind} of {key}: {problem}, {told}")
        self.count("looks")
        for outcome in told["outcomes"]:
            self.count(outcome)
        self.pids["look"].add(told["pid"])
        return [str(outcome) for outcome in told["outcomes"]]

    def write(self, ask: Callable[[str, int, int], Any], key: int) -> None:
        """Write the next version of a row that nobody else writes."""
        register = site.LAYOUT.gauge(key)
        version = self.board.next_state([register], is_there=True)
        pid = ask(random.choice(site.WAYS), key, version)
        if pid is None:
            self.count("writes that nobody answered")
            return
        self.board.committed(register, version, by=0)
        self.count("writes")
        self.pids["write"].add(pid)

    def count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1

    # Ways to ask.

    def site_look(self, kind: str, station: int, key: int) -> Any:
        return get(self.port, f"/look/{kind}/{station}/{key}/")

    def site_write(self, way: str, key: int, version: int) -> Any:
        told = get(self.port, f"/write/{way}/{key}/{version}/")
        return None if told is None else told["pid"]

    def task_look(self, kind: str, station: int, key: int) -> Any:
        return self._done(site.look.delay(kind, station, key))

    def task_write(self, way: str, key: int, version: int) -> Any:
        return self._done(site.write.delay(way, key, version))

    def _done(self, result: Any) -> Any:
        try:
            told = result.get(timeout=TASK_SECONDS)
        except TaskTimeoutError:
            return None
        self.pids["task"].add(told if isinstance(told, int) else told["pid"])
        return told

    # What threads do.

    def read_on(self, number: int) -> None:
        chance = random.Random(number)
        while self.is_on:
            recent = self.board.recent_keys()
            key = chance.choice(recent if recent and chance.random() < 0.5 else site.LAYOUT.gauges)
            self.look(self.site_look, chance.choice(list(LOOKS)), key)

    def write_on(self, number: int) -> None:
        keys = list(site.LAYOUT.gauges)[number::3]
        while self.is_on:
            self.write(self.site_write, random.choice(keys))

    def work_on(self, number: int) -> None:
        """Write and read by tasks; in one thread, for others would take each other's results."""
        keys = list(site.LAYOUT.gauges)[number::3]
        while self.is_on:
            key = random.choice(keys)
            self.write(self.task_write, key)
            self.look(self.task_look, random.choice(list(LOOKS)), key)
            self.look(self.site_look, random.choice(list(LOOKS)), key)

    def hit_rate_of_all(self) -> float:
        """Look in every way at every third row, wherever that is answered; return how many reads were hits."""
        looks = [(kind, key) for kind in LOOKS for key in site.LAYOUT.gauges[::3]]
        with ThreadPoolExecutor(8) as threads:
            outcomes = threads.map(lambda look: self.look(self.site_look, *look), looks)
            told = Counter(outcome for each in outcomes for outcome in each)
        assert told.total() >= len(looks)
        return told["hit"] / told.total()


def test_no_read_is_older_than_a_commit_that_had_returned(site_process: Site, tmp_path: Path) -> None:
    board = Board(tmp_path / "board", site.LAYOUT, actors=1, counters=["none"])
    furnish(board)
    check = Check(site_process.port, board)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                running_worker(
                    tmp_path / f"worker{number}.log",
                    "--pool=solo",
                    f"--include={site.__name__}",
                    **ENVIRONMENT,
                )
            )
            for number in range(2)
        ]
        check.ends = time.monotonic() + SECONDS
        killed: list[int] = []

        def kill_on() -> None:
            half = time.monotonic() + SECONDS / 2
            while check.is_on:
                time.sleep(KILL_EVERY_SECONDS)
                victim = random.choice(site_process.web_processes())
                victim.kill()
                killed.append(victim.pid)
                if time.monotonic() > half and workers[0].poll() is None:
                    workers[0].kill()

        with ThreadPoolExecutor(7) as threads:
            futures = [threads.submit(check.read_on, number) for number in range(4)]
            futures += [threads.submit(check.write_on, number) for number in range(2)]
            futures.append(threads.submit(kill_on))
            check.work_on(2)
            for future in futures:
                future.result()
        assert check.faults == []
        assert workers[0].poll() is not None
    wait_until(site_process.is_whole, seconds=30)
    time.sleep(LEASE_MS / 1000)  # what the dead were writing
    wait_until(lambda: check.hit_rate_of_all() >= LEAST_HIT_RATE, seconds=30)
    assert check.faults == []
    assert len(killed) >= SECONDS / KILL_EVERY_SECONDS / 2
    assert len(check.pids["look"]) > WEB_PROCESSES
    assert len(check.pids["write"]) >= WEB_PROCESSES / 2
    assert check.pids["task"] == {worker.pid for worker in workers}
