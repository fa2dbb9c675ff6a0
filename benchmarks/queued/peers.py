"""The same work as procrastinate's, whose jobs are rows in PostgreSQL too."""

from __future__ import annotations

from procrastinate.contrib.django import app

from benchmarks.queued.work import leave, wait_for_gate


@app.task(name="leave")  # type: ignore[untyped-decorator]  # the peer is installed for the benchmark alone
def leave_peer(number: int) -> None:
    leave(number)


@app.task(name="gate")  # type: ignore[untyped-decorator]
def gate_peer() -> None:
    wait_for_gate()
