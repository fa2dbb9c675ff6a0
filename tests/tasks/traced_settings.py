"""Settings of a worker whose statements have comments."""

from tests.tasks.worker_settings import *  # noqa: F403  # the environment comes first
from tests.tasks.worker_settings import PERFKIT

PERFKIT = {**PERFKIT, "SQL_COMMENTS": True}
