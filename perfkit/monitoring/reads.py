"""Cached reads in the ledger: as long as they are measured they are told there, and nowhere else."""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from perfkit.caching.counting import counting, written
from perfkit.caching.windows import Window
from perfkit.monitoring.ledgers import Vector, current_ledger
from perfkit.monitoring.recording import recorder, switch
from perfkit.monitoring.series import FIVES, HOURS

WINDOWS: Final = {window.part_seconds: window for window in (FIVES, HOURS)}


class LedgerReads:
    """What `counting` gives its numbers to, and asks for those of all processes."""

    @property
    def is_on(self) -> bool:
        """Whether it takes what is counted from now on."""
        return switch.is_on

    def record(self) -> None:
        """Record how many cached reads there were since the last time."""
        for (outcome, reason, label), number in counting.take().items():
            recorder.record(recorder.series("cache", label, outcome, reason), number)

    def counted(self, window: Window, parts: Sequence[int]) -> dict[str, int]:
        """Return the numbers of all processes in parts of a window, under the names that `counting` gives them.

        Raises:
            StoreError: The ledger cannot be reached.
            SettingsError: There is none.
        """
        recorder.tell()
        return _numbers(current_ledger().read(_names(window, parts)))

    def waiting(self, window: Window, parts: Sequence[int]) -> dict[str, int]:
        """Return those numbers of this process that could not be told."""
        recorder.tell()
        names = _names(window, parts)
        return _numbers(part[name].vectors for part in recorder.untold() for name in names if name in part)


def _names(window: Window, parts: Sequence[int]) -> list[str]:
    return [WINDOWS[window.part_seconds].name(part) for part in parts]


def _numbers(pages: Iterable[Mapping[str, Vector]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for page in pages:
        for name, vector in page.items():
            kind, *labels = name.split("\t")
            if kind == "cache" and len(labels) == 3:  # noqa: PLR2004  # what had no room has one, and no outcome
                label, outcome, reason = labels
                told = written(outcome, reason, label)
                found[told] = found.get(told, 0) + vector.get(0, 0)
    return found


ledger_reads: Final = LedgerReads()


def install() -> None:
    """Take what is counted from now on; calling it again changes nothing.

    Queries: none.
    """
    counting.taker = ledger_reads
    atexit.unregister(ledger_reads.record)
    atexit.register(ledger_reads.record)  # after the recorder, and so done before that tells all of it
