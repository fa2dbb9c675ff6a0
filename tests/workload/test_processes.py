from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from perfkit.models import WorkloadCount, WorkloadSample, WorkloadShape
from perfkit.workload.reading import read_capture
from tests.plugins.nodes import wait_for
from tests.workload.conftest import Captured
from tests.workload.processes.sending import NUMBERS

pytestmark = pytest.mark.postgres
THREADS = 2


class Senders:
    """Processes that send statements, each with a file of how many it has sent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *, statements: int) -> subprocess.Popen[bytes]:
        figures = self._folder / f"{len(self.started)}"
        figures.write_bytes(bytes(16 * THREADS))
        settings = connection.settings_dict
        address = f"{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"
        url = f"postgres://{settings['USER']}:{settings['PASSWORD']}@{address}"
        command = [
            sys.executable,
            "-m",
            "tests.workload.processes.sending",
            url,
            figures,
            statements,
            THREADS,
        ]
        child = subprocess.Popen(
            [*map(str, command)], cwd=Path.cwd(), env={**os.environ, "PYTHONPATH": str(Path.cwd())}
        )
        self.started.append(child)
        return child

    def sent(self, number: int) -> tuple[int, int]:
        """How many statements a process has begun, and how many were answered."""
        content = (self._folder / str(number)).read_bytes()
        pairs = [NUMBERS.unpack_from(content, 16 * thread) for thread in range(THREADS)]
        return sum(begun for begun, _ in pairs), sum(answered for _, answered in pairs)


@pytest.fixture
def senders(captured: Captured, tmp_path: Path) -> Iterator[Senders]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE perfect (id integer)")
    captured.set(WORKLOAD_ENABLED=False)
    senders = Senders(tmp_path)
    yield senders
    for child in senders.started:
        if child.poll() is None:
            child.kill()
        child.wait()
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE perfect")


def calls() -> int:
    return sum(shape.calls for shape in read_capture().shapes if "perfect" in shape.fingerprint)


def test_processes_that_end_lose_nothing_and_those_that_are_killed_count_nothing_twice(
    senders: Senders,
) -> None:
    lasting = [senders.start(statements=400) for _ in range(2)]
    killed = [senders.start(statements=10_000_000) for _ in range(3)]
    for number, child in enumerate(killed, len(lasting)):
        wait_for(lambda number=number: senders.sent(number)[1] > 300, seconds=120)
        before = calls()
        wait_for(lambda before=before: calls() > before, seconds=120)
        child.kill()
        child.wait()
    assert [child.wait(120) for child in lasting] == [0, 0]
    ended = sum(senders.sent(number)[1] for number in range(len(lasting)))
    assert ended == 2 * THREADS * 400
    begun = sum(senders.sent(number)[0] for number in range(len(lasting), 5))
    found = calls()
    assert ended < found <= ended + begun
    assert {shape.fingerprint for shape in read_capture().shapes} == {
        "SELECT ? AS senta FROM perfect WHERE id = %s",
        "SELECT ? AS sentb FROM perfect WHERE id = %s",
    }
    assert WorkloadShape.objects.count() == 2
    assert WorkloadSample.objects.count() <= 2 * 5
    assert set(WorkloadCount.objects.values_list("shape_digest", flat=True)) == set(
        WorkloadShape.objects.values_list("digest", flat=True)
    )


def test_a_process_that_is_killed_leaves_what_it_had_written_down(senders: Senders) -> None:
    child = senders.start(statements=10_000_000)
    wait_for(lambda: calls() > 0, seconds=120)
    child.kill()
    child.wait()
    before = calls()
    assert 0 < before <= senders.sent(0)[0]
    assert read_capture().shapes[0].samples
