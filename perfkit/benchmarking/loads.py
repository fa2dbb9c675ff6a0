"""Load over HTTP: users that ask again as soon as they are answered, in processes of their own."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from perfkit.benchmarking.timing import quantile
from perfkit.errors import BenchmarkError

PROCESSES: Final = 2
"""Of clients: one alone would have one core, and so might be what is measured."""

SCRIPT: Final = Path(__file__).with_name("load.lua")
MARK: Final = "perfkit "
POLL_SECONDS: Final = 0.2
GRACE_SECONDS: Final = 60.0

Poll = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of one server.

    Args:
        base: Its address, without a slash at the end.
        paths: Asked in turns.
        users: That ask at once, each on a connection of its own.
        seconds: How long, where `requests` is 0.
        requests: How many, of all users together.
    """

    base: str
    paths: Sequence[str]
    users: int
    seconds: float
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """What a server came to under load.

    Attributes:
        requests: That were answered well.
        failures: The others, by what they came to.
        client: The program that has asked.
        client_cpu_seconds: That it took away from the server.
    """

    requests: int
    failures: dict[str, int]
    seconds: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    client: str
    client_cpu_seconds: float

    @property
    def rate(self) -> float:
        """Answers in a second."""
        return self.requests / self.seconds if self.seconds else 0.0


def put_load(plan: Plan, *, poll: Poll, client: str = "auto") -> Load:
    """Put a server under load, and return what that came to.

    Args:
        poll: Called now and then meanwhile.
        client: `wrk` or `python`; `auto` takes wrk where it is installed and the plan is one of seconds.

    Raises:
        BenchmarkError: The client is not installed, or has failed.
    """
    wrk = shutil.which("wrk")
    if client == "wrk" and wrk is None:
        raise BenchmarkError("wrk is not installed: apt-get install wrk, or --client python.")
    if client == "wrk" and plan.requests:
        raise BenchmarkError("wrk counts seconds, not requests: leave --requests out, or --client python.")
    if wrk is not None and not plan.requests and client != "python":
        return _by_wrk(wrk, plan, poll)
    return _by_python(plan, poll)


def _by_wrk(wrk: str, plan: Plan, poll: Poll) -> Load:
    seconds = max(1, round(plan.seconds))
    threads = min(PROCESSES, plan.users)
    command = [
        *(wrk, "--threads", str(threads), "--connections", str(plan.users), "--duration", f"{seconds}s"),
        *("--timeout", "30s", "--script", str(SCRIPT), plan.base, "--", *plan.paths),
    ]
    before = _cpu_of_children()
    [said] = _run([command], [""], poll, patience_seconds=seconds + GRACE_SECONDS)
    cpu = _cpu_of_children() - before
    line = next((line for line in said.splitlines() if line.startswith(MARK)), "")
    if not line:
        raise BenchmarkError(f"wrk has told no figures: {said[:300]}")
    told = json.loads(line.removeprefix(MARK))
    failures = {name: count for name, count in told["errors"].items() if count}
    answered = told["requests"] - told["errors"]["status 400 and above"]
    p50, p95, p99 = (told[name] / 1000 if answered else None for name in ("p50", "p95", "p99"))
    return Load(answered, failures, told["duration"] / 1e6, p50, p95, p99, "wrk", cpu)


def _by_python(plan: Plan, poll: Poll) -> Load:
    count = min(PROCESSES, plan.users)
    tasks = [
        json.dumps(
            {
                "base": plan.base,
                "paths": [*plan.paths[place:], *plan.paths[:place]],
                "users": _part(plan.users, count, place),
                "seconds": plan.seconds,
                "requests": _part(plan.requests, count, place),
            }
        )
        for place in range(count)
    ]
    command = [sys.executable, "-m", "perfkit.benchmarking.users"]
    # So many requests take as long as they take.
    patience = math.inf if plan.requests else plan.seconds + GRACE_SECONDS
    told = [json.loads(said) for said in _run([command] * count, tasks, poll, patience_seconds=patience)]
    return merged(told)


def merged(told: Sequence[dict[str, Any]]) -> Load:
    """Return what several processes of clients have measured together. Pure."""
    times = [taken for each in told for taken in each["times_ms"]]
    failures = Counter[str]()
    for each in told:
        failures.update(each["failures"])
    p50, p95, p99 = (quantile(times, share) if times else None for share in (0.5, 0.95, 0.99))
    return Load(
        requests=len(times),
        failures=dict(failures),
        seconds=max(each["seconds"] for each in told),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        client=f"{len(told)} processes of Python",
        client_cpu_seconds=sum(each["cpu_seconds"] for each in told),
    )


def _part(whole: int, parts: int, place: int) -> int:
    return whole // parts + (place < whole % parts)


def _run(
    commands: Sequence[Sequence[str]], inputs: Sequence[str], poll: Poll, *, patience_seconds: float
) -> list[str]:
    """Run commands at once; return what each has printed.

    Raises:
        BenchmarkError: One has failed, or has not ended in time.
    """
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, str(number)) for number in range(len(commands))]
        processes: list[subprocess.Popen[str]] = []
        try:
            for command, text, output in zip(commands, inputs, outputs, strict=True):
                with output.open("w") as file:
                    process = subprocess.Popen(  # noqa: S603  # our own client, or wrk
                        command, stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT, text=True
                    )
                processes.append(process)
                with cast("IO[str]", process.stdin) as told:
                    told.write(text)
            deadline = time.monotonic() + patience_seconds
            while any(process.poll() is None for process in processes):
                if time.monotonic() > deadline:
                    raise BenchmarkError("The clients of the load have not come to an end.")
                poll()
                time.sleep(POLL_SECONDS)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        said = [output.read_text(encoding="utf-8", errors="replace") for output in outputs]
    for process, text in zip(processes, said, strict=True):
        if process.returncode:
            raise BenchmarkError(f"A client of the load has failed: {text.strip()[-300:]}")
    return said


def _cpu_of_children() -> float:
    used = os.times()
    return used.children_user + used.children_system
