"""Begins to count statements where the settings say so."""

from __future__ import annotations

from typing import Any, Final

from django.core.signals import setting_changed

from perfkit.conf import options
from perfkit.errors import SettingsError

NAME: Final = "perfkit.workload.installing"

_begun: Final[list[bool]] = []


def install() -> None:
    """Begin where `WORKLOAD_ENABLED` says so, also when that changes, as in tests; what it needs is loaded then.

    Queries: none.
    """
    setting_changed.connect(_settings_changed, dispatch_uid=NAME)
    _look()


def _settings_changed(*, setting: str, **_: Any) -> None:
    if setting == "PERFKIT":
        _look()


def _look() -> None:
    try:
        is_on = options.WORKLOAD_ENABLED
    except SettingsError:  # a system check says so
        is_on = False
    if is_on == bool(_begun):
        return
    from perfkit.workload import capture

    if is_on:
        _begun.append(True)
        capture.begin()
    else:
        _begun.clear()
        capture.stop()
