"""The priority with which a task is sent; that brokers heed it is tested with theirs."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from perfkit.tasks import configure


def nothing() -> None:
    pass


@pytest.fixture
def app() -> Celery:
    return made()


def made(**settings: Any) -> Celery:
    app = Celery("tests", set_as_current=False, broker="memory://", backend="cache+memory://")
    configure(app, **settings)
    for name in ("shop.pay", "shop.quick.mail", "shop.heavy.report"):
        app.task(nothing, name=name, shared=False)
    with app.connection_for_write() as connection, connection.channel() as channel:
        for queue in app.conf.task_queues:
            queue(channel).declare()
            queue(channel).purge()
    return app


def taken(app: Celery, queue: str) -> Any:
    """Return the priority of the message in a queue."""
    with app.connection_for_write() as connection, connection.channel() as channel:
        message = app.amqp.queues[queue](channel).get(no_ack=True)
    assert message is not None, "There is none in that queue."
    return message.properties.get("priority")


@pytest.mark.parametrize(
    ("name", "queue", "priority"),
    [("shop.pay", "default", 3), ("shop.quick.mail", "quick", 0), ("shop.heavy.report", "heavy", 9)],
)
@pytest.mark.parametrize("is_known", [True, False])
def test_it_is_that_of_the_queue_to_which_the_name_leads(
    app: Celery, name: str, queue: str, priority: int, is_known: bool
) -> None:
    if is_known:
        app.tasks[name].delay()
    else:
        app.send_task(name)
    assert taken(app, queue) == priority


@pytest.mark.parametrize("options", [{"queue": "ai"}, {"exchange": "ai", "routing_key": "ai"}])
@pytest.mark.parametrize("name", ["shop.pay", "shop.quick.mail"])
def test_it_is_that_of_the_queue_that_is_named(app: Celery, name: str, options: dict[str, str]) -> None:
    app.tasks[name].apply_async(**options)
    assert taken(app, "ai") == 6


def test_it_is_the_senders_where_there_is_one(app: Celery) -> None:
    app.tasks["shop.quick.mail"].apply_async(priority=5)
    assert taken(app, "quick") == 5


def test_it_follows_routes_of_the_project() -> None:
    app = made(
        task_routes={"shop.pay": {"queue": "heavy"}, "shop.quick.mail": {"queue": "quick", "priority": 7}}
    )
    app.tasks["shop.pay"].delay()
    app.tasks["shop.quick.mail"].delay()
    app.tasks["shop.heavy.report"].delay()
    assert (taken(app, "heavy"), taken(app, "quick"), taken(app, "default")) == (9, 7, 3)


def test_a_default_of_the_project_is_that_of_all() -> None:
    app = made(task_default_priority=1)
    app.tasks["shop.heavy.report"].delay()
    assert taken(app, "heavy") == 1
