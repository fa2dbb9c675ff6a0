"""Rules of time limits: what ends a task that hangs."""

from __future__ import annotations

from collections.abc import Iterator

from perfkit.tasks.auditing.audited import ENDLESS_POOLS, Audited, Finding, listed


def without_limit(audited: Audited) -> Iterator[Finding]:
    """Find tasks that nothing ends."""
    conf = audited.conf
    if conf.worker_pool in ENDLESS_POOLS:
        yield Finding(
            "W602",
            f"worker_pool is {conf.worker_pool!r}, which ends no task, whatever its limits: one that hangs holds "
            "its place in the worker for ever.",
            "Run tasks that can hang with --pool=prefork; silence this where each gives up by itself.",
        )
        return
    endless = [task.name for task in audited.tasks if not audited.hard_limit(task)]
    if endless or not (audited.tasks or conf.task_time_limit):
        yield Finding(
            "W602",
            f"task_time_limit is {conf.task_time_limit}: nothing ends {listed(endless) or 'a task'} where it "
            "hangs, and so holds a process of its worker for ever.",
            "Write task_time_limit = 300 and task_soft_time_limit = 270, or what your longest task needs.",
        )


def soft_after_hard(audited: Audited) -> Iterator[Finding]:
    """Find soft limits that come too late."""
    conf = audited.conf
    if not audited.forks:
        return  # no other pool has soft limits
    wrong = [
        task.name
        for task in audited.tasks
        if (hard := audited.hard_limit(task)) and audited.soft_limit(task) >= hard
    ]
    soft, hard = conf.task_soft_time_limit, conf.task_time_limit
    if wrong or (not audited.tasks and soft and hard and soft >= hard):
        yield Finding(
            "W603",
            f"A soft time limit is not below the hard one, so the process of {listed(wrong) or 'a task'} is "
            f"killed before it hears of the end: task_soft_time_limit is {soft}, task_time_limit {hard}.",
            "Write a soft_time_limit some seconds below the time_limit.",
        )
