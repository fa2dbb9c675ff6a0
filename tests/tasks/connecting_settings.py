"""Settings of a worker that keeps its connections, and does not ask Django to check them."""

import os

from tests.tasks.worker_settings import *  # noqa: F403  # what is below differs from it
from tests.tasks.worker_settings import DATABASES

_entry = DATABASES["default"]
_entry["CONN_MAX_AGE"] = None if os.environ["KEEPS"] == "1" else 0
_entry["CONN_HEALTH_CHECKS"] = False
_entry["OPTIONS"] = {name: value for name, value in _entry["OPTIONS"].items() if name != "pool"}
