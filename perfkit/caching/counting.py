"""What cached reads of this process came to, counted at each read and told to the store now and then.

Where somebody takes what is counted, as `perfkit.monitoring` does while it measures, it is counted there alone:
each read is told once, and whoever asks for all of them adds up both.

# Note [Counting without a lock]
Each kind of event has an `itertools.count`, whose `next` no other thread can interrupt.
To read it takes one more `next`, which is left out of the number.
Locks are only tried, never waited for: who holds one does the same, and may be this thread, in the middle of it.

# Note [Told once]
What the store did not answer to may have been added there, or not.
So a batch keeps its number and is told again as it was, and the store adds no number twice.
While the server is down the numbers wait here, each with the time that it belongs to.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, Final, Protocol

from django.core.signals import request_finished

from perfkit.caching.coherence import breaker
from perfkit.caching.store import Batch, Store, StoreError, current_store
from perfkit.caching.tokens import new_writer
from perfkit.caching.windows import Window
from perfkit.conf import options
from perfkit.errors import SettingsError
from perfkit.signals import cache_outage, cache_read

logger: Final = logging.getLogger("perfkit.caching")

TELL_EVERY_SECONDS: Final = 5.0
"""At a read; at the end of a request or task it is after a second."""

TELL_AT_END_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 30.0
"""After the store did not take them."""

MOST_EVENTS: Final = 5_000
"""Kinds of them, that is: of sender, outcome and reason."""

MOST_LABELS: Final = 200
MOST_REASONS: Final = 60
LONGEST_TEXT: Final = 120
OTHER: Final = "other"
"""Stands for models, functions and reasons beyond these bounds."""

SLOT_SECONDS: Final = 300
MOST_SLOTS: Final = 24 * 3600 // SLOT_SECONDS + 1
"""Of the past that a process remembers while it can tell nobody."""

MOST_BATCHES: Final = 12
"""Told in one go."""

OUTCOMES: Final = frozenset({"hit", "miss", "bypass", "outage"})


Event = tuple[Any, str, str]
"""Sender, outcome and reason of a read."""


WINDOWS: Final = {"hour": Window("m", SLOT_SECONDS, 13), "day": Window("h", 3600, 25)}


class Taker(Protocol):
    """Where reads are counted in the place of this module, and who tells the store of them."""

    @property
    def is_on(self) -> bool:
        """Whether it takes what is counted from now on."""

    def counted(self, window: Window, parts: Sequence[int]) -> dict[str, int]:
        """Return what all processes have told it of parts of a window.

        Raises:
            StoreError: Nobody answers.
        """

    def counter(self, outcome: str, reason: str, label: str) -> Iterator[object]:
        """Return what counts one read at each `next`.

        It raises ValueError where it counts nothing any more, and is to be asked for anew.
        """

    def waiting(self, window: Window, parts: Sequence[int]) -> dict[str, int]:
        """Return what it has counted of this process, and could not tell."""


class Counting:
    """The counts of one process; safe in threads and after a fork.

    See Note [Counting without a lock].

    Attributes:
        taker: Where reads are counted instead, if somebody takes them.

    Args:
        clock: Seconds that only grow.
        now: Seconds since 1970.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._now = now
        self.taker: Taker | None = None
        self.begin_anew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.begin_anew)

    def begin_anew(self) -> None:
        """Know nothing, as a process that has just started: what its parent has counted, that one tells."""
        self._counters: dict[Event, Iterator[object]] = {}
        self._hits: dict[Any, Iterator[object]] = {}
        self._own: dict[Event, count[int]] = {}
        self._added: dict[Event, int] = {}
        self._names: dict[Event, tuple[str, str, str]] = {}
        self._labels: set[str] = set()
        self._reasons: set[str] = set()
        self._counts: dict[int, dict[str, int]] = {}
        self._batches: deque[tuple[int, Batch]] = deque()
        self._writer = new_writer()
        self._number = 0
        self._adding_up = threading.Lock()
        self._telling = threading.Lock()
        self._pid = os.getpid()
        self._told = self._rests_until = self._clock()
        self._due = self._told + TELL_EVERY_SECONDS

    def note(self, sender: Any, outcome: str, reason: str) -> None:
        """Count one read."""
        try:
            next(self._counters[sender, outcome, reason])
        except (KeyError, TypeError, ValueError):
            self._count_anew(sender, outcome, reason)
        if self._clock() >= self._due:
            self.tell()

    def hit(self, model: Any) -> None:
        """Count one hit, as `note` does, in less time."""
        try:
            next(self._hits[model])
        except (KeyError, ValueError):
            hits = self._hits  # which `look_anew` may throw away meanwhile
            counter = self._count_anew(model, "hit", "")
            if model in hits or len(hits) < MOST_EVENTS:
                hits[model] = counter
        if self._clock() >= self._due:
            self.tell()

    def look_anew(self) -> None:
        """Count each read where it belongs from now on: the taker has come, or the settings have changed."""
        self._counters, self._hits = {}, {}

    def _count_anew(self, sender: Any, outcome: str, reason: str) -> Iterator[object]:
        """Count one by what counts this kind of event from now on, and return that."""
        try:
            hash(sender)
        except TypeError:
            sender = _label(sender)
        event = sender, outcome, reason
        counters = self._counters  # which `look_anew` may throw away meanwhile
        if event not in counters and len(counters) >= MOST_EVENTS:
            event = OTHER, outcome, OTHER if reason else ""
        while True:
            counter = counters[event] = self._counter(event)
            try:
                next(counter)
            except ValueError:  # the taker has ended it meanwhile
                continue
            return counter

    def _counter(self, event: Event) -> Iterator[object]:
        taker = self._taking()
        return taker.counter(*self._name(event)) if taker else self._own.setdefault(event, count())

    def _taking(self) -> Taker | None:
        """Return the taker, where it counts."""
        if self.taker is None or not self.taker.is_on:
            return None
        try:
            return self.taker if options.CACHE_STATISTICS and options.CACHE_ENABLED else None
        except SettingsError:  # a check says so, and so does `tell`
            return None

    def add_up(self) -> bool:
        """Turn what was noted here into numbers; say whether this was done, which another thread may be doing."""
        if not self._adding_up.acquire(blocking=False):
            return False
        try:
            is_on = options.CACHE_STATISTICS and options.CACHE_ENABLED
            slot = int(self._now() // SLOT_SECONDS)
            for event, counter in self._own.copy().items():
                seen = next(counter)
                new = seen - self._added.get(event, 0)
                self._added[event] = seen + 1
                if new and is_on:
                    numbers = self._counts.setdefault(slot, {})
                    outcome, reason, label = self._name(event)
                    name = written(outcome, reason, label)
                    numbers[name] = numbers.get(name, 0) + new
            for old in [old for old in self._counts if old <= slot - MOST_SLOTS]:
                del self._counts[old]
            return True
        finally:
            self._adding_up.release()

    def _name(self, event: Event) -> tuple[str, str, str]:
        """Return the outcome, the reason and the label that an event is told under."""
        name = self._names.get(event)
        if name is None:
            sender, outcome, reason = event
            label = _bounded(_label(sender), self._labels, MOST_LABELS)
            why = _bounded(_printable(reason), self._reasons, MOST_REASONS)
            if len(self._names) >= MOST_EVENTS:
                self._names.clear()
            name = self._names[event] = outcome, why, label
        return name

    def tell(self, *, after_seconds: float | None = None) -> None:
        """Tell the store all numbers that it does not know yet.

        Nothing is raised where it does not answer: they wait.

        Args:
            after_seconds: How long ago the last time must be, and a refusal longer; None for whenever that was.

        Queries: none; one round trip for every five minutes that there are numbers of.
        """
        now = self._clock()
        if after_seconds is not None and now < max(self._told + after_seconds, self._rests_until):
            return
        if self._pid != os.getpid():  # a hook of `os.fork` would miss forks that C code makes
            self.begin_anew()
        if not self._telling.acquire(blocking=False):
            return
        try:
            self._told, self._due = now, now + TELL_EVERY_SECONDS
            if not self.add_up():
                return
            if not (self._counts or self._batches):
                return
            store = current_store()
            if store is None:
                self._freeze()
                self._batches.clear()
            elif not (store.is_shared and breaker.is_open):
                self._tell(store)
        except StoreError as error:
            self._due = self._rests_until = now + RETRY_SECONDS
            logger.info("What was counted waits in the process: %s", error)
        finally:
            self._telling.release()

    def _tell(self, store: Store) -> None:
        """Tell what waits, in the order of time. See Note [Told once]."""
        if not self._batches:
            self._freeze()
        while self._batches and self._batches[0][0] <= int(self._now() // SLOT_SECONDS) - MOST_SLOTS:
            self._batches.popleft()
        for _ in range(min(len(self._batches), MOST_BATCHES)):
            slot, batch = self._batches[0]
            windows = {
                window.name(window.part(slot * SLOT_SECONDS)): window.kept_seconds
                for window in WINDOWS.values()
            }
            store.count(batch, windows=windows)
            self._batches.popleft()

    def _freeze(self) -> None:
        """Make batches of the numbers, to which nobody adds any more; unless somebody is just adding to them."""
        if not self._adding_up.acquire(blocking=False):
            return
        try:
            for slot in sorted(self._counts):
                self._number += 1
                self._batches.append((slot, Batch(self._writer, self._number, self._counts.pop(slot))))
        finally:
            self._adding_up.release()

    def moment(self) -> float:
        """Return the time, in seconds since 1970."""
        return self._now()

    def waiting(self, *, since: float) -> dict[str, int]:
        """Return the numbers that the store does not know yet, of times from `since` on."""
        self.add_up()
        sums: dict[str, int] = {}
        held = [(slot, batch.counts) for slot, batch in self._batches.copy()]
        for slot, numbers in [*held, *self._counts.copy().items()]:
            if (slot + 1) * SLOT_SECONDS > since:
                for name, number in dict(numbers).items():
                    sums[name] = sums.get(name, 0) + number
        return sums


def written(outcome: str, reason: str, label: str) -> str:
    """Return what a number is kept under."""
    return f"{outcome}\t{reason}\t{label}"


def parsed(name: str) -> tuple[str, str, str] | None:
    """Return outcome, reason and label of what a number is kept under, None where it is not one of ours."""
    outcome, _, rest = name.partition("\t")
    reason, tab, label = rest.partition("\t")
    return (outcome, reason, label) if tab and outcome in OUTCOMES else None


def _label(sender: Any) -> str:
    """Return what a model is called, or a function that has a name."""
    if sender is None or isinstance(sender, str):
        return sender or ""
    label = getattr(getattr(sender, "_meta", None), "label", None) or getattr(sender, "name", None)
    return _printable(label) if isinstance(label, str) else OTHER


def _printable(text: str) -> str:
    """Return a text that is safe in a key, a log and a page; a long one is cut."""
    cut = text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
    return cut if cut.isprintable() else "".join(each if each.isprintable() else "�" for each in cut)


def _bounded(text: str, known: set[str], most: int) -> str:
    if text in known:
        return text
    if len(known) >= most:
        return OTHER
    known.add(text)
    return text


counting: Final = Counting()


def install() -> None:
    """Count what cached reads of this process come to; calling it again changes nothing."""
    cache_read.counter = counting.note
    cache_outage.connect(_outage_changed, dispatch_uid="perfkit.caching.counting")
    request_finished.connect(work_ended, dispatch_uid="perfkit.caching.counting")
    atexit.unregister(counting.tell)
    atexit.register(counting.tell)


def work_ended(**_: Any) -> None:
    """Tell what was counted, unless that has just been done: a request or a task is over, and nobody waits."""
    counting.tell(after_seconds=TELL_AT_END_SECONDS)


def _outage_changed(*, is_down: bool, **_: Any) -> None:
    if is_down:
        counting.note(None, "outage", "")
