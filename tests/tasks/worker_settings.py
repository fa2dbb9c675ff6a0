"""Settings of a worker that tests start: the demo's, and a busy machine does not look like an outage."""

from project.settings import *  # noqa: F403  # the environment comes first
from project.settings import PERFKIT

PERFKIT = {**PERFKIT, "CACHE_TIMEOUT": 5.0}
