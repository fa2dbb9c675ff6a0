"""Settings of a process that runs jobs where it sends them; it is a command, so its checks must pass."""

from tests.jobs.worker_settings import *  # noqa: F403  # the environment comes first
from tests.jobs.worker_settings import INSTALLED_APPS, PERFKIT

INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.postgres"]
PERFKIT = {**PERFKIT, "JOB_BACKEND": "immediate"}
