"""Takes the events of one process, and tells the ledger what they add up to.

An event costs less than a microsecond where it happens.
Every few seconds a thread of its own adds up what was written, a little at a time, and tells it in one round trip.
Where the ledger cannot be reached, the sums of each minute wait, in the process and in its folder.
See Note [Counted once, whoever is killed] in `journal`.

# Note [Series that are not used]
A series keeps its number while there are events of it. After a day without any it is forgotten, by whoever has
noted its number too, so that there is room for others.
The number rests for an hour, in which an event of it that was under way is counted as what it was, and goes to
another series only once every segment of before is added up: so it means one thing in each segment.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from perfkit.caching.store import StoreError
from perfkit.caching.tokens import new_writer
from perfkit.conf import Options, options
from perfkit.errors import SettingsError
from perfkit.monitoring.journal import (
    MOST_NUMBER,
    Fields,
    Journal,
    Legacy,
    Segment,
    counts_in,
    events_in,
    legacies,
    packed,
)
from perfkit.monitoring.ledgers import Addition, Ledger, Told, Vector, add_to, current_ledger
from perfkit.monitoring.series import Event, Series, pages_of, summed, vector_of

logger: Final = logging.getLogger("perfkit.monitoring")

MOST_SERIES: Final = 5_000
"""Of one process; events of others are those of a series without labels of its own."""

MOST_WAITING: Final = 120
"""Sums of a minute that wait to be told."""

AT_ONCE: Final = 2_000
"""Events that are added up before other threads may go on, and that are in memory at once."""

SERIES_AT_ONCE: Final = 50
"""Told in one round trip."""

MOST_WAIT_SECONDS: Final = 0.5
"""For another thread that is telling: whoever wants to look goes on without what it tells."""

OLDEST_SECONDS: Final = 86_400
PATIENCE_SECONDS: Final = 5.0
"""After which a place in a segment that nobody has written is believed to stay empty: an exception that a signal
has raised, as a time limit does, ends a thread between two steps. Who comes later writes elsewhere."""

STALE_SECONDS: Final = 30.0
"""After which a segment without events makes room for another: its events are those of its beginning."""

UNUSED_SECONDS: Final = 86_400.0
RESTING_SECONDS: Final = 3_600.0
LOOK_EVERY_SECONDS: Final = 600.0
"""For series that are not used."""

RETRY_SECONDS: Final = 15.0
INHERIT_EVERY_SECONDS: Final = 10.0
LONGEST_LABEL: Final = 160

Sums = dict[Series, Vector]


class Part(msgspec.Struct):
    """What was added up, and is not known to have been told.

    Args:
        number: Under which it is told.
        since: The number of the first segment in it.
        moment: When it was measured, in seconds since 1970.
        segments: Those that it was made of, as long as nothing else keeps it.
        is_sent: Whether it may have been told: then nothing may be added any more.
    """

    number: int
    since: int
    moment: int
    sums: Sums
    segments: list[Segment] = msgspec.field(default_factory=list)
    is_sent: bool = False


class _Kept(msgspec.Struct):
    """Sums as they are in a file."""

    since: int
    sums: list[tuple[str, tuple[str, ...], Vector]]


class Recorder:
    """The events of one process; safe in threads and after a fork.

    Args:
        folder: Returns where what was not told outlives the process, or None where nothing does.
        ledger: Returns where it is told.
        now: Seconds since 1970.
        clock: Seconds that only grow.
        has_thread: Whether a thread tells it now and then; else somebody calls `tell`.

    Attributes:
        before_telling: Are called before what was recorded is added up.
        after_adding: Are called with the series that were used.
        after_telling: Are called with the ledger, once it was told.
        at_retirement: Are called with a series and its number, which must not be used any more.
        at_end: Are called with the ledger where the process ends.
        segment: What events are written into at the moment, by `record` and by whoever cannot wait for a call;
            None before the first one.
    """

    def __init__(
        self,
        *,
        folder: Callable[[], Path | None],
        ledger: Callable[[], Ledger] = current_ledger,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        has_thread: bool = True,
    ) -> None:
        self._has_thread = has_thread
        self._folder = folder
        self._ledger = ledger
        self._now = now
        self._clock = clock
        self._journal: Journal | None = None
        self.segment: Segment | None = None
        # These stay: others know the series by their numbers.
        self._ids: dict[Series, int] = {}
        self._series: list[Series] = []
        self._used_at: list[float] = []
        self._resting: deque[tuple[float, int]] = deque()
        self._free: list[int] = []
        self.before_telling: list[Callable[[], None]] = []
        self.after_adding: list[Callable[[Collection[Series]], None]] = []
        self.at_retirement: list[Callable[[Series, int], None]] = []
        self.after_telling: list[Callable[[Ledger], None]] = []
        self.at_end: list[Callable[[Ledger], None]] = []
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Know nothing, as a process that has just started; what its parent has counted, that one tells."""
        self._lock = threading.RLock()  # those of the parent may be held
        self._telling = threading.RLock()
        self._pid = os.getpid()
        segment, journal = self.segment, self._journal
        self.segment, self._journal = None, None
        if segment is not None:  # before others may take over what is in it
            segment.leave()
        if journal is not None:
            journal.leave()
        self._closed: deque[Segment] = deque()
        self._waiting: deque[Part] = deque()
        self._number = 0
        self._rests_until = 0.0
        self._inherits_at = 0.0
        self._looks_at = self._clock() + LOOK_EVERY_SECONDS
        self._thread: threading.Thread | None = None
        self._wakes = threading.Event()
        self.lost = 0

    def forked(self) -> None:
        """Begin anew in a child of the process."""
        self._begin_anew()

    def forget(self) -> None:
        """Begin anew, for the settings have changed: what was not told is for another process to tell."""
        with self._telling, self._lock:
            self._begin_anew()

    def series(self, kind: str, *labels: str) -> int:
        """Return the number by which events of a series are recorded."""
        series = Series(kind, tuple(printable(label) for label in labels))
        known = self._ids.get(series)
        if known is not None:
            return known
        with self._lock:
            if len(self._series) >= MOST_SERIES and not self._free:
                series = Series(kind, tuple("other" for _ in labels))
            known = self._ids.get(series)
            if known is None:
                known = self._ids[series] = self._numbered(series)
            return known

    def _numbered(self, series: Series) -> int:
        """Return the number of a new series, one that is free again where there is any; the lock is held."""
        if not self._free:
            self._name(_description(series))
            self._series.append(series)
            self._used_at.append(self._clock())
            return len(self._series)
        number = self._free.pop()
        self._name(_description(series, number=number))
        self._series[number - 1] = series
        self._used_at[number - 1] = self._clock()
        return number

    def _name(self, description: bytes) -> None:
        journal = self._opened()
        try:
            journal.name(description)
        except OSError as error:
            journal.give_up()
            logger.warning("What is measured would be lost if this process were killed: %s", error)

    def record(self, series: int, first: int, second: int = 0, third: int = 0) -> None:
        """Write an event down; its numbers are whole ones.

        Args:
            series: As `series` returned it in this process.
            first: What the numbers mean depends on the kind of the series; from 0, and exact up to 2**42 - 1.
            second: From 0, and exact up to 2**41 - 1.
            third: From 0, and exact up to 2**32 - 1. What is larger is cut.
        """
        if not 0 <= first | second | third <= MOST_NUMBER:  # more than 71 minutes, for example
            series, first, second, third = packed(series, first, second, third)
        segment = self.segment
        if segment is not None:
            place = next(segment.places)
            words = segment.words
            try:
                words[place + 1] = first
                words[place + 2] = second
                words[place + 3] = third
                words[place] = series  # last: now it is an event
            except IndexError:  # it is full
                pass
            except ValueError:
                if segment is self.segment:
                    raise  # no number of a series
                # This thread was held up for so long that the segment is sealed, or gone.
            else:
                return
        self._next_segment(segment)
        self.record(series, first, second, third)

    def counter(self, series: int) -> Iterator[None]:
        """Return what counts one event of a series at each `next`, in less time than `record` takes.

        It raises ValueError once another segment was begun, and is to be asked for anew; nothing was counted then.

        Args:
            series: As `series` returned it in this process, of a kind whose events have one number.
        """
        segment = self.segment
        while segment is None:
            self._next_segment(None)
            segment = self.segment
        return segment.counter(series)

    def _next_segment(self, full: Segment | None) -> None:
        with self._lock:
            if self.segment is full:
                self._rotate()
                self._start_thread()
        if full is not None:
            self._wakes.set()

    def _opened(self) -> Journal:
        """Return the journal, which is begun by the first series."""
        if self._journal is None:
            writer = new_writer()
            journal: Journal | None = None
            problem: Exception | None = None
            try:
                journal = Journal(self._folder(), writer)
                for series in self._series:
                    journal.name(_description(series))
            except (OSError, SettingsError) as error:
                problem = error
                if journal is not None:
                    journal.give_up()
            self._journal = journal or Journal(None, writer)
            if problem is not None:
                logger.warning("What is measured would be lost if this process were killed: %s", problem)
        return self._journal

    def _rotate(self) -> None:
        """Begin another segment and close this one; the lock is held.

        The other one is there before anything is logged: a handler of the log may be measured, too.
        """
        before = self.segment
        journal, moment = self._opened(), self._now()
        if self.segment is not before:  # by a handler of what was logged on the way
            return
        self._number += 1
        problem: OSError | None = None
        try:
            opened = journal.segment(self._number, int(moment))
        except OSError as error:
            problem = error
            opened = Segment(self._number, int(moment), None)
        opened.begun_at = now = self._clock()
        closed, self.segment = self.segment, opened
        if closed is not None:
            closed.close(now)
            self._closed.append(closed)
        if problem is not None:
            logger.warning("What is measured would be lost if this process were killed: %s", problem)

    def _start_thread(self) -> None:
        if self._has_thread and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._run, name="perfkit.monitoring", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # there are too many, or Python ends
                self._thread = None
                logger.info("What is measured waits for the end of the process: %s", error)

    def _run(self) -> None:
        """Tell what was recorded, every few seconds, until all begins anew."""
        while self._thread is threading.current_thread():
            self._wakes.wait(timeout=_interval_seconds())
            self._wakes.clear()
            self.tell()

    def tell(self, *, is_last: bool = False) -> bool:
        """Add up what was recorded, and tell the ledger.

        Nothing is raised: what cannot be told waits.

        Args:
            is_last: Whether nothing will be recorded any more.

        Returns:
            Whether nothing is left to be told.
        """
        telling = self._telling  # all may begin anew meanwhile
        if not telling.acquire(timeout=-1 if is_last else MOST_WAIT_SECONDS):
            return False  # another thread is telling all of it
        try:
            try:
                return self._tell(is_last=is_last)
            except (OSError, SettingsError) as error:
                logger.warning("What was measured could not be told: %s", error)
            except Exception:  # of a back end that is set up wrongly, for example; the thread must go on
                logger.exception("What was measured could not be told.")
            self._rests_until = self._clock() + RETRY_SECONDS
            return False
        finally:
            telling.release()

    def untold(self) -> list[dict[str, Addition]]:
        """Return what was added up and waits to be told: for each stretch of time what goes onto each page."""
        with self._telling:
            return [pages_of(part.sums, part.moment) for part in self._waiting]

    def _tell(self, *, is_last: bool) -> bool:
        for measure in self.before_telling:
            try:
                measure()
            except Exception:  # what one of them cannot measure keeps nothing else from being told
                logger.exception("%r could not measure.", measure)
        if self._journal is None:
            return True
        with self._lock:
            segment = self.segment
            if segment is not None and (segment.is_begun() or self._is_stale(segment)):
                self._rotate()
        self._add_up(self._journal, is_last=is_last)
        self._retire()
        now = self._clock()
        if now >= self._rests_until or is_last:
            try:
                self._tell_waiting(self._journal)
                for post in self.after_telling:
                    post(self._ledger())
                if now >= self._inherits_at:
                    self._inherits_at = now + INHERIT_EVERY_SECONDS
                    self._inherit(self._journal)
            except StoreError as error:
                self._rests_until = now + RETRY_SECONDS
                logger.info("What was measured waits: %s", error)
        for part in self._waiting:
            self._keep(self._journal, part)
        return not self._waiting and not self._closed

    def _is_stale(self, segment: Segment) -> bool:
        """Say whether a segment is long begun, or the clock has been put right or stood still meanwhile."""
        seconds = self._clock() - segment.begun_at
        return max(seconds, abs(self._now() - segment.moment)) >= STALE_SECONDS

    def _add_up(self, journal: Journal, *, is_last: bool) -> None:
        """Turn closed segments into sums."""
        while self._closed:
            segment = self._closed[0]
            if segment.is_empty:
                segment.remove()
                self._closed.popleft()
                continue
            age = self._clock() - segment.closed_at
            if not segment.is_written() and age < PATIENCE_SECONDS and not is_last:
                return
            segment.seal()
            part = Part(segment.number, segment.number, segment.moment, self._sums(segment), [segment])
            last = self._waiting[-1] if self._waiting else None
            if last is not None and not last.is_sent and last.moment // 60 == part.moment // 60:
                self._merge(journal, last, part)
            else:
                self._waiting.append(part)
            self._closed.popleft()
        while len(self._waiting) > MOST_WAITING:
            self._forget(journal, self._waiting.popleft())
            self.lost += 1
            logger.error("A minute of measurements is lost: it could not be told for too long.")

    def _merge(self, journal: Journal, last: Part, part: Part) -> None:
        """Have both wait as one, kept before the first is forgotten; where that cannot be, each by itself."""
        whole = Part(
            part.number,
            last.since,
            last.moment,
            _joined(last.sums, part.sums),
            [*last.segments, *part.segments],
        )
        if self._keep(journal, whole):
            journal.drop_sums(last.number, last.moment)
            self._waiting[-1] = whole
        else:
            self._waiting.append(part)

    def _keep(self, journal: Journal, part: Part) -> bool:
        """Keep the sums in the place of the segments that they were made of; say whether they are kept."""
        if part.segments:
            kept = _Kept(part.since, [(*series, vector) for series, vector in part.sums.items()])
            try:
                journal.keep_sums(part.number, part.moment, msgspec.msgpack.encode(kept))
            except OSError as error:
                logger.info("What was measured stays as it was written: %s", error)
                return False
            _remove(part)
        return True

    def _forget(self, journal: Journal, part: Part) -> None:
        journal.drop_sums(part.number, part.moment)
        _remove(part)

    def _sums(self, segment: Segment) -> Sums:
        """Add up what is in a segment, and let other threads go on now and then."""
        sums = _with_counts(_added_up(segment.events(), self._series), segment.counts(), self._series)
        now = self._clock()
        for number in sums:
            self._used_at[number - 1] = now
        found = _by_series(sums, self._series)
        for hear in self.after_adding:
            hear(found)
        return found

    def _retire(self) -> None:
        """Forget series that are not used. See Note [Series that are not used]."""
        now = self._clock()
        if now < self._looks_at:
            return
        self._looks_at = now + LOOK_EVERY_SECONDS
        with self._lock:
            while self._resting and now - self._resting[0][0] >= RESTING_SECONDS and not self._closed:
                self._free.append(self._resting.popleft()[1])
            unused = [
                (series, number)
                for series, number in self._ids.items()
                if now - self._used_at[number - 1] >= UNUSED_SECONDS
            ]
            for series, number in unused:
                del self._ids[series]
                self._resting.append((now, number))
        for series, number in unused:
            for forget in self.at_retirement:
                forget(series, number)

    def _tell_waiting(self, journal: Journal) -> None:
        ledger = self._ledger()
        while self._waiting:
            part = self._waiting[0]
            part.is_sent = True
            self._add(ledger, journal.writer, part)
            self._waiting.popleft()
            self._forget(journal, part)

    def _add(self, ledger: Ledger, writer: str, part: Part) -> None:
        now = self._now()
        if now - part.moment < OLDEST_SECONDS:
            day = int(now // 86_400)
            series = list(part.sums)
            # A few at a time, each under a number of its own, for the server does nothing else meanwhile.
            for piece, begin in enumerate(range(0, len(series), SERIES_AT_ONCE)):
                sums = {each: part.sums[each] for each in series[begin : begin + SERIES_AT_ONCE]}
                number = part.number * MOST_SERIES + piece
                ledger.add(Told(writer, number, day, pages_of(sums, part.moment, now=now)))

    def _inherit(self, journal: Journal) -> None:
        """Tell what killed processes have left."""
        if journal.folder is None:
            return
        ledger = self._ledger()
        for legacy in legacies(journal.folder):
            try:
                for part in _left(legacy):
                    self._add(ledger, legacy.writer, part)
            except msgspec.MsgspecError as error:  # another version's, or cut off by a full disk
                logger.error("What a process that has ended measured cannot be read: %s", error)  # noqa: TRY400
            legacy.forget()

    def end(self) -> None:
        """Tell all of it, and leave no file: the process ends."""
        if self._pid != os.getpid() or self._journal is None:
            return
        with self._telling, self._lock:
            if self.tell(is_last=True) and self._ended_segment():
                self._leave()
                self._journal.end()
                self._journal = None

    def _ended_segment(self) -> bool:
        """Close the segment for good; say whether what threads have written meanwhile is told."""
        segment, self.segment = self.segment, None
        if segment is None:
            return True
        segment.close(self._clock())
        if segment.is_empty:
            segment.remove()
            return True
        self._closed.append(segment)
        return self.tell(is_last=True)

    def _leave(self) -> None:
        try:
            ledger = self._ledger()
            for leave in self.at_end:
                leave(ledger)
        except (StoreError, SettingsError) as error:  # nothing is lost: it is soon believed to have ended
            logger.info("That this process ends could not be told: %s", error)


def _interval_seconds() -> float:
    try:
        return options.METRICS_INTERVAL
    except SettingsError:  # a system check says so
        return Options.METRICS_INTERVAL.default


def _left(legacy: Legacy) -> list[Part]:
    """Return what a dead process did not tell, in the order in which it would have."""
    series = _series_of(legacy.descriptions)
    parts: list[Part] = []
    covered = None
    for number, moment, file in reversed(list(legacy.parts())):
        if covered is not None and number >= covered:
            continue
        if file.suffix == ".sums":
            kept = msgspec.msgpack.decode(file.read_bytes(), type=_Kept)
            sums = {Series(kind, labels): vector for kind, labels, vector in kept.sums}
            covered = kept.since
        else:
            events = _added_up(events_in(file), series)
            sums = _by_series(_with_counts(events, counts_in(file), series), series)
        if sums:
            parts.append(Part(number, number, moment, sums))
    return parts[::-1]


def _description(series: Series, *, number: int | None = None) -> bytes:
    """Return what the journal says of the next series, or of one that takes the number of another."""
    told = [] if number is None else [number]
    return msgspec.json.encode([*told, series.kind, *series.labels])


def _series_of(descriptions: Iterable[bytes]) -> list[Series]:
    """Return the series by their numbers, from 1, as descriptions say."""
    found: list[Series] = []
    for text in descriptions:
        first, *words = msgspec.json.decode(text, type=list[int | str])
        if isinstance(first, int):
            found[first - 1] = Series(str(words[0]), tuple(map(str, words[1:])))
        else:
            found.append(Series(first, tuple(map(str, words))))
    return found


def _added_up(events: Iterator[Fields], series: Sequence[Series]) -> dict[int, Vector]:
    """Return what events come to by the numbers of their series, without those of series that nobody knows."""
    sums: dict[int, Vector] = {}
    while some := list(islice(events, AT_ONCE)):
        found: dict[int, list[Event]] = {}
        for event in some:
            those = found.get(event[0])
            if those is None:
                those = found[event[0]] = []
            those.append(event[1:])
        for number, those in found.items():
            if number <= len(series):
                add_to(sums.setdefault(number, {}), vector_of(series[number - 1].kind, those).items())
        time.sleep(0)
    return sums


def _with_counts(
    sums: dict[int, Vector], counts: Mapping[int, int], series: Sequence[Series]
) -> dict[int, Vector]:
    """Return sums with what was only counted, without that of series that nobody knows."""
    for number, counted in counts.items():
        if number <= len(series):
            vector = sums.setdefault(number, {})
            vector[0] = vector.get(0, 0) + counted
    return sums


def _by_series(sums: Mapping[int, Vector], series: Sequence[Series]) -> Sums:
    found: Sums = {}
    for number, vector in sums.items():
        name = series[number - 1]  # which may have had another number before
        found[name] = summed((found[name], vector)) if name in found else vector
    return found


def _remove(part: Part) -> None:
    for segment in part.segments:
        segment.remove()
    part.segments.clear()


def _joined(one: Sums, other: Sums) -> Sums:
    return {
        series: summed(each[series] for each in (one, other) if series in each) for series in {**one, **other}
    }


def printable(text: str) -> str:
    """Return a label that is safe in a name, a log and a page; a long one is cut."""
    cut = text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"
    return cut if cut.isprintable() else "".join(each if each.isprintable() else "�" for each in cut)
