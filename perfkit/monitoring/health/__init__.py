"""Health: whether the process answers, whether it may be sent requests, and how what it needs stands.

`path("health/", include("perfkit.monitoring.health.urls"))` serves it, `HealthMiddleware` answers before all else,
and `manage.py perfkit_health` is for containers. Checks of a project's own are declared by `health_check`.
"""

from perfkit.monitoring.health.middleware import HealthMiddleware
from perfkit.monitoring.health.probes import check_health
from perfkit.monitoring.health.registry import health_check
from perfkit.monitoring.health.results import CheckResult, Finding, Report, Status, degraded, failed

__all__ = [
    "CheckResult",
    "Finding",
    "HealthMiddleware",
    "Report",
    "Status",
    "check_health",
    "degraded",
    "failed",
    "health_check",
]
