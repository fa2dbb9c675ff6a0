"""Settings of the web processes and of the workers: those of the tests, with what tells the processes apart."""

import os

from tests.settings import *  # noqa: F403  # the environment comes first
from tests.settings import DATABASES, PERFKIT

ROOT_URLCONF = "tests.caching.scale_out.site"
PERFKIT = {**PERFKIT, "CACHE_TIMEOUT": 5.0}  # a busy machine does not look like an outage
DATABASES["default"]["OPTIONS"]["application_name"] = f"scale-out {os.getpid()}"
