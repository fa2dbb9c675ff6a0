"""Settings of a process that runs jobs where it sends them."""

from tests.jobs.worker_settings import *  # noqa: F403  # the environment comes first
from tests.jobs.worker_settings import PERFKIT

PERFKIT = {**PERFKIT, "JOB_BACKEND": "immediate"}
