"""A task is a scope of cached reads, and leaves that of its caller as it was."""

from __future__ import annotations

import pytest

from perfkit.caching import token_scope
from perfkit.caching.scope import TokenScope, current_scope
from project.celery import app


@app.task(name="tests.scope")
def scope_number() -> int:
    scope = current_scope()
    assert isinstance(scope, TokenScope)
    return id(scope)


@app.task(name="tests.failing")
def failing() -> None:
    raise ValueError


@app.task(name="tests.nested")
def nested() -> bool:
    own = id(current_scope())
    return scope_number.apply().get(disable_sync_subtasks=False) != own == id(current_scope())


def test_it_is_one_of_its_own() -> None:
    assert current_scope() is None
    assert scope_number.apply().get()
    assert current_scope() is None


def test_it_leaves_that_of_a_request_which_runs_it_at_once() -> None:
    with token_scope():
        own = current_scope()
        assert scope_number.apply().get() != id(own)
        assert current_scope() is own


def test_it_leaves_that_of_a_task_which_runs_it_at_once() -> None:
    assert nested.apply().get()


def test_it_ends_with_a_task_that_fails() -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the task's own
        failing.apply().get()
    assert current_scope() is None
