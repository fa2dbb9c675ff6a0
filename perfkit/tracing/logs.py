"""The id in the lines of logs, for Python's own logging and for structlog.

# Note [Why a filter]
A record factory would give the id to every record at once, but then a line of anybody's that is logged with
`extra={"request_id": …}` raises KeyError, and the last one to replace the factory wins. A filter on a handler sees
the records of all loggers that come to it, and what a record says itself stays.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from perfkit.tracing.origins import current

NONE: Final = "-"
TEXT: Final = "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"
JSON: Final = "%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s %(view)s"

UNTOLD: Final = ("request", "data", "args", "taskName")
"""What Django, Celery and Python put beside a line: a request with its query, a task with its arguments."""


class RequestIdFilter(logging.Filter):
    """Puts `request_id` and `view` onto the records of a handler, those of all loggers; `-` where there is none.

    `view` is the name of the view, or of the task or job. See Note [Why a filter].
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Put them on; no record is held back."""
        origin = current.get()
        told = vars(record)
        if "request_id" not in told:
            request = None if origin is not None else told.get("request")
            own = getattr(request, "request_id", "") if origin is None else origin.request_id
            told["request_id"] = own or NONE
        if "view" not in told:
            told["view"] = (origin.view if origin is not None else _view_of(told.get("request"))) or NONE
        return True


def add_request_id(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put `request_id` and `view` onto an event of structlog, as a processor of its; what it says itself stays."""
    origin = current.get()
    if origin is not None:
        event.setdefault("request_id", origin.request_id)
        if view := origin.view:
            event.setdefault("view", view)
    return event


def logging_settings(*, level: str = "INFO", json: bool = False) -> dict[str, Any]:
    """Return a `LOGGING` for Django: all loggers to the standard error, each line with its id.

    Args:
        level: Of the root logger.
        json: One JSON object a line, by python-json-logger (the extra `logs`), with what is in `extra`, save the
            requests and the arguments of tasks that Django and Celery put there.

    Raises:
        ImproperlyConfigured: python-json-logger is not installed.

    Example:
        >>> logging_settings()["handlers"]["console"]["filters"]
        ['request_id']
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": "perfkit.tracing.RequestIdFilter"}},
        "formatters": {"line": _json_formatter() if json else {"format": TEXT}},
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]}
        },
        "root": {"handlers": ["console"], "level": level},
    }


def _json_formatter() -> dict[str, Any]:
    try:
        from pythonjsonlogger.core import RESERVED_ATTRS
    except ImportError as error:
        raise ImproperlyConfigured(
            "logging_settings(json=True) needs python-json-logger: install django-perfkit[logs]."
        ) from error
    return {
        "()": "pythonjsonlogger.json.JsonFormatter",
        "fmt": JSON,
        "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        "reserved_attrs": [*RESERVED_ATTRS, *UNTOLD],
    }


def _view_of(request: Any) -> str:
    match = getattr(request, "resolver_match", None)
    return "" if match is None else str(match.view_name)
