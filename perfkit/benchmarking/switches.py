"""Turns perfkit's cache off and on within this process, without forgetting what it knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.conf import settings
from django.test.utils import override_settings

from perfkit.conf import SETTING, configured

OFF: Final[dict[str, Any]] = {"CACHE_ENABLED": False}
UNLIMITED: Final[dict[str, Any]] = {"RATE_LIMIT_ENABLED": False, "METRICS_ENABLED": False}
"""Of both sides: who is refused has not been served, and what is tried here is nothing that the project did."""


class Switch:
    """The options of the project, of which some can be changed at any time."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._own = dict(options)

    def on(self) -> None:
        """Let the project's own options hold."""
        self._options.clear()
        self._options.update(self._own)

    def off(self) -> None:
        """Send every read to the database.

        The dictionary is changed in its place: a new one would have perfkit connect to its server anew.
        """
        self._options.update(OFF)


@contextmanager
def switchable() -> Iterator[Switch]:
    """Yield the switch; within the block requests are not limited, at its end all is as it was."""
    with override_settings(**{SETTING: {**configured(), **UNLIMITED}}):
        switch = Switch(getattr(settings, SETTING))
        try:
            yield switch
        finally:
            switch.on()
