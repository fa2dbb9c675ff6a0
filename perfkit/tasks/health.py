"""Whether the broker takes connections and each queue has a worker; `perfkit.monitoring.health` asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Final

from celery import Celery, current_app
from django.conf import settings
from kombu import Connection, Producer

from perfkit.conf import options
from perfkit.monitoring.health.results import Finding, degraded, failed
from perfkit.tasks.queues import RABBITMQ_SCHEMES, REDIS_SCHEMES, scheme_of

FOR_BROKER: Final = 0.8
"""Of `HEALTH_TIMEOUT`: how long the broker may be silent."""

EXACT_SECONDS: Final = 0.9
"""On Redis kombu looks at the clock once a second: what is longer may take up to a second more than is said."""

REST_SECONDS: Final = 2.0

AT_ONCE: Final = {"interval_start": 0, "interval_step": 0, "interval_max": 0}
"""How kombu is told not to pause between two tries."""


class AllAnsweredError(Exception):
    """Each queue has a worker; what others say need not be waited for. Never leaves this module."""


class SendsOnce(Producer):
    """Sends a message once; kombu's mailbox asks for retries without an end, which a broker that has gone gets."""

    def publish(self, *args: Any, **options: Any) -> Any:
        """Publish, and raise where the connection is lost."""
        return super().publish(*args, **{**options, "retry": False})


def check_broker(app: Celery | None = None) -> Finding | str | None:
    """Open a connection to the broker, and close it."""
    asked = app or current_app
    missing = _without_broker(asked)
    if missing is not None:
        return missing
    with _connected(asked):
        return None


def check_workers(app: Celery | None = None) -> Finding | str | None:
    """Ask all workers which queues they take from, until each queue that is declared has one."""
    asked = app or current_app
    if asked.conf.task_always_eager:
        return "tasks run where they are sent"
    missing = _without_broker(asked)
    if missing is not None:
        return missing
    with _connected(asked) as connection:
        served: set[str] = set()
        answered: list[str] = []
        declared = _declared(asked)

        def hear(answer: Mapping[str, Any]) -> None:
            for worker, queues in answer.items():
                answered.append(worker)
                served.update(queue["name"] for queue in queues)
            if declared <= served:
                raise AllAnsweredError

        try:
            _mailbox(asked, connection).multi_call(
                "active_queues", timeout=_patience(), callback=hear, channel=connection.default_channel
            )
        except AllAnsweredError:
            return None
    if not answered:
        return failed("no worker answers")
    return failed(f"no worker takes from: {', '.join(sorted(declared - served))}")


def _mailbox(app: Celery, connection: Connection) -> Any:
    """Return what asks workers on this connection; Celery's own sends by one of its pool, which waits for ever."""
    control: Any = app.control  # whose stubs lack it
    mailbox = control.mailbox(connection)
    mailbox.producer_or_acquire = lambda _producer=None, channel=None: nullcontext(
        SendsOnce(channel, auto_declare=False)
    )
    return mailbox


def _patience() -> float:
    """Return for how long workers that have not answered are waited for."""
    seconds = options.HEALTH_TIMEOUT
    return max(min(EXACT_SECONDS, seconds / 2), FOR_BROKER * seconds - REST_SECONDS)


def _without_broker(app: Celery) -> Finding | str | None:
    """Say why there is nothing to ask; None where there is."""
    if app.conf.broker_write_url or app.conf.broker_url:
        return None
    if getattr(settings, "CELERY_BROKER_URL", None):
        return degraded("CELERY_BROKER_URL is set, and this process has not loaded the project's Celery app")
    return "no broker is named"


@contextmanager
def _connected(app: Celery) -> Iterator[Connection]:
    """Connect to the broker; each of several is tried, without a pause."""
    seconds = FOR_BROKER * options.HEALTH_TIMEOUT
    connection: Any = app.connection_for_write(
        connect_timeout=seconds, transport_options=_limits(app, seconds)
    )
    try:
        tries = {**AT_ONCE, "max_retries": max(1, len(connection.alt))}
        connection.transport_options.update(tries)  # where it is lost it is made anew, and tried for as long
        connection.ensure_connection(**tries)
        yield connection
    finally:
        connection.release()


def _limits(app: Celery, seconds: float) -> Mapping[str, Any]:
    """Return how a transport is told not to wait for ever."""
    scheme = scheme_of(app.conf.broker_write_url or app.conf.broker_url)
    if scheme in REDIS_SCHEMES:
        return {"socket_timeout": seconds, "socket_connect_timeout": seconds, "retry_on_timeout": False}
    if scheme in RABBITMQ_SCHEMES:
        return {"read_timeout": seconds, "write_timeout": seconds}
    return {}


def _declared(app: Celery) -> set[str]:
    declared = app.conf.task_queues
    if not declared:
        return {app.conf.task_default_queue}
    names = declared if isinstance(declared, Mapping) else [queue.name for queue in declared]
    return set(names)
