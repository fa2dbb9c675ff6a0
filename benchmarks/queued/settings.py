"""Django's settings of every process of room `tasks` that enqueues or works.

PERFKIT_BENCH_BROKER and PERFKIT_BENCH_CACHE name databases of a cache server, PERFKIT_BENCH_COMMITS
whether a commit waits for the disk.
"""

from __future__ import annotations

import os

from benchmarks import settings as common
from benchmarks.settings import DEFAULT_AUTO_FIELD, SECRET_KEY, TIME_ZONE, USE_TZ
from perfkit.postgres.prepared import PREPARE_WHEN_ASKED

__all__ = ["DEFAULT_AUTO_FIELD", "SECRET_KEY", "TIME_ZONE", "USE_TZ"]

INSTALLED_APPS = [
    *("django.contrib.auth", "django.contrib.contenttypes", "perfkit", "procrastinate.contrib.django"),
]
DATABASES = {
    "default": common.DATABASES["default"]
    | {
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "prepare_threshold": PREPARE_WHEN_ASKED,
            "options": f"-c synchronous_commit={os.environ.get('PERFKIT_BENCH_COMMITS', 'off')}",
        },
    },
}
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ.get("PERFKIT_BENCH_CACHE", "redis://localhost"),
    }
}
PROCRASTINATE_IMPORT_PATHS = ["benchmarks.queued.peers"]
