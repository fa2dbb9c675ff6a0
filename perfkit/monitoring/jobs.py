"""The job that logs how fast the project is, for a schedule."""

from __future__ import annotations

import logging
from typing import Any, Final

from perfkit.jobs import job
from perfkit.monitoring.plain import as_line, line_text
from perfkit.monitoring.summary import alerts, read_summary

logger: Final = logging.getLogger("perfkit.summary")


@job(name="perfkit.log_summary", key="{since}", reuse=False, atomic=False, shown=["since"])
def log_summary(since: str = "1h") -> dict[str, Any]:
    """Log one line of what all processes measured, on the logger `perfkit.summary`.

    It is an INFO, or a WARNING where something is worse than it should be, or cannot be told.
    The figures are attributes of the record, too, for logs in JSON.

    Args:
        since: `"15m"`, `"1h"`, `"6h"` or `"24h"`.

    Returns:
        The figures.

    Raises:
        ValueError: There is no such range.
    """
    summary = read_summary(since)
    line = as_line(summary)
    level = logging.WARNING if summary.problem or alerts(summary) else logging.INFO
    logger.log(level, "%s", line_text(line), extra=line)
    return line
