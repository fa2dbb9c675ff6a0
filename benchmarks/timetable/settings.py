"""Django's settings for one entrant.

PERFKIT_BENCH_LIBRARY names whose manager its models have, PERFKIT_BENCH_CACHE where its cache is,
PERFKIT_BENCH_MEMORY perfkit's `CACHE_MEMORY`, PERFKIT_BENCH_RECORDS whether it sees what functions read.
"""

from __future__ import annotations

import os
from typing import Any

from benchmarks import settings as common
from benchmarks.settings import DEFAULT_AUTO_FIELD, SECRET_KEY, USE_TZ

__all__ = ["DEFAULT_AUTO_FIELD", "SECRET_KEY", "USE_TZ"]

DATABASES = {"default": common.DATABASES["default"]}

LIBRARY = os.environ["PERFKIT_BENCH_LIBRARY"]
MEMORY = os.environ["PERFKIT_BENCH_MEMORY"]
RECORDS = os.environ["PERFKIT_BENCH_RECORDS"] == "True"
CACHE_URL = os.environ["PERFKIT_BENCH_CACHE"]
TTL_SECONDS = 3600

INSTALLED_APPS = {
    "plain": [],
    "perfkit": ["perfkit"],
    "cacheops": ["cacheops"],
    "cachalot": ["cachalot"],
}.get(LIBRARY, [])
INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks.timetable"]

# A commit does not wait for the disk, whose moods are no entrant's: what is added to it weighs the more.
DATABASES["default"].setdefault("OPTIONS", {})["options"] = "-c synchronous_commit=off"

CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": CACHE_URL}}

MANAGER = "perfkit.caching.CachedManager" if LIBRARY == "perfkit" else "django.db.models.Manager"

REQUEST = (
    "perfkit.caching.token_scope" if (LIBRARY, MEMORY) == ("perfkit", "request") else "contextlib.nullcontext"
)
"""What a turn is surrounded by, as a request is, outside the time of its calls."""

# Outages are caused on purpose and timed; what is logged of them meanwhile helps nobody.
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"null": {"class": "logging.NullHandler"}},
    "loggers": {"perfkit": {"handlers": ["null"], "propagate": False}},
}

PERFKIT = {"CACHE_DEFAULT_TTL": TTL_SECONDS, "CACHE_MEMORY": MEMORY}

_PROFILE = {"ops": "all", "timeout": TTL_SECONDS}
CACHEOPS_REDIS = CACHE_URL
CACHEOPS = {
    **{
        f"timetable.{model}": _PROFILE
        for model in ("airline", "airport", "plane", "flight", "station", "departure")
    },
    "timetable.slowairline": {**_PROFILE, "lock": True},  # what it has against stampedes
}

CACHALOT_TIMEOUT = TTL_SECONDS
CACHALOT_UNCACHABLE_TABLES = ("django_migrations", "flights_weather")
