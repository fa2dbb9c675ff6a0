"""Settings of the test run: the demo's, with the test app, quick passwords and one cache database a worker."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SECRET_KEY", "only-for-tests")

from project.settings import *  # noqa: F403  # the environment comes first
from project.settings import CACHES, DATABASES, INSTALLED_APPS, IS_SQLITE, PERFKIT, REDIS_URL

INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.postgres", "tests.testapp"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
MIGRATION_MODULES = {"testapp": None}

if not IS_SQLITE:
    # One connection a thread, closed with it: a pool would outlive the test database.
    DATABASES["default"]["OPTIONS"].pop("pool", None)

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
if REDIS_URL:
    CACHES["default"]["LOCATION"] = f"{REDIS_URL.rstrip('/').rsplit('/', 1)[0]}/{WORKER}"
    CELERY_BROKER_URL = CELERY_RESULT_BACKEND = CACHES["default"]["LOCATION"]

# On a busy machine any query may be slow; the tests of the log set their own threshold.
# Users are a table that nobody watches, except in the tests of the demo.
DEMO_CACHE_MODELS = PERFKIT["CACHE_MODELS"]
# Jobs are sent as on servers; those that are to run at once say so.
# What is measured or counted is told by a thread now and then, which tests of the server's commands would see.
PERFKIT = {
    **PERFKIT,
    "QUERY_SLOW_THRESHOLD": 60.0,
    "CACHE_MODELS": ["flights.Flight"],
    "JOB_BACKEND": "celery",
    "METRICS_ENABLED": False,
    "WORKLOAD_ENABLED": False,
}

# The test app has models that cannot be cached, some that cannot be imported, and a search without an index,
# on purpose.
SILENCED_SYSTEM_CHECKS = ["perfkit.W101", "perfkit.W201", "perfkit.W202"]

STATIC_ROOT = None  # nothing is collected; WhiteNoise would warn of a folder that is not there

# Also where there is no broker a job waits until a test runs it.
CELERY_TASK_ALWAYS_EAGER = False
