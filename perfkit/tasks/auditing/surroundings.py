"""Rules of surroundings: what Django's settings and Celery's come to together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from django.conf import settings
from django.db import connections

from perfkit.conf import SETTING, options
from perfkit.errors import SettingsError
from perfkit.tasks.auditing.audited import Audited, Finding
from perfkit.tasks.queues import REDIS_SCHEMES

CACHES_OF_REDIS: Final = ("django_redis.cache.RedisCache", "django.core.cache.backends.redis.RedisCache")
LOCAL: Final = ("localhost", "127.0.0.1", "::1", "")
REDIS_PORT: Final = 6379


def no_broker(audited: Audited) -> Iterator[Finding]:
    """Find that no broker is named."""
    conf = audited.conf
    if not (conf.broker_url or conf.broker_write_url or conf.broker_transport or conf.task_always_eager):
        yield Finding(
            "W609",
            "broker_url is None, so Celery looks for RabbitMQ on this machine, as its user guest.",
            'Write broker_url = "redis://…" or "amqp://…".',
        )


def unguarded_transactions(audited: Audited) -> Iterator[Finding]:
    """Find that nothing tells of tasks within transactions, where it is plain that there are some."""
    try:
        mode = options.TASK_IN_TRANSACTION
    except SettingsError:
        return  # check_settings says it
    if audited.is_configured_by_perfkit and mode == "off":
        yield Finding(
            "W612",
            f"{SETTING}['TASK_IN_TRANSACTION'] is 'off': nothing tells of a task that is sent within a "
            "transaction, which may begin before its COMMIT, and though it rolls back.",
            "Take 'log' or 'raise', and send such tasks with after_response or delay_on_commit.",
        )
    atomic = [alias for alias in connections if connections.settings[alias]["ATOMIC_REQUESTS"]]
    if atomic and not audited.is_configured_by_perfkit:
        yield Finding(
            "W612",
            f"DATABASES[{atomic[0]!r}]['ATOMIC_REQUESTS'] is True: what a view sends by delay() may begin before "
            "its COMMIT, and though it rolls back, and nothing tells of it.",
            "Call perfkit.tasks.configure(app), which does; silence this where all use delay_on_commit.",
        )


def unwatched_connections(audited: Audited) -> Iterator[Finding]:
    """Find connections to databases that are kept from task to task, and that nobody looks at."""
    tasks = audited.conf.get("CELERY_DB_REUSE_MAX")
    if tasks and not audited.is_configured_by_perfkit:
        yield Finding(
            "W618",
            f"CELERY_DB_REUSE_MAX is {tasks}, and Celery looks at no connection that it keeps: where the server "
            "has closed one, the tasks of its process fail until that many have run.",
            "Call perfkit.tasks.configure(app), which looks at them before each task, or leave it out.",
        )


def eager(audited: Audited) -> Iterator[Finding]:
    """Find tasks that no worker runs."""
    if audited.conf.task_always_eager and not settings.DEBUG:
        yield Finding(
            "W607",
            "task_always_eager is True while DEBUG is off: tasks run within the request that sends them.",
            "Leave task_always_eager to the settings of your tests.",
        )


def shared_database(audited: Audited) -> Iterator[Finding]:
    """Find a cache in the database of the broker: `cache.clear()` empties all of it."""
    broker = set(_databases([audited.conf.broker_url]))
    for alias, cache in settings.CACHES.items():
        if cache.get("BACKEND") not in CACHES_OF_REDIS or broker.isdisjoint(
            _databases(cache.get("LOCATION"))
        ):
            continue
        yield Finding(
            "W616",
            f"CACHES[{alias!r}] and broker_url are the same database of the same server: cache.clear() deletes "
            "tasks that wait, and so may the server where it evicts what is old.",
            "Give the broker another database, as redis://…/1, or better another server, which evicts nothing.",
        )


def _databases(locations: Any) -> Iterator[tuple[str, int, str]]:
    """Yield host, port and number of each database of Redis that is named; sockets by their path."""
    several: Iterable[Any] = [locations] if isinstance(locations, str) else locations or ()
    for location in several:
        if not isinstance(location, str):
            yield from _databases(location)
            continue
        for each in location.replace(";", ",").split(","):
            parts = urlsplit(each.strip())
            asked = parse_qs(parts.query)
            if parts.scheme == "unix" or parts.scheme.endswith("+socket"):
                number = asked.get("db", asked.get("virtual_host", ["0"]))[0]
                yield unquote(parts.path), 0, number.strip("/") or "0"
            elif parts.scheme in REDIS_SCHEMES - {"sentinel"}:
                host = parts.hostname or ""
                number = asked.get("db", [parts.path.strip("/")])[0]
                yield "" if host in LOCAL else host, parts.port or REDIS_PORT, number or "0"
