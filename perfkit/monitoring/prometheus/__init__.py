"""What Prometheus scrapes: the figures of all processes, from any of them.

It needs prometheus_client, of the extra `prometheus`.
"""

from perfkit.monitoring.prometheus.collector import MetricsCollector, register
from perfkit.monitoring.prometheus.views import metrics_view

__all__ = ["MetricsCollector", "metrics_view", "register"]
