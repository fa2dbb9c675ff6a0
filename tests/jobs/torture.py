"""Workers and a broker that are killed, restarted and stopped while jobs run."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

import psutil

ROOT: Final = Path(__file__).parents[2]
CHILDREN: Final = 2

LONGER_THAN_A_LEASE: Final = 3.0


class Broker(Protocol):
    """One that a test may kill; Valkey comes back without a memory, RabbitMQ with what it has confirmed."""

    url: str

    def start(self) -> None: ...
    def kill(self) -> None: ...


class TorturedWorker:
    """A worker with some children, in a process group of its own."""

    def __init__(
        self,
        environment: dict[str, str],
        log: Path,
        *,
        app: str,
        queues: str = "celery",
        children: int = CHILDREN,
    ) -> None:
        self._environment = environment
        self._log = log
        self._app = app
        self._queues = queues
        self._number = children
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "celery", "-A", self._app, "worker", "--loglevel=WARNING"]
        options = ["--without-mingle", "--without-gossip", "-c", str(self._number), "-Q", self._queues]
        with self._log.open("ab") as output:
            self._process = psutil.Popen(
                [*command, *options, "-n", f"{random.getrandbits(64):x}@localhost"],
                env=self._environment,
                cwd=ROOT,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def children(self) -> list[psutil.Process]:
        """Those that run jobs."""
        with suppress(psutil.NoSuchProcess):
            found: list[psutil.Process] = self._process.children()
            return found
        return []

    def kill(self) -> None:
        """End all of it, as a machine that loses its power does."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=10)


class Torture:
    """What disturbs the jobs, one disturbance after the other.

    Attributes:
        counts: How often each was done.
    """

    def __init__(self, broker: Broker, workers: list[TorturedWorker], chance: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self._broker = broker
        self._workers = workers
        self._chance = chance
        self._stopped: list[tuple[float, psutil.Process]] = []

    def disturb(self) -> None:
        """Do one of them: each once, then any but the broker's restart."""
        disturbances = [self._kill_child, self._stop_child, self._kill_worker, self._restart_broker]
        number = sum(self.counts.values())
        if number < len(disturbances):
            disturbances[number]()
        else:
            self._chance.choices(disturbances, weights=(5, 3, 1, 0))[0]()

    def resume(self) -> None:
        """Let those go on that were stopped for longer than their lease."""
        for item in list(self._stopped):
            since, process = item
            if time.monotonic() - since > LONGER_THAN_A_LEASE:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)
                self._stopped.remove(item)

    def _kill_child(self) -> None:
        self._signal_child(signal.SIGKILL, "children killed")

    def _stop_child(self) -> None:
        process = self._signal_child(signal.SIGSTOP, "children stopped for longer than their lease")
        if process is not None:
            self._stopped.append((time.monotonic(), process))

    def _signal_child(self, number: signal.Signals, name: str) -> psutil.Process | None:
        children = [child for worker in self._workers for child in worker.children()]
        if not children:
            return None
        process = self._chance.choice(children)
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
            self.counts[name] += 1
            return process
        return None

    def _kill_worker(self) -> None:
        worker = self._chance.choice(self._workers)
        worker.kill()
        worker.start()
        self.counts["workers killed"] += 1

    def _restart_broker(self) -> None:
        self._broker.kill()
        self._broker.start()
        self.counts["brokers restarted"] += 1


@contextmanager
def tortured(
    environment: dict[str, str],
    broker: Broker,
    log: Path,
    *,
    app: str,
    queues: str = "celery",
    workers: int = 2,
    seed: int = 0,
) -> Iterator[Torture]:
    """Run workers within the block.

    Args:
        environment: Theirs; it says where the database and the broker are.
        broker: One that may be killed; it runs.
        log: Where the workers write what they say.
        app: The module of their Celery app.
    """
    crew = [TorturedWorker(environment, log, app=app, queues=queues) for _ in range(workers)]
    try:
        yield Torture(broker, crew, random.Random(seed))
    finally:
        for worker in crew:
            worker.kill()


def tell_workers(log: Path) -> str:
    """Return the end of what the workers said."""
    return log.read_text("utf-8", "replace")[-4000:]
