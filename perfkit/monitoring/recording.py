"""The recorder of this process, and where it keeps what outlives it."""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.signals import setting_changed

from perfkit.conf import Options, options
from perfkit.errors import SettingsError
from perfkit.monitoring.journal import private_folder
from perfkit.monitoring.ledgers import current_ledger
from perfkit.monitoring.recorder import Recorder

logger: Final = logging.getLogger("perfkit.monitoring")

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # a folder of our own in it, that is nobody else's

NANOSECONDS: Final = 1_000_000_000
MOST_PLAIN_SECONDS: Final = 3600.0
"""Whose microseconds are one number of an event, of 32 bits."""


def folder() -> Path | None:
    """Return where what this project measures outlives its processes; None where the ledger does not either.

    Each ledger has a folder: what a dead process of one project has left must not be told to another's.

    Raises:
        OSError: It cannot be created, or is not this user's alone.
    """
    if not current_ledger().is_shared:
        return None
    cache = settings.CACHES[options.CACHE_ALIAS]
    place = repr((options.CACHE_KEY_PREFIX, cache["BACKEND"], cache.get("LOCATION")))
    name = hashlib.sha256(place.encode()).hexdigest()[:16]
    if options.METRICS_DIRECTORY:
        return private_folder(Path(options.METRICS_DIRECTORY) / name)
    within = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    return private_folder(private_folder(within / f"perfkit-{os.geteuid()}") / name)


class Switch:
    """What the settings say, kept because it is asked for at each query.

    Attributes:
        is_on: Whether anything is measured.
        slow_seconds: `QUERY_SLOW_THRESHOLD`, its default where it is wrong.
        plain_nanoseconds: What takes less is to be counted, and no more than that; 0 where nothing is measured.
    """

    __slots__ = ("is_on", "plain_nanoseconds", "slow_seconds")

    def __init__(self) -> None:
        self.is_on = False
        self.slow_seconds: float = Options.QUERY_SLOW_THRESHOLD.default
        self.plain_nanoseconds = 0

    def look(self) -> None:
        """Look into the settings; where they cannot be read, nothing is measured, and a check says why.

        A wrong `QUERY_SLOW_THRESHOLD` is logged, once, and fails no statement.
        """
        try:
            self.is_on = options.METRICS_ENABLED
        except SettingsError:
            self.is_on = False
        try:
            self.slow_seconds = options.QUERY_SLOW_THRESHOLD
        except SettingsError as error:
            self.slow_seconds = Options.QUERY_SLOW_THRESHOLD.default
            logger.error("Queries are slow from %g seconds on: %s", self.slow_seconds, error)  # noqa: TRY400
        plain_seconds = min(self.slow_seconds, MOST_PLAIN_SECONDS) if self.is_on else 0.0
        self.plain_nanoseconds = int(plain_seconds * NANOSECONDS)


switch: Final = Switch()
recorder: Final = Recorder(folder=folder)


def install() -> None:
    """Begin to measure where the settings say so; calling it again changes nothing."""
    switch.look()
    setting_changed.connect(_settings_changed, dispatch_uid="perfkit.monitoring.recording")
    atexit.unregister(recorder.end)
    atexit.register(recorder.end)


def _settings_changed(*, setting: str, **_: Any) -> None:
    if setting == "PERFKIT":
        switch.look()
    if setting in {"PERFKIT", "CACHES"}:
        recorder.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=recorder.forked)
