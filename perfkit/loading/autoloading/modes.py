"""Autoload as a fetch mode of Django 6.1: what an instance does when something of it is read that is not there."""

from __future__ import annotations

from typing import Any, Final

import django

if django.VERSION >= (6, 1):
    from django.db.models.fetch_modes import FETCH_ONE, FetchMode

    DJANGOS_MODE: Any = FETCH_ONE
else:  # see `descriptors.py`
    DJANGOS_MODE = None
    FetchMode = object  # type: ignore[assignment,misc]  # the stubs are of Django 6.1


class Autoload(FetchMode):
    """Loads a relation for all rows that were read together.

    Source:
        Django manual, "Fetch modes".
    """

    __slots__ = ()

    track_peers = False
    """Django need not: the rows know each other by their `Peer`."""

    def fetch(self, fetcher: Any, instance: Any) -> None:
        """Load what a descriptor, `fetcher`, was asked for."""
        from perfkit.loading.autoloading.to_one import fill  # it needs the peers, which need the mode

        if not fill(fetcher, instance):
            fetcher.fetch_one(instance)

    def __reduce__(self) -> str:
        return "AUTOLOAD"


AUTOLOAD: Final = Autoload()

FETCH_MODE: Final = AUTOLOAD if django.VERSION >= (6, 1) else None
"""What instances get; None before Django 6.1."""
