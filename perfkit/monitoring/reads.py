"""Cached reads in the ledger: as long as they are measured they are told there, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from django.core.signals import setting_changed

from perfkit.caching.counting import counting, written
from perfkit.caching.windows import Window
from perfkit.monitoring.ledgers import Vector, current_ledger
from perfkit.monitoring.recording import recorder, switch
from perfkit.monitoring.series import FIVES, HOURS

WINDOWS: Final = {window.part_seconds: window for window in (FIVES, HOURS)}


class LedgerReads:
    """Where `counting` counts, and whom it asks for the numbers of all processes."""

    @property
    def is_on(self) -> bool:
        """Whether it takes what is counted from now on."""
        return switch.is_on

    def counter(self, outcome: str, reason: str, label: str) -> Iterator[None]:
        """Return what counts a read at each `next`, until it raises ValueError."""
        return recorder.counter(recorder.series("cache", label, outcome, reason))

    def counted(self, window: Window, parts: Sequence[int]) -> dict[str, int]:
        """Return the numbers of all processes in parts of a window, under the names that `counting` gives them.

        Raises:
            StoreError: The ledger cannot be reached.
            SettingsError: There is none.
        """
        recorder.tell()
        return _numbers(current_ledger().sums([_names(window, parts)]))

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
    """Count from now on; calling it again changes nothing.

    Queries: none.
    """
    counting.taker = ledger_reads
    setting_changed.connect(_settings_changed, dispatch_uid="perfkit.monitoring.reads")
    counting.look_anew()


def _settings_changed(*, setting: str, **_: object) -> None:
    if setting in {"PERFKIT", "CACHES"}:
        counting.look_anew()
