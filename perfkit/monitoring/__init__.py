"""What people look at to see how fast the project is: what is measured, added up over all processes.

The names load their modules when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from perfkit.monitoring.middleware import metrics
    from perfkit.monitoring.work import timed

__all__ = ["metrics", "timed"]

_MODULES: Final = {"metrics": "middleware", "timed": "work"}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'perfkit.monitoring' has no attribute {name!r}")
    return getattr(import_module(f"perfkit.monitoring.{module}"), name)
