"""Where the numbers of all processes are added up: on the server of the cache alias, or inside the process."""

from __future__ import annotations

from typing import Final

from perfkit.caching.store.beside import Beside
from perfkit.monitoring.ledgers.contract import OTHER, Addition, Ledger, Told, Vector, add_to, added_up
from perfkit.monitoring.ledgers.local import LocalLedger
from perfkit.monitoring.ledgers.server import ServerLedger

__all__ = [
    "OTHER",
    "Addition",
    "Ledger",
    "LocalLedger",
    "ServerLedger",
    "Told",
    "Vector",
    "add_to",
    "added_up",
    "current_ledger",
]

_ledgers: Final[Beside[Ledger]] = Beside(on_server=ServerLedger, in_process=LocalLedger)


def current_ledger() -> Ledger:
    """Return where this process tells what it counted: that of the cache alias, or else its own.

    Raises:
        SettingsError: The alias does not exist, or its back end is none that perfkit speaks to.
    """
    return _ledgers.current()
