"""Counts each statement of this process by its shape, and keeps one of them now and then.

An event costs a look into a dictionary; what is counted is written down by a thread of its own, every few seconds,
on a connection of its own.
Nothing here fails a statement, nor changes what it does.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import random
from time import perf_counter
from typing import Any, Final, NamedTuple

from django.core.signals import setting_changed
from django.db import DatabaseError, InterfaceError, OperationalError

from perfkit.conf import options
from perfkit.errors import SettingsError
from perfkit.signals import query_timed
from perfkit.watching import (
    as_text,
    calling_line,
    fingerprint,
    quoted_names,
    unwatch_connections,
    watch_connections,
)
from perfkit.workload.connecting import own_connection
from perfkit.workload.counters import Counter, Counters, Sighting
from perfkit.workload.exclusions import has_excluded
from perfkit.workload.samples import sample_of
from perfkit.workload.store import Bounds, NowhereError, write
from perfkit.workload.texts import is_counted, verb_of

logger: Final = logging.getLogger("perfkit.workload")

NAME: Final = "perfkit.workload.capture"
MOST_TEXTS: Final = 4_000
"""Texts of statements whose counter is kept; those with their values written into them would be without end."""

LONGEST_TEXT: Final = 4_000
"""Longer texts are kept by a digest."""

REST_SECONDS: Final = 30.0
"""After a failure; and for ten times as long after finding that a database keeps no workload."""

PRUNE_EVERY_SECONDS: Final = 300.0
MOST_WAITING: Final = 200
"""Statements of async connections that wait to be written with their values."""

_IGNORED: Final = Counter("", "", may_keep=False)


class _Waiting(NamedTuple):
    """A statement that went past Django's connections, to be written with its values by the thread."""

    counter: Counter
    alias: str
    sql: str
    values: Any
    caller: str
    at: float


class Capture:
    """What this process has counted.

    Args:
        has_thread: Whether a thread writes it down now and then; else somebody calls `flush`.
        draws: Returns a number from 0 to 1, for whether a statement is kept.
    """

    def __init__(self, *, has_thread: bool = True, draws: Callable[[], float] = random) -> None:
        self.has_thread = has_thread
        self.draws = draws
        self.is_on = False
        self.keeps_all = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Know nothing, as a process that has just started."""
        self._counters = Counters()
        self._lock = self._counters.lock
        self._known: dict[tuple[str, str], Counter] = {}
        self._waiting: deque[_Waiting] = deque(maxlen=MOST_WAITING)
        self._flushing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._thread_lock = threading.Lock()
        self._wakes = threading.Event()
        self._rests_until: dict[str, float] = {}
        self._failing: set[str] = set()
        self._prunes_at: dict[str, float] = {}
        self.look()

    forked = _begin_anew

    def look(self) -> None:
        """Look into the settings; where they cannot be read no values are kept, and a check says why."""
        try:
            self._rate = options.WORKLOAD_SAMPLE_RATE
            self._exclude = options.WORKLOAD_EXCLUDE
            self._bounds = Bounds(
                options.WORKLOAD_SHAPES, options.WORKLOAD_SAMPLES, options.WORKLOAD_VALUES == "kept"
            )
            self._interval = options.WORKLOAD_INTERVAL
        except SettingsError:
            self._rate, self._exclude, self._interval = 0.0, ("*",), 10.0
            self._bounds = Bounds(2_000, 0, has_values=False)
        self._known = {}
        self._counters.judge(self._may_be_kept)

    def _may_be_kept(self, shape: str) -> bool:
        """Say whether statements of a shape may be kept with their values."""
        return (
            self._bounds.has_values and verb_of(shape) != "INSERT" and not has_excluded(shape, self._exclude)
        )

    def around(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        """Run the statement and count it, also if it fails. Where this stands around it twice, once."""
        if NAME in context or not self.is_on:
            return execute(sql, params, many, context)
        context[NAME] = True
        connection = context["connection"]
        begun = perf_counter()
        try:
            result = execute(sql, params, many, context)
        except BaseException:
            self._count(connection.alias, sql, perf_counter() - begun, _calls(params, many), connection)
            raise
        counter = self._count(connection.alias, sql, perf_counter() - begun, _calls(params, many), connection)
        if counter is not None and self._is_drawn(counter):
            self._keep(counter, connection, sql, next(iter(params), None) if many else params)
        return result

    def elsewhere(self, *, using: str, sql: str, seconds: float, values: Any = None, **_: object) -> None:
        """Count a statement that went past Django's connections; receiver of `query_timed`."""
        counter = self._count(using, sql, seconds, 1, None)
        if counter is not None and self._is_drawn(counter):
            kept = values if counter.may_keep else None
            text = sql if kept is not None else ""
            self._waiting.append(_Waiting(counter, using, text, kept, calling_line(), time.time()))

    def _count(self, alias: str, sql: Any, seconds: float, calls: int, connection: Any) -> Counter | None:
        counter = self._known.get((alias, sql)) if type(sql) is str else None
        if counter is None:
            counter = self._learned(alias, sql, connection)
        if counter is _IGNORED:
            return None
        with self._lock:
            counter.calls += calls
            counter.seconds += seconds
        return counter

    def _learned(self, alias: str, sql: Any, connection: Any) -> Counter:
        """Return the counter of a statement that was not seen before, and keep it under its text."""
        try:
            text = sql if type(sql) is str else as_text(sql, connection)
        except ValueError:
            return _IGNORED
        is_long = len(text) > LONGEST_TEXT
        name = hashlib.blake2b(text.encode(errors="replace"), digest_size=16).hexdigest() if is_long else text
        known = self._known.get((alias, name)) if is_long else None
        if known is not None:
            return known
        names = quoted_names(alias)
        counter = self._counter_of(fingerprint(text, names=names), alias)
        if counter is None:  # for now: there is room again when what was counted is written down
            return _IGNORED
        if names is not None and not self._may_be_kept(fingerprint(text)):
            counter.may_keep = False  # a name that is excluded may stand in the text alone
        if len(self._known) >= MOST_TEXTS:
            self._known = {}
        self._known[alias, name] = counter
        self._start_thread()
        return counter

    def _counter_of(self, shape: str, alias: str) -> Counter | None:
        if not is_counted(shape):
            return _IGNORED
        may_keep = self._may_be_kept(shape)
        return self._counters.counter(alias, shape, most=self._bounds.shapes, may_keep=may_keep)

    def _is_drawn(self, counter: Counter) -> bool:
        return self._bounds.samples > 0 and (
            not counter.is_seen or self.keeps_all or self.draws() < self._rate
        )

    def _keep(self, counter: Counter, connection: Any, sql: Any, params: Any) -> None:
        text = ""
        if counter.may_keep:
            try:
                text = sample_of(connection, sql if type(sql) is str else as_text(sql, connection), params)
            except ValueError:
                text = ""
        self._see(counter, Sighting(text, calling_line(), time.time()))

    def _see(self, counter: Counter, sighting: Sighting) -> None:
        """Keep it in a slot that its text names, so that one statement takes one slot however often it is seen."""
        text = sighting.statement or sighting.caller
        digest = hashlib.blake2b(text.encode(errors="replace"), digest_size=4).digest()
        with self._lock:
            counter.is_seen = True
            slot = int.from_bytes(digest) % self._bounds.samples
            counter.sightings[slot] = sighting.after(counter.sightings.get(slot))

    def _start_thread(self) -> None:
        if not self.has_thread or (self._thread is not None and self._thread.is_alive()):
            return
        with self._thread_lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="perfkit.workload", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as error:  # there are too many, or Python ends
                    self._thread = None
                    logger.info("The workload waits for the end of the process: %s", error)

    def _run(self) -> None:
        while self._thread is threading.current_thread():
            self._wakes.wait(timeout=self._interval)
            self._wakes.clear()
            self.flush()

    def flush(self, *, is_asked: bool = False) -> bool:
        """Write down what was counted, and say whether nothing is left.

        Nothing is raised: what cannot be written down waits.

        Args:
            is_asked: Whether databases are tried that have just failed.
        """
        with self._flushing:
            self._write_waiting()
            done = [self._flush(alias, is_asked=is_asked) for alias in self._counters.aliases()]
        return all(done)

    def _flush(self, alias: str, *, is_asked: bool) -> bool:
        now = time.monotonic()
        if now < self._rests_until.get(alias, 0.0) and not is_asked:
            return False
        taken = self._counters.take(alias)
        if not taken:
            return True
        prunes = is_asked or now >= self._prunes_at.get(alias, 0.0)
        try:
            write(alias, taken, self._bounds, prunes=prunes)
        except NowhereError:
            self._rests_until[alias] = now + 10 * REST_SECONDS
            return False
        except (OperationalError, InterfaceError) as error:
            self._counters.put_back(alias, taken)
            self._failed(alias, error)
            return False
        except Exception as error:  # noqa: BLE001  # its text may have values in it, so it is not logged
            self._failed(alias, error)
            return False
        self._failing.discard(alias)
        self._rests_until.pop(alias, None)
        if prunes:
            self._prunes_at[alias] = now + PRUNE_EVERY_SECONDS
        if self._counters.forget_idle(alias, most=self._bounds.shapes):
            self._known = {}
        return True

    def _failed(self, alias: str, error: Exception) -> None:
        self._rests_until[alias] = time.monotonic() + REST_SECONDS
        if alias not in self._failing:
            self._failing.add(alias)
            logger.warning("The workload of %s could not be written down: %s", alias, type(error).__name__)

    def _write_waiting(self) -> None:
        """Write with their values the statements that async connections have sent."""
        by_alias: dict[str, list[_Waiting]] = {}
        while self._waiting:
            each = self._waiting.popleft()
            if each.sql:
                by_alias.setdefault(each.alias, []).append(each)
            else:
                self._see(each.counter, Sighting("", each.caller, each.at))
        for alias, waiting in by_alias.items():
            try:
                with own_connection(alias) as own:
                    for each in waiting:
                        text = sample_of(own, each.sql, each.values)
                        self._see(each.counter, Sighting(text, each.caller, each.at))
            except DatabaseError:  # the next ones make samples too
                logger.info("Some statements of %s were not kept with their values.", alias)

    def end(self) -> None:
        """Write down what is left: the process ends."""
        self.flush()


def _calls(params: Any, many: bool) -> int:
    return len(params) if many and hasattr(params, "__len__") else 1


capture: Final = Capture()


def flush_workload() -> bool:
    """Write down now what this process has counted, and say whether nothing is left.

    A thread does so by itself; this is for tests, and for the end of a script.
    Nothing is raised where the database is away: what was counted waits.

    Queries:
        None of the project's connections: a few, on a connection of its own.
    """
    return capture.flush(is_asked=True)


def begin() -> None:
    """Count the statements of this process from now on; calling it again changes nothing.

    Queries: none.
    """
    capture.look()
    capture.is_on = True
    watch_connections(capture.around, name=NAME)
    query_timed.connect(capture.elsewhere, dispatch_uid=NAME)
    atexit.unregister(capture.end)
    atexit.register(capture.end)


def stop() -> None:
    """Count no statements any more: not on the connections of this thread, nor on those that are opened later."""
    capture.is_on = False
    unwatch_connections(capture.around, name=NAME)
    query_timed.disconnect(dispatch_uid=NAME)


@contextmanager
def recording() -> Iterator[None]:
    """Count the statements of this process for the block, whatever the settings say; each is an example.

    What was counted is written down at the end; whether that could be done says `flush_workload`.
    """
    was_on = capture.is_on
    begin()
    capture.keeps_all = True
    try:
        yield
    finally:
        capture.keeps_all = False
        flush_workload()
        if not was_on:
            stop()


def _settings_changed(*, setting: str, **_: Any) -> None:
    if setting == "PERFKIT":
        capture.look()


setting_changed.connect(_settings_changed, dispatch_uid=NAME)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=capture.forked)
