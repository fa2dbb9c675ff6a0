"""Tasks that read one airline through the cache, and tell where they ran."""

from __future__ import annotations

import os
import threading
from typing import Any, Final, TypedDict

from celery import Task
from celery.signals import task_postrun

from perfkit.caching.scope import current_scope
from project.celery import app
from project.flights.models import Airline

_was_free: Final[list[bool]] = []


class Told(TypedDict):
    """What a task tells.

    Args:
        names: As its cached reads found them, in order.
        runner: The process and the thread.
        was_free: After each earlier task of that process: whether it had left no scope.
    """

    names: list[str]
    runner: tuple[int, int]
    was_free: list[bool]


@task_postrun.connect(weak=False)
def _note_what_is_left(**_: Any) -> None:
    _was_free.append(current_scope() is None)  # connected after perfkit's own, so called after it


def name(code: str) -> str:
    return Airline.objects.get(pk=code).name


def told(*names: str) -> Told:
    return {
        "names": list(names),
        "runner": (os.getpid(), threading.get_ident()),
        "was_free": list(_was_free),
    }


@app.task(name="tests.read_twice")
def read_twice(code: str) -> Told:
    return told(name(code), name(code))


@app.task(name="tests.rename")
def rename(code: str, new: str) -> Told:
    before = name(code)
    Airline.objects.filter(pk=code).update(name=new)
    return told(before, name(code), name(code))


@app.task(name="tests.read_and_fail")
def read_and_fail(code: str) -> None:
    raise ValueError(name(code))


@app.task(name="tests.read_and_retry", bind=True)
def read_and_retry(self: Task[..., Any], code: str) -> Told:
    if not self.request.retries:
        raise self.retry(exc=ValueError(name(code)), countdown=0)
    return told(name(code))
