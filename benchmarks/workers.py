"""Contenders in processes of their own, so that none shares a patched Django with another.

One line of JSON is one message: the benchmark asks, the process answers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

LEAVES_SECONDS: Final = 10
"""How long a process may take to end once nobody asks any more."""


class WorkerError(Exception):
    """A process ended; it has said why on the standard error."""


class Worker:
    """One process that answers messages until it is closed.

    Args:
        name: Told where it fails.
        module: Run as `python -m module`; it must call `serve`.
        variables: Put into its environment, over this one's.
    """

    def __init__(self, name: str, module: str, variables: Mapping[str, str]) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, **message: Any) -> dict[str, Any]:
        """Send a message and wait for its answer.

        Raises:
            WorkerError: The process has ended.
        """
        self.tell(**message)
        return self.answer()

    def tell(self, **message: Any) -> None:
        """Send a message; `answer` must fetch what comes back.

        Raises:
            WorkerError: The process has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{json.dumps(message)}\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerError(f"The process of {self.name} has ended.") from error

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to the oldest message that has none yet.

        Raises:
            WorkerError: The process has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"The process of {self.name} has ended.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Let the process end, and see that it does."""
        try:
            self._process.communicate(timeout=LEAVES_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer one message after the other, until there are no more.

    What anything prints meanwhile goes to the standard error: the standard output is the answers' alone.
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        answers.write(f"{json.dumps(answer(json.loads(line)))}\n")
        answers.flush()


class Once(NamedTuple):
    """One call: statements that reached the database, how long it took, and a digest of what it returned."""

    queries: int
    seconds: float
    answer: str


@dataclass
class Remote:
    """A contender for `rounds.play` whose job is done, and timed, in another process.

    Attributes:
        job: What the process is asked to do.
        calls: How often in one turn.
        seconds: The median time of one call, one per turn.
    """

    worker: Worker
    job: str
    calls: int
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds a call takes."""
        return median(self.seconds)

    def prepare(self, amount: int) -> None:
        """Have the process make ready, outside the time."""
        self.worker.ask(do="prepare", job=self.job, amount=amount)

    def once(self) -> Once:
        """Have the call numbered 0 done, and tell of it alone."""
        return Once(**self.worker.ask(do="once", job=self.job))

    def take_turn(self) -> None:
        """Have the job done and keep the time of one call."""
        self.seconds.append(self.worker.ask(do="turn", job=self.job, calls=self.calls)["seconds"])

    def over(self, other: Remote) -> float:
        """Return how many times as long as `other` this takes: the median of the rounds' ratios.

        The two ran one after the other in each round, so what slows the machine for a while slows both.
        """
        return median(own / its for own, its in zip(self.seconds, other.seconds, strict=True))

    def beyond(self, other: Remote) -> float:
        """Return how many seconds longer than `other` this takes: the median of the rounds' differences."""
        return median(own - its for own, its in zip(self.seconds, other.seconds, strict=True))
