"""A process that answers what it was told, until it is told to end."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.workers import serve


def answer(message: dict[str, Any]) -> dict[str, Any]:
    if message["do"] == "end":
        raise SystemExit(3)
    print("This line is no answer.")
    return {**message, "seconds": 0.5, "variable": os.environ["BENCHMARK_VARIABLE"]}


if __name__ == "__main__":
    serve(answer)
