"""Settings of a worker whose work is measured: what its test says in PERFKIT_TESTS_MEASURED."""

import json
import os

from tests.tasks.worker_settings import *  # noqa: F403  # the environment comes first
from tests.tasks.worker_settings import PERFKIT

MEASURED = json.loads(os.environ["PERFKIT_TESTS_MEASURED"])
CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": MEASURED["cache"]}}
PERFKIT = {
    **PERFKIT,
    "CACHE_KEY_PREFIX": MEASURED["prefix"],
    "METRICS_DIRECTORY": MEASURED["folder"],
    "METRICS_INTERVAL": 0.2,
    "SCHEDULES": {},
}
