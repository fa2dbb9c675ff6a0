"""Settings of the processes that tests scrape: those of the tests, with a ledger of the test's own."""

import os

from tests.settings import *  # noqa: F403  # the environment comes first
from tests.settings import INSTALLED_APPS, PERFKIT

ROOT_URLCONF = "tests.monitoring.prometheus.site"
MIDDLEWARE = ["perfkit.monitoring.metrics"]
INSTALLED_APPS = [
    each
    for each in INSTALLED_APPS
    if each != "django_prometheus" or not os.environ.get("PERFKIT_TESTS_OWN_PAGE")
]
PERFKIT = {
    **PERFKIT,
    "METRICS_ENABLED": True,
    "METRICS_INTERVAL": 0.2,
    "METRICS_TOKEN": os.environ.get("PERFKIT_TESTS_TOKEN", ""),
    "CACHE_KEY_PREFIX": os.environ.get("PERFKIT_TESTS_PREFIX", "site"),
    "CACHE_TIMEOUT": 5.0,  # a busy machine does not look like an outage
    "CACHE_RETRY_AFTER": 0.5,
    "QUERY_SLOW_THRESHOLD": float(os.environ.get("QUERY_SLOW_THRESHOLD", "60")),
}
