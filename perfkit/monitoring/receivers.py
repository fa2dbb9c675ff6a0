"""Hears what the rooms tell, and records it."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any, Final

from django.core.signals import setting_changed
from django.db import connections

from perfkit.monitoring import open_connections, reads
from perfkit.monitoring.boards import LOOPS, STATEMENTS, Loop, boards
from perfkit.monitoring.ledgers import Ledger
from perfkit.monitoring.recording import recorder, switch
from perfkit.monitoring.series import Series
from perfkit.postgres import pool_figures
from perfkit.postgres.pools import PoolFigures
from perfkit.signals import job_ended, limit_applied, model_answered, n_plus_one_found, task_ended

NAME: Final = "perfkit.monitoring.receivers"
MICROSECONDS: Final = 1_000_000

_waits: Final[dict[str, tuple[int, int, int]]] = {}
"""How often a connection was waited for, how many microseconds, how often in vain: what has been recorded."""

_lost: Final[list[int]] = [0]


def install() -> None:
    """Hear it from now on; calling it again changes nothing."""
    task_ended.connect(_task_ended, dispatch_uid=NAME)
    job_ended.connect(_job_ended, dispatch_uid=NAME)
    n_plus_one_found.connect(_loop_found, dispatch_uid=NAME)
    model_answered.connect(_model_answered, dispatch_uid=NAME)
    open_connections.install()
    reads.install()
    if _post not in recorder.after_telling:
        recorder.after_telling.append(_post)
        recorder.at_end.append(boards.leave)
        recorder.after_adding.append(_used)
        recorder.at_retirement.append(_forget)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_begin_anew)
    for measure in (_measure_pools, _measure_lost):
        if measure not in recorder.before_telling:
            recorder.before_telling.append(measure)
    setting_changed.connect(_follow_switch, dispatch_uid=NAME)  # after the switch itself
    _follow_switch()


def _follow_switch(**_: object) -> None:
    """Listen to what is told only where somebody listens, as long as it is recorded."""
    if switch.is_on:
        limit_applied.connect(_limit_applied, dispatch_uid=NAME)
    else:
        limit_applied.disconnect(dispatch_uid=NAME)


def _begin_anew() -> None:
    """Know nothing in a child of the process."""
    boards.begin_anew()
    _waits.clear()
    _lost[0] = 0


def _task_ended(
    *,
    sender: Any,
    outcome: str,
    run_seconds: float,
    wait_seconds: float | None,
    retries: int,
    queue: str,
    **_: object,
) -> None:
    _record_run(
        str(sender), queue, outcome, run_seconds=run_seconds, wait_seconds=wait_seconds, retries=retries
    )


def _job_ended(
    *,
    sender: Any,
    outcome: str,
    run_seconds: float,
    wait_seconds: float | None,
    failures: int,
    **_: object,
) -> None:
    name, queue = getattr(sender, "name", str(sender)), getattr(sender, "queue", None) or "default"
    _record_run(name, queue, outcome, run_seconds=run_seconds, wait_seconds=wait_seconds, retries=failures)


def _record_run(
    name: str, queue: str, outcome: str, *, run_seconds: float, wait_seconds: float | None, retries: int
) -> None:
    if not switch.is_on:
        return
    recorder.record(recorder.series("task", name, queue, outcome), int(run_seconds * MICROSECONDS), retries)
    if wait_seconds is not None:
        recorder.record(recorder.series("wait", queue), int(wait_seconds * MICROSECONDS))


def _loop_found(*, finding: Any, **_: object) -> None:
    if switch.is_on:
        recorder.record(recorder.series("loop", str(finding.kind), finding.name), 1, finding.queries)
        loop = Loop(
            str(finding.kind), finding.name, finding.lines, finding.statement, finding.fix, finding.queries
        )
        boards.note(LOOPS, f"{loop.kind}\t{loop.name}", loop)


def _limit_applied(*, scope: str, verdict: Any, reason: str, **_: object) -> None:
    if switch.is_on and (verdict is not None or reason == "outage"):
        admitted = "admitted" if verdict is None or verdict.is_admitted else "refused"
        outcome = "uncounted" if verdict is None else admitted
        recorder.record(recorder.series("limit", scope, outcome), 1)


def _model_answered(*, model: str, outcome: str, seconds: float, usage: Any, **_: object) -> None:
    if switch.is_on:
        tokens = (0, 0) if usage is None else (usage.input_tokens + usage.output_tokens, usage.output_tokens)
        recorder.record(recorder.series("model", model, outcome), int(seconds * MICROSECONDS), *tokens)


def _used(found: Collection[Series]) -> None:
    """Have what is known of statements and loops put up on the boards of each day in which there are any."""
    boards.use(STATEMENTS, [each.labels[-1] for each in found if each.kind == "query"])
    boards.use(LOOPS, ["\t".join(each.labels) for each in found if each.kind == "loop"])


def _forget(series: Series, _: int) -> None:
    if series.kind == "loop":
        boards.forget(LOOPS, "\t".join(series.labels))


def _post(ledger: Ledger) -> None:
    boards.post(ledger, lost=recorder.lost)


def _measure_pools() -> None:
    if not switch.is_on:
        return
    for alias in connections:
        figures = pool_figures(alias)
        if figures is not None and figures.size:
            recorder.record(recorder.series("pool", alias), 1, figures.in_use, figures.most)
            _record_waits(alias, figures)


def _record_waits(alias: str, figures: PoolFigures) -> None:
    """Record how often a connection was waited for since the last time."""
    now = figures.queued, int(figures.waited_seconds * MICROSECONDS), figures.timeouts
    told = _waits.get(alias, (0, 0, 0))
    is_same = all(number >= before for number, before in zip(now, told, strict=True))  # and not a new pool
    new = [number - before for number, before in zip(now, told, strict=True)] if is_same else list(now)
    if any(new):
        recorder.record(recorder.series("queue", alias), *new)
    _waits[alias] = now


def _measure_lost() -> None:
    """Record how many minutes of measurements this process had to give up."""
    if switch.is_on and recorder.lost != _lost[0]:
        new = recorder.lost - _lost[0] if recorder.lost > _lost[0] else recorder.lost
        if new:
            recorder.record(recorder.series("lost"), new)
        _lost[0] = recorder.lost
