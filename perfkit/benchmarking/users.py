"""`python -m perfkit.benchmarking.users`: a process full of users.

The plan comes by stdin, the figures go to stdout.
Each user is a thread with a connection of its own, which it keeps where the server does.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

PATIENCE_SECONDS: Final = 30.0
FIRST_BAD: Final = 400


class Users:
    """Users who ask as fast as they are answered.

    Args:
        plan: `base`, `paths`, `users`, `seconds`, and `requests`, which is 0 where the time counts.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._numbers = count()
        self._lock = threading.Lock()
        self._times_ms: list[float] = []
        self._failures: Counter[str] = Counter()
        self._deadline = 0.0

    def run(self) -> dict[str, Any]:
        """Ask until the time or the number is over; return what came of it."""
        threads = [
            threading.Thread(target=self._ask_on, args=(number,)) for number in range(self._plan["users"])
        ]
        begun, cpu = time.perf_counter(), time.process_time()
        self._deadline = begun + self._plan["seconds"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {
            "times_ms": self._times_ms,
            "failures": self._failures,
            "seconds": time.perf_counter() - begun,
            "cpu_seconds": time.process_time() - cpu,
        }

    def _ask_on(self, user: int) -> None:
        parts = urlsplit(self._plan["base"])
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.netloc, timeout=PATIENCE_SECONDS)
        paths, number = self._plan["paths"], user
        times: list[float] = []
        failures: Counter[str] = Counter()
        while self._goes_on():
            begun = time.perf_counter()
            try:
                connection.request("GET", parts.path + paths[number % len(paths)])
                answer = connection.getresponse()
                answer.read()
            except (OSError, HTTPException) as error:
                failures[type(error).__name__] += 1
                connection.close()
            else:
                if answer.status < FIRST_BAD:
                    times.append((time.perf_counter() - begun) * 1000)
                else:
                    failures[f"status {answer.status}"] += 1
            number += 1
        connection.close()
        with self._lock:
            self._times_ms += times
            self._failures += failures

    def _goes_on(self) -> bool:
        if self._plan["requests"]:
            return next(self._numbers) < int(self._plan["requests"])
        return time.perf_counter() < self._deadline


if __name__ == "__main__":
    json.dump(Users(json.load(sys.stdin)).run(), sys.stdout)
