"""Locks that a forked process finds open, whatever the threads were doing that it did not inherit."""

from __future__ import annotations

import os
import threading
from typing import Any


def fork_safe_lock() -> threading.Lock:
    """Return a lock for something that lives as long as the process."""
    lock = threading.Lock()
    _reopen_after_fork(lock)
    return lock


def fork_safe_rlock() -> threading.RLock:
    """Return a lock that its holder may take again."""
    lock = threading.RLock()
    _reopen_after_fork(lock)
    return lock


def _reopen_after_fork(lock: Any) -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lock._at_fork_reinit)  # noqa: SLF001  # as the standard library does
