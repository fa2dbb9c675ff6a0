"""What belongs together: an id for each request, in its logs, SQL, tasks and jobs; and spans of what takes long.

The names load their modules when they are first asked for, so that settings may import them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from perfkit.tracing.logs import RequestIdFilter, add_request_id, logging_settings
    from perfkit.tracing.middleware import request_id_middleware
    from perfkit.tracing.origins import request_id, use_request_id

__all__ = [
    "RequestIdFilter",
    "add_request_id",
    "logging_settings",
    "request_id",
    "request_id_middleware",
    "use_request_id",
]

_MODULES: Final = {
    "RequestIdFilter": "logs",
    "add_request_id": "logs",
    "logging_settings": "logs",
    "request_id": "origins",
    "request_id_middleware": "middleware",
    "use_request_id": "origins",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'perfkit.tracing' has no attribute {name!r}")
    return getattr(import_module(f"perfkit.tracing.{module}"), name)
