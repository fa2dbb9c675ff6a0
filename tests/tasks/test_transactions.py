"""Tasks that are sent within a transaction are told of, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from django.db import transaction
from django.test import override_settings

from perfkit.conf import configured
from perfkit.errors import TaskInTransactionError
from perfkit.tasks import configure, transactions

THIS = "tests/tasks/test_transactions.py:"


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(transactions, "_logged", set())
    app = Celery("tests", set_as_current=False, broker="memory://localhost", backend="cache+memory://")
    configure(app)

    def work(secret: str) -> None:
        pass

    return app.task(work, name="shop.work", shared=False)


def mode(name: str) -> override_settings:
    return override_settings(PERFKIT={**configured(), "TASK_IN_TRANSACTION": name})


@pytest.mark.django_db(transaction=True)
def test_it_is_logged_once_for_each_line_and_without_arguments(task: Any, caplog: Any) -> None:
    with transaction.atomic():
        for _ in range(3):
            task.delay("hidden")
        task.apply_async(["hidden"])
    assert len(caplog.messages) == 2
    assert all(text.startswith(THIS) and "shop.work" in text for text in caplog.messages)
    assert "hidden" not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_it_is_refused_where_that_is_wanted(task: Any) -> None:
    with mode("raise"), transaction.atomic(), pytest.raises(TaskInTransactionError, match=r"shop\.work"):
        task.delay("x")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["log", "off", "raise"])
def test_outside_and_after_commit_there_is_nothing_to_say(task: Any, caplog: Any, name: str) -> None:
    with mode(name):
        task.delay("x")
        with transaction.atomic():
            transaction.on_commit(lambda: task.delay("x"))
            task.apply_async(["x"], retries=1)
    assert caplog.messages == []


@pytest.mark.django_db
def test_the_transaction_around_a_test_is_not_the_projects(task: Any, caplog: Any) -> None:
    task.delay("x")
    assert caplog.messages == []
    with transaction.atomic():
        task.delay("x")
    assert len(caplog.messages) == 1
