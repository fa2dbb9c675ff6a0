"""Which statements a project sends, how often, how long they take, and with which values.

With `PERFKIT["WORKLOAD_ENABLED"]` each process counts its statements, see [](../how-to/workload.md).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from perfkit.workload.shapes import CAPTURE, STATISTICS, QueryShape, Workload

if TYPE_CHECKING:
    from perfkit.workload.capture import flush_workload
    from perfkit.workload.files import load_workload, save_workload
    from perfkit.workload.reading import read_workload
    from perfkit.workload.replay import replay_workload
    from perfkit.workload.slowest import SlowQuery, explain_sample, slow_queries
    from perfkit.workload.store import clear_workload

__all__ = [
    "CAPTURE",
    "STATISTICS",
    "QueryShape",
    "SlowQuery",
    "Workload",
    "clear_workload",
    "explain_sample",
    "flush_workload",
    "load_workload",
    "read_workload",
    "replay_workload",
    "save_workload",
    "slow_queries",
]

_MODULES: Final = {
    "SlowQuery": "slowest",
    "clear_workload": "store",
    "explain_sample": "slowest",
    "flush_workload": "capture",
    "load_workload": "files",
    "read_workload": "reading",
    "replay_workload": "replay",
    "save_workload": "files",
    "slow_queries": "slowest",
}
"""What needs perfkit's tables, which are not there yet while models are loaded that import this."""


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'perfkit.workload' has no attribute {name!r}")
    return getattr(import_module(f"perfkit.workload.{module}"), name)
