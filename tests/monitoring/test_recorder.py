from __future__ import annotations

import errno
import logging
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path

import pytest
import redis

from perfkit.caching.store import StoreError
from perfkit.caching.store.redis import RedisStore
from perfkit.monitoring.buckets import STANDARD, quantiles
from perfkit.monitoring.ledgers import LocalLedger, ServerLedger, Told
from perfkit.monitoring.recorder import MOST_SERIES, RESTING_SECONDS, UNUSED_SECONDS, Recorder
from perfkit.monitoring.series import FIVES, HOURS, TOTALS, buckets_of, count_of, summed, total_page
from tests.monitoring.held_up import hold_up
from tests.monitoring.processes.recording import NUMBERS
from tests.plugins.valkey import DisposableValkey

SCRIPT = Path(__file__).parent / "processes" / "recording.py"
EVENTS = 25_000
THREADS = 5
TOTAL = total_page("timed")
HOUR = 3_600_000_000
"""In microseconds."""


def ledger_at(url: str, *, seconds: float = 5.0) -> ServerLedger:
    return ServerLedger(RedisStore(redis.Redis.from_url(url), prefix="recording", timeout_seconds=seconds))


class Unreachable(LocalLedger):
    """Fails before or after it has added, as long as a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = ""

    def add(self, told: Told) -> bool:
        if self.fails == "before":
            raise StoreError("away")
        is_new = super().add(told)
        if self.fails == "after":
            raise StoreError("the answer was lost")
        return is_new


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger() -> Unreachable:
    return Unreachable()


@pytest.fixture(params=["in a folder", "in memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path if request.param == "in a folder" else None


@pytest.fixture
def recorder(folder: Path | None, ledger: Unreachable, clock: Clock) -> Recorder:
    return Recorder(folder=lambda: folder, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False)


def total(ledger: LocalLedger | ServerLedger, name: str = "timed\tone") -> int:
    return count_of(ledger.read([TOTAL])[0].get(name, {}))


def files(folder: Path | None) -> list[str]:
    return sorted(file.name.partition(".")[2] for file in folder.iterdir()) if folder else []


class TestRecorder:
    def test_it_tells_what_was_recorded_once(self, recorder: Recorder, ledger: Unreachable) -> None:
        one, two = recorder.series("timed", "one"), recorder.series("timed", "two")
        assert one == recorder.series("timed", "one") != two
        for _ in range(3):
            recorder.record(one, 1500, 1)
        recorder.record(two, 2500)
        assert recorder.tell()
        assert recorder.tell()
        [found] = ledger.read([TOTAL])
        assert found["timed\tone"][0] == 4500
        assert found["timed\tone"][1] == 3
        assert count_of(found["timed\tone"]) == 3
        assert count_of(found["timed\ttwo"]) == 1

    def test_numbers_that_do_not_fit_are_cut(self, recorder: Recorder, ledger: Unreachable) -> None:
        series = recorder.series("timed", "one")
        recorder.record(series, 2**50, -5, 2**40)
        recorder.record(series, 1)
        recorder.tell()
        [found] = ledger.read([TOTAL])
        assert found["timed\tone"] == {0: 2**42, 2: 2**32 - 1, 16: 1, 16 + len(STANDARD): 1}

    def test_what_takes_more_than_a_day_is_exact(
        self, recorder: Recorder, ledger: Unreachable, clock: Clock
    ) -> None:
        series = recorder.series("request", "GET", "/", "2xx")
        hours = [1, 2, 5, 12, 24, 27]
        for each in hours:
            recorder.record(series, each * HOUR, each * HOUR - 1, 7)
        recorder.record(series, 50, 25, 7)
        recorder.tell()
        [page] = ledger.read([FIVES.name(FIVES.part(clock.seconds))])
        vector = page["request\tGET\t/\t2xx"]
        assert [vector[index] for index in range(3)] == [
            sum(hours) * HOUR + 50,
            sum(hours) * HOUR - len(hours) + 25,
            7 * 7,
        ]
        for each, share in zip(hours, (2, 3, 4, 5, 6, 7), strict=True):
            assert quantiles(buckets_of(vector), [share / 7]) == [pytest.approx(each * HOUR, rel=0.02)]

    def test_a_dead_one_leaves_long_durations_whole(self, tmp_path: Path, clock: Clock) -> None:
        ledger = Unreachable()
        dead = Recorder(
            folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False
        )
        dead.record(dead.series("timed", "one"), 3 * HOUR, 1)
        dead.forked()
        heir = Recorder(
            folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False
        )
        heir.record(heir.series("timed", "heir"), 10)
        assert heir.tell()
        vector = ledger.read([TOTAL])[0]["timed\tone"]
        assert (vector[0], vector[1], count_of(vector)) == (3 * HOUR, 1, 1)

    def test_a_segment_that_is_full_is_followed_by_another(
        self, recorder: Recorder, ledger: Unreachable, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("perfkit.monitoring.journal.Segment.__init__.__kwdefaults__", {"events": 100})
        series = recorder.series("timed", "one")
        for _ in range(1234):
            recorder.record(series, 10)
        assert recorder.tell()
        assert total(ledger) == 1234

    def test_an_event_that_was_held_up_until_its_segment_was_gone_is_counted(
        self, recorder: Recorder, ledger: Unreachable
    ) -> None:
        series = recorder.series("timed", "one")
        recorder.record(series, 10)
        segment = hold_up(recorder)
        recorder.record(series, 10)
        assert recorder.segment is not segment
        recorder.record(series, 10)
        assert recorder.tell()
        assert total(ledger) == 3

    def test_an_event_that_is_written_while_its_segment_is_added_up_is_counted_once(
        self, recorder: Recorder, ledger: Unreachable
    ) -> None:
        series = recorder.series("timed", "one")
        recorder.record(series, 10)
        segment = recorder.segment
        assert segment is not None
        place = next(segment.places)
        problems: list[ValueError] = []

        def go_on(_: object) -> None:
            if not problems:
                try:
                    segment.words[place] = series
                except ValueError as error:
                    problems.append(error)
                    recorder.record(series, 10)

        recorder.after_adding.append(go_on)
        recorder.tell(is_last=True)
        assert recorder.tell()
        assert len(problems) == 1
        assert total(ledger) == 2

    def test_a_place_that_was_taken_and_left_holds_nothing_up_for_long(
        self, recorder: Recorder, ledger: Unreachable, clock: Clock
    ) -> None:
        series = recorder.series("timed", "one")
        recorder.record(series, 10)
        segment = recorder.segment
        assert segment is not None
        next(segment.places)  # as where a signal's exception ends `record`
        recorder.record(series, 10)
        assert not recorder.tell()
        clock.seconds += 6
        recorder.record(series, 10)
        assert recorder.tell()
        assert total(ledger) == 3

    def test_what_is_no_series_is_refused(self, recorder: Recorder, ledger: Unreachable) -> None:
        recorder.record(recorder.series("timed", "one"), 10)
        before = recorder.segment
        with pytest.raises(ValueError, match="invalid value"):
            recorder.record(2**40, 10)
        assert recorder.segment is before

    def test_a_handler_of_its_log_may_be_measured(
        self, ledger: Unreachable, clock: Clock, tmp_path: Path
    ) -> None:
        problems = [OSError("no room")]

        def folder() -> Path:
            if problems:
                raise problems[0]
            return tmp_path

        recorder = Recorder(folder=folder, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False)
        series = recorder.series("timed", "one")
        recorder.forked()
        recorded = [0]

        class Handler(logging.Handler):
            def emit(self, _: logging.LogRecord) -> None:
                recorder.record(series, 10)
                recorder.tell()
                recorder.record(series, 10)
                recorded[0] += 2
                clock.seconds += 61

        handler = Handler()
        logging.getLogger("perfkit.monitoring").addHandler(handler)
        try:
            for _ in range(100):
                recorder.record(series, 10)
                recorder.tell()
        finally:
            logging.getLogger("perfkit.monitoring").removeHandler(handler)
        assert recorder.tell()
        assert recorded[0] >= 2
        assert total(ledger) == 100 + recorded[0]

    @pytest.mark.parametrize("fails", ["before", "after"])
    def test_what_could_not_be_told_is_told_later(
        self, recorder: Recorder, ledger: Unreachable, clock: Clock, folder: Path | None, fails: str
    ) -> None:
        series = recorder.series("timed", "one")
        ledger.fails = fails
        for _ in range(40):
            recorder.record(series, 10)
            assert not recorder.tell()
            clock.seconds += 20
        if folder:
            assert files(folder).count("sums") <= 40 * 20 / 60 + 2, "those of one minute are one"
        ledger.fails = ""
        assert recorder.tell()
        assert total(ledger) == 40
        assert files(folder) in ([], ["names", "segment"])

    def test_it_says_what_it_had_to_forget(
        self, recorder: Recorder, ledger: Unreachable, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        series = recorder.series("timed", "one")
        ledger.fails = "before"
        for _ in range(130):
            recorder.record(series, 10)
            recorder.tell()
            clock.seconds += 60
        assert recorder.lost == 10
        assert "is lost" in caplog.text
        ledger.fails = ""
        assert recorder.tell()
        assert total(ledger) == 120

    def test_it_leaves_nothing_at_its_end(
        self, recorder: Recorder, ledger: Unreachable, folder: Path | None
    ) -> None:
        recorder.record(recorder.series("timed", "one"), 10)
        recorder.end()
        assert files(folder) == []
        assert total(ledger) == 1
        recorder.record(recorder.series("timed", "one"), 10)
        recorder.end()
        assert total(ledger) == 2

    def test_labels_without_end_are_one_in_the_end(self, recorder: Recorder, ledger: Unreachable) -> None:
        for number in range(6_000):
            recorder.record(recorder.series("timed", f"name {number}"), 10)
        recorder.tell()
        [found] = ledger.read([TOTAL])
        assert len(found) == TOTALS["timed"] + 1
        assert sum(map(count_of, found.values())) == 6_000

    def test_labels_are_printable_and_short(self, recorder: Recorder, ledger: Unreachable) -> None:
        recorder.record(recorder.series("timed", "a\tb\nc" + "x" * 500), 10)
        recorder.tell()
        [name] = ledger.read([TOTAL])[0]
        assert name.startswith("timed\ta�b�cx")
        assert len(name) == len("timed\t") + 160


class TestSeries:
    """See Note [Series that are not used]."""

    def test_those_that_are_not_used_make_room(
        self, recorder: Recorder, ledger: Unreachable, clock: Clock
    ) -> None:
        forgotten: list[tuple[str, int]] = []
        recorder.at_retirement.append(lambda series, number: forgotten.append((series.labels[0], number)))
        busy = recorder.series("timed", "busy")
        idle = [recorder.series("timed", f"idle {number}") for number in range(MOST_SERIES - 1)]
        recorder.record(idle[0], 10)
        for _ in range(int(UNUSED_SECONDS // 3_600) + 2):
            recorder.record(busy, 10)
            assert recorder.tell()
            clock.seconds += 3_600
        assert {number for _, number in forgotten} == set(idle)
        assert recorder.series("timed", "busy") == busy
        recorder.record(busy, 10)
        recorder.record(idle[0], 10)  # by who had looked it up before
        clock.seconds += RESTING_SECONDS
        assert recorder.tell()
        new = recorder.series("timed", "new")
        assert new in idle
        recorder.record(new, 7)
        assert recorder.tell()
        [page] = ledger.read([TOTAL])
        assert page["timed\tnew"][0] == 7
        assert page["timed\tidle 0"][0] == 20

    def test_those_without_room_are_one(self, recorder: Recorder) -> None:
        for number in range(MOST_SERIES):
            recorder.series("timed", f"{number}")
        assert recorder.series("timed", "one more") == recorder.series("timed", "another")

    def test_an_heir_knows_who_has_a_number_now(self, tmp_path: Path, clock: Clock) -> None:
        ledger = Unreachable()
        dead = Recorder(
            folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False
        )
        dead.record(dead.series("timed", "one"), 10)
        assert dead.tell()
        for _ in range(3):
            clock.seconds += UNUSED_SECONDS
            assert dead.tell()
            dead.record(dead.series("timed", "two"), 10)
            assert dead.tell()
        dead.record(dead.series("timed", "three"), 5)
        dead.record(dead.series("timed", "one"), 6)
        dead.forked()
        heir = Recorder(
            folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False
        )
        heir.record(heir.series("timed", "heir"), 10)
        assert heir.tell()
        [found] = ledger.read([TOTAL])
        assert {name: vector[0] for name, vector in found.items()} == {
            "timed\tone": 16,
            "timed\ttwo": 30,
            "timed\tthree": 5,
            "timed\their": 10,
        }


@pytest.mark.parametrize("jump_seconds", [-7200.0, 7200.0])
def test_a_clock_that_is_put_right_delays_nothing(folder: Path | None, jump_seconds: float) -> None:
    ledger, wall, steady = Unreachable(), Clock(), Clock()
    recorder = Recorder(
        folder=lambda: folder, ledger=lambda: ledger, now=wall, clock=steady, has_thread=False
    )
    series = recorder.series("timed", "one")
    ledger.fails = "before"
    recorder.record(series, 10)
    assert not recorder.tell()
    ledger.fails = ""
    wall.seconds += jump_seconds
    assert not recorder.tell(), "it rests"
    steady.seconds += 16
    recorder.record(series, 10)
    assert recorder.tell()
    assert total(ledger) == 2


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """A function that says whether the folder of journals is full."""
    write, allocate = os.write, os.posix_fallocate
    is_full = [False]

    def refuse() -> None:
        if is_full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write_or_refuse(file: int, text: bytes) -> int:
        refuse()
        return write(file, text)

    def allocate_or_refuse(file: int, begin: int, size: int) -> None:
        refuse()
        allocate(file, begin, size)

    def replace_or_refuse(self: Path, text: bytes) -> int:
        refuse()
        return write_bytes(self, text)

    write_bytes = Path.write_bytes
    monkeypatch.setattr(os, "write", write_or_refuse)
    monkeypatch.setattr(os, "posix_fallocate", allocate_or_refuse)
    monkeypatch.setattr(Path, "write_bytes", replace_or_refuse)
    return lambda is_so: is_full.__setitem__(0, is_so)


class TestFullFolders:
    def test_events_are_counted_all_the_same(
        self, tmp_path: Path, clock: Clock, full: Callable[[bool], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        ledger = Unreachable()
        recorder = Recorder(
            folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False
        )
        recorder.record(recorder.series("timed", "one"), 10)
        full(True)
        recorder.record(recorder.series("timed", "two"), 10)
        assert recorder.tell()
        recorder.record(recorder.series("timed", "one"), 10)
        recorder.record(recorder.series("timed", "three"), 10)
        assert recorder.tell()
        assert [total(ledger, f"timed\t{name}") for name in ("one", "two", "three")] == [2, 1, 1]
        assert "would be lost if this process were killed" in caplog.text
        recorder.end()
        assert files(tmp_path) == []

    def test_what_waits_is_told_once_there_is_a_ledger_though_it_cannot_be_kept(
        self, tmp_path: Path, clock: Clock, full: Callable[[bool], None]
    ) -> None:
        ledger = Unreachable()
        recorder = Recorder(
            folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False
        )
        series = recorder.series("timed", "one")
        ledger.fails = "before"
        for turn in range(6):
            full(turn % 3 == 1)
            recorder.record(series, 10)
            recorder.tell()
            clock.seconds += 16
        full(True)
        ledger.fails = ""
        recorder.record(series, 10)
        clock.seconds += 16
        assert recorder.tell()
        assert total(ledger) == 7

    def test_an_heir_counts_what_could_not_be_kept_once(
        self, tmp_path: Path, clock: Clock, full: Callable[[bool], None]
    ) -> None:
        ledger = Unreachable()
        dead = Recorder(
            folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False
        )
        series = dead.series("timed", "one")
        ledger.fails = "before"
        for turn in range(6):
            full(turn in {2, 3})
            dead.record(series, 10)
            full(turn in {1, 2, 3})
            dead.tell()
            clock.seconds += 16
        dead.forked()
        full(False)
        ledger.fails = ""
        heir = Recorder(
            folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False
        )
        heir.record(heir.series("timed", "heir"), 10)
        assert heir.tell()
        in_memory = 1  # the segment that was begun while the folder was full
        assert 6 - 2 * in_memory <= total(ledger) <= 6


def test_a_handler_of_the_log_may_be_measured_itself(
    tmp_path: Path, clock: Clock, full: Callable[[bool], None]
) -> None:
    ledger = Unreachable()
    recorder = Recorder(
        folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False
    )
    series = recorder.series("timed", "one")

    class Measured(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            recorder.record(series, 10)

    handler, logger = Measured(), logging.getLogger("perfkit.monitoring")
    logger.addHandler(handler)
    try:
        recorder.record(series, 10)
        full(True)
        recorder.tell()
        recorder.record(series, 10)
        recorder.tell()
    finally:
        logger.removeHandler(handler)
    full(False)
    assert recorder.tell()
    told = total(ledger)
    assert recorder.tell()
    assert total(ledger) == told
    assert 3 <= told <= 6


def test_what_cannot_be_measured_keeps_nothing_from_being_told(
    recorder: Recorder, ledger: Unreachable, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("no driver")

    recorder.before_telling.append(broken)
    recorder.record(recorder.series("timed", "one"), 10)
    assert recorder.tell()
    assert total(ledger) == 1
    assert "could not measure" in caplog.text


class TestLegacies:
    def test_the_next_tells_what_a_dead_one_left(self, tmp_path: Path, clock: Clock) -> None:
        ledger = Unreachable()
        dead = Recorder(
            folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False
        )
        ledger.fails = "before"
        for minute in range(3):
            for _ in range(minute + 1):
                dead.record(dead.series("timed", "one"), 10)
                dead.tell()
                clock.seconds += 16
            clock.seconds += 60
        dead.record(dead.series("timed", "two"), 10)
        dead.forked()  # it leaves its files, as one that is killed does
        ledger.fails = ""
        heir = Recorder(
            folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False
        )
        heir.record(heir.series("timed", "one"), 10)
        heir.tell()
        assert total(ledger) == 7
        assert total(ledger, "timed\ttwo") == 1
        heir.end()
        assert files(tmp_path) == []

    def test_what_may_have_been_told_is_not_told_twice(self, tmp_path: Path, clock: Clock) -> None:
        ledger = Unreachable()
        dead = Recorder(
            folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False
        )
        ledger.fails = "after"
        for _ in range(5):
            dead.record(dead.series("timed", "one"), 10)
            dead.tell()
            clock.seconds += 16
        dead.forked()
        ledger.fails = ""
        heir = Recorder(
            folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False
        )
        heir.record(heir.series("timed", "two"), 10)
        heir.tell()
        assert total(ledger) == 5

    def test_what_is_of_a_living_one_is_left_alone(self, tmp_path: Path, clock: Clock) -> None:
        ledger = Unreachable()
        one, other = (
            Recorder(folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False)
            for _ in range(2)
        )
        one.record(one.series("timed", "one"), 10)
        other.record(other.series("timed", "two"), 10)
        other.tell()
        assert total(ledger) == 0
        one.tell()
        assert total(ledger) == 1


class TestCounters:
    def test_each_next_is_one(self, recorder: Recorder, ledger: Unreachable) -> None:
        reads, writes = (recorder.series("cache", "it", outcome, "") for outcome in ("hit", "miss"))
        for _ in range(3):
            next(recorder.counter(reads))
        next(recorder.counter(writes))
        assert recorder.counter(reads) is recorder.counter(reads)
        assert recorder.tell()
        assert read_total(ledger) == {"hit\tit": 3, "miss\tit": 1}

    def test_events_are_counted_beside_them(self, recorder: Recorder, ledger: Unreachable) -> None:
        reads = recorder.series("cache", "it", "hit", "")
        recorder.record(reads, 5)
        next(recorder.counter(reads))
        assert recorder.tell()
        assert read_total(ledger) == {"hit\tit": 6}

    def test_they_count_nothing_once_their_segment_is_closed(
        self, recorder: Recorder, ledger: Unreachable
    ) -> None:
        counter = recorder.counter(recorder.series("cache", "it", "hit", ""))
        next(counter)
        assert recorder.tell()
        with pytest.raises(ValueError, match="released"):
            next(counter)
        assert recorder.tell()
        assert read_total(ledger) == {"hit\tit": 1}

    @pytest.mark.parametrize("kills", [1, 2])
    def test_pieces_are_the_same_whoever_tells_them(self, tmp_path: Path, clock: Clock, kills: int) -> None:
        """A writer that was killed between two pieces of a segment has told those that its heir leaves out."""
        folder = tmp_path / "journals"
        folder.mkdir(mode=0o700)
        ledger = Breaking(pieces=kills)
        writer, heir = (
            Recorder(folder=lambda: folder, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False)
            for _ in range(2)
        )
        numbers = [writer.series("cache", f"label{number}", "hit", "") for number in range(120)]
        for number in reversed(numbers):
            next(writer.counter(number))
        with pytest.raises(KilledError):
            writer.tell()
        writer.forked()  # its files are left, and its lock is free
        ledger.pieces = 1_000
        heir.record(heir.series("timed", "heir"), 1)
        assert heir.tell()
        [page] = ledger.read([HOURS.name(HOURS.part(clock()))])
        reads = {name: vector for name, vector in page.items() if name.startswith("cache\t")}
        assert len(reads) == 120
        assert all(vector == {0: 1} for vector in reads.values())

    def test_what_is_counted_while_it_ends_is_told(self, recorder: Recorder, ledger: Unreachable) -> None:
        reads = recorder.series("cache", "it", "hit", "")
        next(recorder.counter(reads))
        counters: list[Iterator[None]] = []

        def read_once(_: object) -> None:
            if not counters:
                counters.append(recorder.counter(reads))
                next(counters[0])

        recorder.after_telling.append(read_once)
        recorder.end()
        assert read_total(ledger) == {"hit\tit": 2}
        with pytest.raises(ValueError, match="released"):
            next(counters[0])

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="of systems that fork")
    def test_a_child_does_not_count_for_its_parent(self, recorder: Recorder, ledger: Unreachable) -> None:
        counter = recorder.counter(recorder.series("cache", "it", "hit", ""))
        next(counter)
        child = os.fork()
        if not child:
            recorder.forked()
            try:
                next(counter)
            except ValueError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        next(counter)
        assert recorder.tell()
        assert read_total(ledger) == {"hit\tit": 2}

    def test_threads_lose_nothing_while_it_is_told(self, recorder: Recorder, ledger: Unreachable) -> None:
        reads = recorder.series("cache", "it", "hit", "")
        ended = threading.Event()

        def count() -> None:
            counter = recorder.counter(reads)
            for _ in range(20_000):
                while True:
                    try:
                        next(counter)
                        break
                    except ValueError:
                        counter = recorder.counter(reads)

        def tell() -> None:
            while not ended.is_set():
                recorder.tell()

        teller = threading.Thread(target=tell)
        counting = [threading.Thread(target=count) for _ in range(4)]
        for thread in (teller, *counting):
            thread.start()
        for thread in counting:
            thread.join()
        ended.set()
        teller.join()
        assert recorder.tell()
        assert read_total(ledger) == {"hit\tit": 80_000}


class KilledError(BaseException):
    """Stands for the end of a process, which nothing catches."""


class Breaking(Unreachable):
    def __init__(self, *, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def add(self, told: Told) -> bool:
        if not self.pieces:
            raise KilledError
        self.pieces -= 1
        return super().add(told)


def read_total(ledger: Unreachable) -> dict[str, int]:
    [found] = ledger.read([total_page("read")])
    return {name: vector[0] for name, vector in found.items()}


class Children:
    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder / "journals"
        self.folder.mkdir(mode=0o700)
        self.figures: list[Path] = []
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        file = self.folder.parent / f"figures-{len(self.figures)}"
        file.write_bytes(bytes(16 * THREADS))
        self.figures.append(file)
        seed = len(self.figures)
        command = [sys.executable, "-P", SCRIPT, self.url, self.folder, file, EVENTS, THREADS, seed]
        child = subprocess.Popen([*map(str, command)], cwd=Path.cwd(), env={"PYTHONPATH": str(Path.cwd())})
        self.started.append(child)
        return child

    def end(self) -> None:
        for child in self.started:
            child.kill()
            child.wait(timeout=10)

    def recorded(self) -> tuple[int, int]:
        """Return how many events have been recorded, and how many may have been."""
        pairs = [pair for file in self.figures for pair in NUMBERS.iter_unpack(file.read_bytes())]
        return sum(done for _, done in pairs), sum(begun for begun, _ in pairs)

    def inherit(self, ledger: ServerLedger) -> None:
        heir = Recorder(folder=lambda: self.folder, ledger=lambda: ledger)
        heir.record(heir.series("timed", "heir"), 1)
        assert heir.tell()
        heir.end()


@pytest.fixture
def server(valkey_server: Callable[[], DisposableValkey]) -> DisposableValkey:
    return valkey_server()


@pytest.fixture
def children(server: DisposableValkey, tmp_path: Path) -> Iterator[Children]:
    children = Children(server.url, tmp_path)
    yield children
    children.end()


@pytest.mark.redis
def test_nothing_is_lost_or_counted_twice_where_processes_are_killed_and_the_server_hangs(
    server: DisposableValkey, children: Children
) -> None:
    """A million events by processes that are killed at any moment, while the server is stopped now and then."""
    rng = random.Random(7)
    running: list[subprocess.Popen[bytes]] = []
    while children.recorded()[0] < 1_000_000:
        running = [child for child in running if child.poll() is None]
        assert all(child.returncode in {0, -9} for child in children.started if child.returncode is not None)
        while len(running) < 4:
            running.append(children.start())
        time.sleep(rng.uniform(0.1, 0.6))
        match rng.randrange(4):
            case 0:
                rng.choice(running).kill()
            case 1:
                server.pause()
                time.sleep(rng.uniform(0.2, 0.8))
                server.resume()
    for child in running:  # of which the last turn may have killed one
        assert child.wait(timeout=240) in {0, -9}
    ledger = ledger_at(server.url)
    children.inherit(ledger)
    done, begun = children.recorded()
    found, reads, statements = ledger.read([TOTAL, total_page("read"), total_page("query")])
    counted = sum(count_of(vector) for name, vector in found.items() if name != "timed\their")
    assert done <= counted <= begun
    assert done <= sum(vector[0] for vector in reads.values()) <= begun
    assert done <= sum(map(count_of, statements.values())) <= begun
    assert counted >= 1_000_000
    assert len(children.figures) > 8, "some were killed"
    assert files(children.folder) == []


@pytest.mark.redis
def test_p95_of_8_processes_is_within_2_percent_of_the_exact(
    server: DisposableValkey, children: Children
) -> None:
    for child in [children.start() for _ in range(8)]:
        assert child.wait(timeout=240) == 0
    exact = sorted(
        int(rng.lognormvariate(8, 1.5))
        for seed in range(1, 9)
        for thread in range(THREADS)
        for rng in [random.Random(seed * 100 + thread)]
        for _ in range(EVENTS)
    )
    ledger = ledger_at(server.url)
    [whole] = ledger.read([TOTAL])
    assert sum(map(count_of, whole.values())) == len(exact)
    assert sum(vector[0] for vector in whole.values()) == sum(exact)
    now = FIVES.part(time.time())
    pages = ledger.read([FIVES.name(now - 2), FIVES.name(now - 1), FIVES.name(now)])
    of_timed = [vector for page in pages for name, vector in page.items() if name.startswith("timed\t")]
    fine = buckets_of(summed(of_timed))
    for share in (0.5, 0.95, 0.99):
        [found] = quantiles(fine, [share])
        assert found == pytest.approx(exact[ceil(share * len(exact)) - 1], rel=0.02)


def test_what_comes_after_a_silence_is_not_of_its_beginning(
    recorder: Recorder, ledger: Unreachable, clock: Clock, folder: Path | None
) -> None:
    recorder.record(recorder.series("timed", "one"), 1)
    assert recorder.tell()
    clock.seconds += 30 * 3600
    assert recorder.tell()
    assert len(files(folder)) <= 2, "the name, and one segment"
    recorder.record(recorder.series("timed", "one"), 1)
    assert recorder.tell()
    assert count_of(ledger.read([FIVES.name(FIVES.part(clock.seconds))])[0]["timed\tone"]) == 1
    assert total(ledger) == 2


def test_what_cannot_be_read_of_a_dead_one_holds_nobody_up(tmp_path: Path, clock: Clock) -> None:
    ledger = Unreachable()
    (tmp_path / "dead.names").write_bytes(b'["timed", "one"\n')
    (tmp_path / "dead-1-1800000000.sums").write_bytes(b"\xc1")
    recorder = Recorder(
        folder=lambda: tmp_path, ledger=lambda: ledger, now=clock, clock=clock, has_thread=False
    )
    recorder.record(recorder.series("timed", "one"), 1)
    assert recorder.tell()
    assert total(ledger) == 1
    assert not list(tmp_path.glob("dead*"))
    recorder.end()


def test_a_ledger_that_is_set_up_wrongly_ends_no_thread(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    ledger, wrong = LocalLedger(), [True]

    def found() -> LocalLedger:
        if wrong:
            raise ValueError("Redis URL must specify one of the following schemes")
        return ledger

    recorder = Recorder(folder=lambda: None, ledger=found, now=clock, clock=clock, has_thread=False)
    recorder.record(recorder.series("timed", "one"), 1)
    assert not recorder.tell()
    recorder.record(recorder.series("timed", "one"), 1)
    assert not recorder.tell()
    assert caplog.text.count("What was measured could not be told.") == 1, "it rests"
    wrong.clear()
    clock.seconds += 60
    assert recorder.tell()
    assert total(ledger) == 2
