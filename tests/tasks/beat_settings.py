"""Settings of beats and of their worker: one schedule of two seconds."""

from tests.jobs.worker_settings import *  # noqa: F403  # the environment comes first
from tests.jobs.worker_settings import PERFKIT

PERFKIT = {
    **PERFKIT,
    "CACHE_TIMEOUT": 5.0,
    "SCHEDULES": {"effect": {"job": "tests.testapp.jobs.leave_effect", "every": 2, "args": [1]}},
}
