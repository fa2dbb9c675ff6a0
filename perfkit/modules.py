"""Modules that somebody else may have imported."""

from __future__ import annotations

import sys
from types import ModuleType


def loaded(name: str) -> ModuleType | None:
    """Return a module that was imported; None where it was not, or where a thread is still importing it.

    `sys.modules` has such a module too, before the half of its names is there.
    """
    module = sys.modules.get(name)
    # What `import` asks before it waits for the other thread.
    return None if module is None or getattr(module.__spec__, "_initializing", False) else module
