"""Events of a process, written down where they outlive it.

# Note [Counted once, whoever is killed]
An event is sixteen bytes in a segment: a file in memory that the kernel keeps when the process is killed.
Segments are numbered, and closed every few seconds; what is in a closed one is added up and told to the ledger
under the segment's number, and only then is the file removed.
The ledger adds no number of a writer twice, so whoever does not know whether it was told tells it again.
A writer holds a lock on its file of names for as long as it lives.
Where another process gets that lock, the writer is dead: it tells what was left, under the dead writer's name.

# Note [Writing without a lock]
Each event takes the next place in the segment from an `itertools.count`, which no other thread can interrupt.
Its numbers are written first and its series last, each by one store that none can interrupt either: a place that
has no series yet is no event.
Meanwhile a thread may be held up: so a closed segment waits until each place that was taken is written, but not
for long, for a thread may have been ended there. Before it is added up nothing can be written into it any more:
whoever comes too late finds that out, and writes into another.
All of this holds while one thread runs at a time. Two write so: `Recorder.record` and `statements.measure`.

# Note [Counting in the segment]
What only counts, a cached read, is no event but one more in a number of the segment's own, a cell for each series.
To take the next number and to write it is one `next` of a `map` over functions of C, which no thread interrupts.
Nothing is counted after the segment is closed: its cells are released then, and `next` raises ValueError.
"""

from __future__ import annotations

import errno
import importlib
import mmap
import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, repeat
from operator import setitem
from pathlib import Path
from typing import Any, Final, Self

fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None
"""Not on Windows, where a process's events are in its memory only."""

EVENT: Final = struct.Struct("=IIII")
"""The series (from 1), and three numbers that mean what the series says.

The first two may be larger than 32 bits: what is above these stands in the upper bits of the series.
"""

WORDS: Final = 4
"""Of an event."""

MOST_SERIES_NUMBER: Final = 2**13 - 1
MOST_FIRST: Final = 2**42 - 1
"""50 days in microseconds."""

MOST_SECOND: Final = 2**41 - 1
MOST_NUMBER: Final = 2**32 - 1
EVENTS: Final = 32_768
"""Places in a segment."""

CELL: Final = struct.Struct("=Q")
CELLS_BYTES: Final = (MOST_SERIES_NUMBER + 1) * CELL.size
"""At the end of a segment: a number for each series."""

NAMES: Final = ".names"
SEGMENT: Final = re.compile(r"^(?P<writer>[0-9a-f]+)-(?P<number>\d+)-(?P<moment>\d+)\.segment$")
SUMS: Final = re.compile(r"^(?P<writer>[0-9a-f]+)-(?P<number>\d+)-(?P<moment>\d+)\.sums$")


Fields = tuple[int, int, int, int]
"""A series and the three numbers of an event."""


def packed(series: int, first: int, second: int, third: int) -> Fields:
    """Return an event as it is written, each number cut to its bounds.

    Example:
        >>> unpacked(packed(7, 2**40, 2**33, 2**32)) == (7, 2**40, 2**33, 2**32 - 1)
        True
    """
    first = max(0, min(int(first), MOST_FIRST))
    second = max(0, min(int(second), MOST_SECOND))
    third = max(0, min(int(third), MOST_NUMBER))
    above = (first >> 32) << 13 | (second >> 32) << 23
    return series | above, first & MOST_NUMBER, second & MOST_NUMBER, third


def unpacked(event: Fields) -> Fields:
    """Return what was written, from what `packed` made of it."""
    series, first, second, third = event
    if series <= MOST_SERIES_NUMBER:
        return event
    return (
        series & MOST_SERIES_NUMBER,
        first | (series >> 13 & 2**10 - 1) << 32,
        second | (series >> 23) << 32,
        third,
    )


class Segment:
    """Places for events, in a file or only in memory.

    Args:
        number: Greater than those of all segments before.
        moment: When it was begun, in seconds since 1970.
        file: Is created; None for memory alone.

    Attributes:
        begun_at: The same on a clock that only grows, as whoever has begun it says.
        places: Gives at each `next` where in `words` an event begins; beyond them once it is full or closed.
        words: The events, of `WORDS` numbers each; to write one raises IndexError once it is full or closed, and
            ValueError once it is sealed. See Note [Writing without a lock].
    """

    __slots__ = (
        *("begun_at", "closed_at", "file", "memory", "moment", "number", "places", "room", "taken", "words"),
        *("_cells", "_counters"),
    )

    def __init__(self, number: int, moment: int, file: Path | None, *, events: int = EVENTS) -> None:
        self.number = number
        self.moment = moment
        self.file = file
        size = events * EVENT.size + CELLS_BYTES
        self.memory: mmap.mmap | bytearray = bytearray(size) if file is None else _mapped(file, size)
        whole = memoryview(self.memory)
        self.words = whole[:-CELLS_BYTES].cast("I")
        self._cells = whole[-CELLS_BYTES:].cast("Q")
        self._counters: dict[int, Iterator[None]] = {}
        self.places = count(0, WORDS)
        self.room = events
        self.taken: int | None = None
        self.begun_at = self.closed_at = 0.0

    def is_begun(self) -> bool:
        """Whether anything is in it."""
        return bool(EVENT.unpack_from(self.memory)[0] or self._counters)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written into it; it has been closed."""
        return not (self.taken or self._counters)

    def counter(self, series: int) -> Iterator[None]:
        """Return what counts one more at each `next`, until the segment is closed: then it raises ValueError.

        See Note [Counting in the segment].
        """
        known = self._counters.get(series)
        if known is None:
            cells: Any = self._cells  # of whose overloads mypy takes the wrong one
            made = map(setitem, repeat(cells), repeat(series), count(1))
            known = self._counters.setdefault(series, made)  # one alone may count in a cell
        return known

    def close(self, closed_at: float) -> None:
        """Give no place any more, from this moment on, by the clock that only grows, and count nothing."""
        self.leave()
        self.closed_at = closed_at
        places, self.places = self.places, count(self.room * WORDS, WORDS)
        self.taken = min(next(places) // WORDS, self.room)

    def leave(self) -> None:
        """Count nothing any more: from here on, or in a process that was forked."""
        self._cells.release()

    def counts(self) -> dict[int, int]:
        """Return what was counted, by the numbers of series in order; it has been closed."""
        with memoryview(self.memory) as whole, whole[-CELLS_BYTES:] as last, last.cast("Q") as cells:
            return {series: cells[series] for series in sorted(self._counters.copy()) if cells[series]}

    def is_written(self) -> bool:
        """Whether all places that were given are written; it has been closed."""
        taken = self.room if self.taken is None else self.taken
        with (
            memoryview(self.memory) as whole,
            whole.cast("I") as numbers,
            numbers[: taken * WORDS : WORDS] as series,
        ):
            return all(series)

    def seal(self) -> None:
        """Let nobody write any more, also those who have taken a place; it has been closed."""
        self.words.release()

    def events(self) -> Iterator[Fields]:
        """Yield what was written, without the places that never were."""
        taken = self.room if self.taken is None else self.taken
        with memoryview(self.memory) as whole, whole[: taken * EVENT.size] as written:
            for event in EVENT.iter_unpack(written):
                if event[0]:
                    yield event if event[0] <= MOST_SERIES_NUMBER else unpacked(event)

    def remove(self) -> None:
        """Remove the file, and free the memory unless somebody still reads it."""
        self.leave()
        self.seal()
        if self.file is not None:
            self.file.unlink(missing_ok=True)
        if isinstance(self.memory, mmap.mmap):
            with suppress(BufferError):
                self.memory.close()


class Journal:
    """The files of one writer.

    Args:
        folder: Exists, and belongs to this user; None for memory alone.
        writer: A name in hexadecimal digits that nobody else has.
    """

    def __init__(self, folder: Path | None, writer: str) -> None:
        self.folder = folder
        self.writer = writer
        self._names = None if folder is None or fcntl is None else _locked_anew(folder / f"{writer}{NAMES}")

    @property
    def is_kept(self) -> bool:
        """Whether others can read it after this process was killed."""
        return self._names is not None

    def name(self, description: bytes) -> None:
        """Write down what the next series is; before the first event of it.

        Raises:
            OSError: It is not written whole; then nothing more may be written: see `give_up`.
        """
        if self._names is not None:
            line = description + b"\n"
            if os.write(self._names, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def segment(self, number: int, moment: int) -> Segment:
        """Begin a segment."""
        file = (
            None
            if self._names is None or self.folder is None
            else self.folder / self._file(number, moment, "segment")
        )
        return Segment(number, moment, file)

    def keep_sums(self, number: int, moment: int, sums: bytes) -> None:
        """Put sums in the place of what they were made of: parts until this number."""
        if self._names is None or self.folder is None:
            return
        file = self.folder / self._file(number, moment, "sums")
        new = file.with_suffix(".new")
        new.write_bytes(sums)
        new.replace(file)

    def drop_sums(self, number: int, moment: int) -> None:
        """Remove them again, if they are there."""
        if self._names is not None and self.folder is not None:
            (self.folder / self._file(number, moment, "sums")).unlink(missing_ok=True)

    def give_up(self) -> None:
        """Keep nothing for others any more: what they could read would be wrong or cut off."""
        if self._names is not None and self.folder is not None:
            (self.folder / f"{self.writer}{NAMES}").unlink(missing_ok=True)
        self.leave()

    def leave(self) -> None:
        """Forget the files without removing any: those of the parent, in a process that was forked."""
        if self._names is not None:
            os.close(self._names)
            self._names = None

    def end(self) -> None:
        """Remove the file of names: everything has been told."""
        if self._names is not None and self.folder is not None:
            (self.folder / f"{self.writer}{NAMES}").unlink(missing_ok=True)
            self.leave()

    def _file(self, number: int, moment: int, kind: str) -> str:
        return f"{self.writer}-{number}-{moment}.{kind}"


class Legacy:
    """What a dead writer has left; its lock is held until the end of a `with` block.

    Attributes:
        descriptions: Of the series, in order.
    """

    def __init__(self, folder: Path, writer: str, names: int) -> None:
        self.folder = folder
        self.writer = writer
        self._file = names
        text = (folder / f"{writer}{NAMES}").read_bytes()
        self.descriptions = text.split(b"\n")[:-1]  # the last may be cut off

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def parts(self) -> Iterator[tuple[int, int, Path]]:
        """Yield the number, the moment and the file of each part in order; of its sums where there are any."""
        found: dict[int, tuple[int, int, Path]] = {}
        for pattern in (SEGMENT, SUMS):
            for file in self.folder.iterdir():
                match = pattern.match(file.name)
                if match is not None and match["writer"] == self.writer:
                    number = int(match["number"])
                    found[number] = (number, int(match["moment"]), file)
        for number in sorted(found):
            yield found[number]

    def forget(self) -> None:
        """Remove the file of names, and whatever else has the writer's name: everything has been told."""
        for file in self.folder.glob(f"{self.writer}-*"):
            file.unlink(missing_ok=True)
        (self.folder / f"{self.writer}{NAMES}").unlink(missing_ok=True)


def events_in(file: Path) -> Iterator[Fields]:
    """Yield the events of a segment's file that were written whole."""
    for event in EVENT.iter_unpack(_whole(file)[:-CELLS_BYTES]):
        if event[0]:
            yield unpacked(event)


def counts_in(file: Path) -> dict[int, int]:
    """Return what was counted in a segment's file, by the numbers of series in order."""
    cells = enumerate(CELL.iter_unpack(_whole(file)[-CELLS_BYTES:]))
    return {series: number for series, (number,) in cells if number}


def _whole(file: Path) -> bytes:
    """Return a segment's file; nothing of one that its writer had not yet given its size."""
    text = file.read_bytes()
    events = len(text) - CELLS_BYTES
    return text if events >= 0 and events % EVENT.size == 0 else b""


def legacies(folder: Path) -> Iterator[Legacy]:
    """Yield what dead writers have left, each while its lock is held here."""
    if fcntl is None:
        return
    for file in folder.glob(f"*{NAMES}"):
        try:
            names = os.open(file, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(names, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_there = file.stat().st_ino == os.fstat(names).st_ino
        except OSError as error:
            os.close(names)
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES, errno.ENOENT}:
                continue  # it lives, or somebody else has just told all of it
            raise
        if not is_there:
            os.close(names)
            continue
        with Legacy(folder, file.name.removesuffix(NAMES), names) as legacy:
            yield legacy


def _locked_anew(file: Path) -> int:
    """Create a file and lock it, which others may take for a dead one's until it is locked."""
    while True:
        names = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(names, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if file.stat().st_ino == os.fstat(names).st_ino:
                return names
        except (BlockingIOError, FileNotFoundError):
            pass  # whoever has it finds nothing, and removes it
        os.close(names)


def private_folder(folder: Path) -> Path:
    """Return the folder, created where it was not there.

    Raises:
        PermissionError: It is not this user's alone, so that others may have put something into it.
        OSError: It cannot be created.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "is not a folder of this user's alone", str(folder))
    return folder


def _mapped(file: Path, size: int) -> mmap.mmap:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        # Room for all of it now: a full file system would end the process at a write.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        else:
            os.truncate(descriptor, size)
        return mmap.mmap(descriptor, size)
    except OSError:
        file.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
