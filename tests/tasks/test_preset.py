from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import QueueNotFound

from perfkit.errors import VisibilityTimeoutError
from perfkit.tasks import configure, preset
from perfkit.tasks.preset import usable_cores
from perfkit.tasks.queues import LONGEST_ETA_SECONDS, QUEUES, VISIBILITY_MARGIN_SECONDS, broker_of
from project.celery import app as project_app


def make_app(**overrides: Any) -> Celery:
    app = Celery("tests", set_as_current=False, broker="memory://", backend="cache+memory://")
    configure(app, **overrides)
    return app


def task_of(app: Celery, name: str, **options: Any) -> Any:
    def work() -> None:
        pass

    return app.task(work, name=name, shared=False, **options)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_acks_late", True),
        ("task_reject_on_worker_lost", True),
        ("worker_prefetch_multiplier", 1),
        ("worker_concurrency", usable_cores()),
        ("worker_max_tasks_per_child", 1000),
        ("result_expires", 3600),
        ("worker_send_task_events", True),
        ("task_send_sent_event", True),
        ("task_serializer", "json"),
        ("result_serializer", "json"),
        ("accept_content", ("json",)),
        ("result_accept_content", ("json",)),
    ],
)
def test_it_configures(name: str, value: object) -> None:
    assert make_app().conf[name] == value
    assert project_app.conf[name] == value


def test_it_gives_each_setting_once_and_with_its_reason() -> None:
    conf = make_app().conf
    names = [setting.name for setting in preset()]
    assert len(names) == len(set(names))
    for setting in preset():
        assert setting.reason.endswith("."), setting.name
        assert type(conf[setting.name]) is type(setting.value)


def test_it_has_the_four_queues() -> None:
    assert {queue.name for queue in make_app().conf.task_queues} == {"default", "quick", "heavy", "ai"}


@pytest.mark.parametrize(
    ("task", "queue"),
    [
        ("shop.orders.pay", "default"),
        ("shop.quick.mail", "quick"),
        ("shop.heavy.report", "heavy"),
        ("shop.ai.answer", "ai"),
        ("perfkit.warm_cache", "heavy"),
    ],
)
def test_it_routes_by_name(task: str, queue: str) -> None:
    assert make_app().amqp.router.route({}, task)["queue"].name == queue


def test_a_message_reaches_its_queue_and_no_other() -> None:
    app = make_app()
    with app.connection_for_write() as connection, connection.channel() as channel:
        for queue in app.conf.task_queues:
            queue(channel).declare()
            queue(channel).purge()
        task_of(app, "shop.quick.mail").apply_async(connection=connection)
        task_of(app, "shop.pay").apply_async(connection=connection, queue="heavy")
        app.send_task("shop.other", connection=connection, exchange="ai", routing_key="ai")
        sizes = {
            queue.name: queue(channel).queue_declare(passive=True).message_count
            for queue in app.conf.task_queues
        }
    assert sizes == {"quick": 1, "heavy": 1, "ai": 1, "default": 0}


@pytest.mark.parametrize("is_by_name", [True, False])
def test_a_message_has_the_priority_of_its_route(is_by_name: bool) -> None:
    """Of a task that is sent by itself or by its name: Celery would give both that of the app."""
    app = make_app()
    names = ["shop.pay", "shop.quick.mail", "shop.heavy.report", "shop.ai.answer"]
    tasks = {name: task_of(app, name) for name in names}
    sent = {}
    with app.connection_for_write() as connection, connection.channel() as channel:
        for queue in app.conf.task_queues:
            queue(channel).declare()
            queue(channel).purge()
        for name, task in tasks.items():
            if is_by_name:
                app.send_task(name, connection=connection)
            else:
                task.apply_async(connection=connection)
        for queue in app.conf.task_queues:
            message = queue(channel).get()
            assert message is not None
            sent[message.headers["task"]] = message.properties["priority"]
    assert sent == {"shop.pay": 3, "shop.quick.mail": 0, "shop.heavy.report": 9, "shop.ai.answer": 6}


def test_it_refuses_a_misspelt_queue() -> None:
    with pytest.raises(QueueNotFound):
        task_of(make_app(), "shop.pay").apply_async(queue="qiuck")


def test_its_visibility_timeout_fits_the_limits() -> None:
    longest = max(queue.hard_seconds for queue in QUEUES)
    for eta in (0, LONGEST_ETA_SECONDS, 86_400):
        options = make_app(longest_eta_seconds=eta).conf.broker_transport_options
        assert options["visibility_timeout"] == longest + eta + VISIBILITY_MARGIN_SECONDS


def test_its_visibility_timeout_follows_a_longer_limit() -> None:
    options = make_app(task_time_limit=7200).conf.broker_transport_options
    assert options["visibility_timeout"] == 7200 + LONGEST_ETA_SECONDS + VISIBILITY_MARGIN_SECONDS
    assert options["priority_steps"] == [0, 3, 6, 9]


def test_it_refuses_a_visibility_timeout_that_delivers_twice() -> None:
    with pytest.raises(VisibilityTimeoutError, match="3600 s is too short"):
        make_app(broker_transport_options={"visibility_timeout": 3600})


def configured_with(is_configured_first: bool, **settings: Any) -> Celery:
    """Return an app that reads `settings` as Django's; the configuration is not loaded yet."""
    app = Celery("tests", set_as_current=False, broker="redis://")
    steps = [
        lambda: configure(app),
        lambda: app.config_from_object(SimpleNamespace(**settings), namespace="CELERY"),
    ]
    for step in steps if is_configured_first else reversed(steps):
        step()
    return app


@pytest.mark.parametrize("is_configured_first", [True, False])
class TestTransportOptionsOfTheProject:
    def test_it_refuses_a_visibility_timeout_that_delivers_twice(self, is_configured_first: bool) -> None:
        app = configured_with(is_configured_first, CELERY_BROKER_TRANSPORT_OPTIONS={"visibility_timeout": 60})
        with pytest.raises(VisibilityTimeoutError, match="60 s is too short"):
            _ = app.conf.task_acks_late

    def test_it_refuses_one_that_is_too_short_for_the_projects_limit(self, is_configured_first: bool) -> None:
        app = configured_with(
            is_configured_first,
            CELERY_TASK_TIME_LIMIT=7200,
            CELERY_BROKER_TRANSPORT_OPTIONS={"visibility_timeout": 7200},
        )
        with pytest.raises(VisibilityTimeoutError, match=r"hard time limit \(7200 s\)"):
            _ = app.conf.task_acks_late

    def test_it_adds_what_they_leave_out(self, is_configured_first: bool) -> None:
        app = configured_with(
            is_configured_first,
            CELERY_BROKER_TRANSPORT_OPTIONS={"visibility_timeout": 9000, "global_keyprefix": "shop:"},
        )
        assert app.conf.broker_transport_options == {
            "visibility_timeout": 9000,
            "global_keyprefix": "shop:",
            "priority_steps": [0, 3, 6, 9],
            "queue_order_strategy": "priority",
            "socket_connect_timeout": 5,
            "socket_timeout": 10,
        }

    def test_its_visibility_timeout_follows_their_time_limit(self, is_configured_first: bool) -> None:
        app = configured_with(is_configured_first, CELERY_TASK_TIME_LIMIT=7200)
        options = app.conf.broker_transport_options
        assert options["visibility_timeout"] == 7200 + LONGEST_ETA_SECONDS + VISIBILITY_MARGIN_SECONDS


def test_it_refuses_a_short_visibility_timeout_of_an_app_that_is_configured() -> None:
    app = Celery("tests", set_as_current=False, broker="redis://")
    app.conf.broker_transport_options = {"visibility_timeout": 60}
    assert app.conf.task_acks_late is False
    with pytest.raises(VisibilityTimeoutError, match="60 s is too short"):
        configure(app)


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_it_limits_a_task_by_its_queue(queue: Any) -> None:
    app = make_app()
    task = task_of(app, f"shop.{queue.name}.work")
    assert (task.soft_time_limit, task.time_limit) == (queue.soft_seconds, queue.hard_seconds)
    assert queue.soft_seconds < queue.hard_seconds


def test_it_leaves_a_tasks_own_limits_alone() -> None:
    task = task_of(make_app(), "shop.quick.slow", time_limit=600)
    assert task.time_limit == 600


def test_an_override_replaces_a_value() -> None:
    conf = make_app(result_expires=60, worker_concurrency=2).conf
    assert (conf.result_expires, conf.worker_concurrency, conf.task_acks_late) == (60, 2, True)


@pytest.mark.parametrize("is_configured_first", [True, False])
def test_what_the_project_configures_itself_wins(is_configured_first: bool) -> None:
    app = Celery("tests", set_as_current=False)
    steps = [lambda: configure(app), lambda: app.config_from_object({"result_expires": 60})]
    for step in steps if is_configured_first else reversed(steps):
        step()
    assert (app.conf.result_expires, app.conf.task_acks_late) == (60, True)


def other_than(value: Any) -> Any:
    """Return a value of the same type that the preset does not have."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return f"{value}-other"
    return {"of": "the project"} if isinstance(value, dict) else (*value[:1],) if len(value) > 1 else ()


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
@pytest.mark.parametrize("name", [setting.name for setting in preset()])
def test_each_setting_can_be_overridden(name: str, broker: Any) -> None:
    """By an argument, and by the project's own configuration, which wins."""
    (setting,) = [each for each in preset(broker=broker) if each.name == name]
    other = other_than(setting.value)
    expected = {**setting.value, **other} if name == "broker_transport_options" else other
    url = {"redis": "redis://", "rabbitmq": "amqp://"}[broker]
    by_argument = Celery("tests", set_as_current=False, broker=url)
    configure(by_argument, **{name: other})
    by_project = Celery("tests", set_as_current=False, broker=url)
    configure(by_project)
    own_name = f"CELERY_{name.removeprefix('CELERY_').upper()}"
    by_project.config_from_object(SimpleNamespace(**{own_name: other}), namespace="CELERY")
    for app in (by_argument, by_project):
        assert app.conf[name] == expected


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        (None, "rabbitmq"),
        ("amqp://guest@localhost//", "rabbitmq"),
        ("amqps://a;amqps://b", "rabbitmq"),
        (["pyamqp://a", "pyamqp://b"], "rabbitmq"),
        ("redis://localhost/1", "redis"),
        ("rediss://localhost", "redis"),
        ("redis+socket:///run/redis.sock", "redis"),
        ("sentinel://a;sentinel://b", "redis"),
        ("memory://", "redis"),
        ("sqs://", "redis"),
    ],
)
def test_it_knows_by_the_url_how_a_broker_counts(url: Any, broker: str) -> None:
    assert broker_of(url) == broker


class TestOnRabbitMq:
    """Priorities are turned round, queues have them declared, and nothing of Redis is said."""

    @pytest.fixture(params=["argument", "django", "override"])
    def app(self, request: pytest.FixtureRequest) -> Celery:
        url = "amqp://guest@localhost//"
        app = Celery("tests", set_as_current=False, broker=url if request.param == "argument" else None)
        configure(app, **({"broker_url": url} if request.param == "override" else {}))
        if request.param == "django":
            app.config_from_object(SimpleNamespace(CELERY_BROKER_URL=url), namespace="CELERY")
        return app

    def test_it_has_no_options_of_redis(self, app: Celery) -> None:
        assert app.conf.broker_transport_options == {"confirm_publish": True}

    def test_its_queues_are_declared_with_priorities_and_time_to_acknowledge(self, app: Celery) -> None:
        by_name = {queue.name: queue for queue in app.conf.task_queues}
        for queue in QUEUES:
            least = queue.hard_seconds + LONGEST_ETA_SECONDS + VISIBILITY_MARGIN_SECONDS
            assert by_name[queue.name].queue_arguments == {"x-max-priority": 9}
            assert by_name[queue.name].consumer_arguments == {"x-consumer-timeout": least * 1000}

    def test_a_long_limit_needs_no_visibility_timeout(self) -> None:
        app = Celery("tests", set_as_current=False, broker="amqp://")
        configure(app, task_time_limit=86_400)
        assert "visibility_timeout" not in app.conf.broker_transport_options


def test_it_counts_the_cores_that_may_be_used() -> None:
    assert usable_cores() >= 1
