"""Asks addresses of the project within this process: without the cache, with an empty one, with a full one."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Self

from django.apps import apps
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core.signals import request_finished
from django.db import close_old_connections, connections, transaction
from django.test import Client
from django.test.utils import override_settings

from perfkit.benchmarking.counting import Sent, counted
from perfkit.benchmarking.pairs import Effort
from perfkit.benchmarking.switches import Switch
from perfkit.benchmarking.timing import p95
from perfkit.caching.control import invalidate, tags_of_model
from perfkit.conf import options
from perfkit.loading.guard.scope import watching
from perfkit.loading.guard.watch import Watch
from perfkit.signals import cache_read

TURN_SECONDS: Final = 0.05
MOST_IN_A_TURN: Final = 50
LEAST_IN_A_TURN: Final = 3
OK: Final = 200


@dataclass(frozen=True, slots=True)
class Probe:
    """What a request without the cache came to; whatever it wrote was rolled back.

    Attributes:
        reason: Why the address is not measured; empty where it is.
        warnings: What the project should look at.
        tables: The models whose tables were read.
    """

    path: str
    reason: str
    queries: int = 0
    size_bytes: int = 0
    warnings: tuple[str, ...] = ()
    models: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """How long requests took, each alone, in milliseconds.

    Attributes:
        off: Without the cache.
        cold: With what depends on the tables that are read made void.
        warm: With what the requests before have left.
        cold_queries, warm_queries: Of one of these.
        bypasses: Why cached reads of a warm one went past the cache.
    """

    off: tuple[float, ...]
    cold: tuple[float, ...]
    warm: tuple[float, ...]
    cold_queries: int
    warm_queries: int
    bypasses: tuple[str, ...]

    @property
    def warm_p95(self) -> float | None:
        """What 95 of 100 warm ones do not exceed."""
        return p95(self.warm)


class Asker:
    """Asks through the project's whole handler, its middleware included.

    Args:
        user: Who is logged in; None for nobody. No session is stored for that: it is signed into a cookie.
    """

    def __init__(self, switch: Switch, *, user: Any = None) -> None:
        self._switch = switch
        self._user = user
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        host = next((each for each in settings.ALLOWED_HOSTS if each.strip(".*")), "localhost").lstrip(".")
        overridden: dict[str, Any] = {"ALLOWED_HOSTS": [*settings.ALLOWED_HOSTS, host]}
        if self._user is not None:
            overridden["SESSION_ENGINE"] = "django.contrib.sessions.backends.signed_cookies"
        self._stack.enter_context(override_settings(**overridden))
        # A site that sends plain requests to HTTPS is asked as by a proxy that has spoken HTTPS.
        more = {"wsgi.url_scheme": "https"} if settings.SECURE_SSL_REDIRECT else {}
        self._switch.off()
        self._without = _client(host, self._user, more)
        self._switch.on()
        self._with = _client(host, self._user, more)
        return self

    def __exit__(self, *_: object) -> None:
        self._switch.on()
        self._stack.close()

    def probe(self, path: str) -> Probe:
        """Ask once without the cache, in transactions that are rolled back."""
        self._switch.off()
        watch = Watch(threshold=options.N_PLUS_ONE_MIN_QUERIES)
        aliases = [alias for alias in connections if connections[alias].features.supports_transactions]
        try:
            with ExitStack() as stack:
                for alias in aliases:
                    stack.enter_context(transaction.atomic(using=alias))
                    stack.callback(transaction.set_rollback, True, using=alias)
                sent = stack.enter_context(counted())
                stack.enter_context(watching(watch))
                response = self._without.get(path)
                reason = _why_not(response)
                size = 0 if reason else len(response.content)
                _close_stream(response)
        finally:
            self._switch.on()
        if not reason and sent.writes:
            reason = f"a GET of it writes: {sent.writes[0][:80]}"
        return Probe(
            path, reason, len(sent.texts), size, tuple(_warnings(path, sent, watch)), tuple(_models(sent))
        )

    def measure(self, probe: Probe, effort: Effort, *, with_cold: bool = True) -> Asked:
        """Ask many times, without the cache and with it in turns."""
        path, off, cold, warm = probe.path, [], [], []
        tags = sorted({tag for model in probe.models for tag in tags_of_model(model)})
        cold_queries = 0
        begun = time.perf_counter()
        for number in range(effort.rounds + 1):
            self._switch.off()
            turn = self._turn(self._without, path)
            off += turn if number else []
            self._switch.on()
            if with_cold and tags:
                invalidate(tags)
                with counted() as sent:
                    self._ask(self._with, path)
                cold_queries = len(sent.texts)
                invalidate(tags)
                taken = self._ask(self._with, path)
                cold += [taken] if number else []
            turn = self._turn(self._with, path)
            warm += turn if number else []
            if number and time.perf_counter() - begun > effort.budget_seconds:
                break
        with counted() as sent, _bypasses() as reasons:
            self._ask(self._with, path)
        return Asked(
            tuple(off), tuple(cold), tuple(warm), cold_queries, len(sent.texts), tuple(sorted(reasons))
        )

    def _turn(self, client: Client, path: str) -> list[float]:
        self._ask(client, path)  # what was done in between has been somebody else's
        taken: list[float] = []
        while len(taken) < LEAST_IN_A_TURN or (
            sum(taken) < TURN_SECONDS * 1000 and len(taken) < MOST_IN_A_TURN
        ):
            taken.append(self._ask(client, path))
        return taken

    @staticmethod
    def _ask(client: Client, path: str) -> float:
        begun = time.perf_counter()
        response = client.get(path)
        _ = response.content
        return (time.perf_counter() - begun) * 1000


@contextmanager
def _bypasses() -> Iterator[set[str]]:
    """Collect why cached reads within the block go past the cache."""
    reasons: set[str] = set()

    def note(*, outcome: str, reason: str, **_: object) -> None:
        if outcome == "bypass":
            reasons.add(reason)

    cache_read.connect(note)
    try:
        yield reasons
    finally:
        cache_read.disconnect(note)


def _client(host: str, user: Any, more: dict[str, Any]) -> Client:
    client = Client(raise_request_exception=False, headers={"host": host}, **more)
    if user is not None:
        session = import_module(settings.SESSION_ENGINE).SessionStore()
        session[SESSION_KEY] = user._meta.pk.value_to_string(user)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    return client


def _close_stream(response: Any) -> None:
    """End a stream that is not read, without the connections: these are in a transaction.

    What is no stream the client has closed already.
    """
    if response.streaming:
        request_finished.disconnect(close_old_connections)
        try:
            response.close()
        finally:
            request_finished.connect(close_old_connections)


def _why_not(response: Any) -> str:
    if response.streaming:
        return "it answers with a stream"
    if response.status_code in {301, 302, 303, 307, 308}:
        return f"it leads to {response.headers.get('Location', '?')}"
    if response.status_code != OK:
        return f"it answers with {response.status_code} {response.reason_phrase}"
    return ""


def _warnings(path: str, sent: Sent, watch: Watch) -> list[str]:
    told = [f"N+1 at {path}: {finding.short}. {finding.fix}" for finding in watch.findings]
    slow = [
        f"SLOW QUERY at {path}: {seconds * 1000:,.0f} ms, {text[:120]}"
        for text, seconds in zip(sent.texts, sent.seconds, strict=True)
        if seconds >= options.QUERY_SLOW_THRESHOLD
    ]
    return [*told, *slow]


def _models(sent: Sent) -> Sequence[Any]:
    """Return the models whose tables statements name."""
    words = {word for text in sent.texts for word in re.findall(r'[^\s"`().,]+', text)}
    return [model for model in apps.get_models() if model._meta.db_table.strip('"') in words]
