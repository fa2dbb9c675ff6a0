"""Settings of that site: its database, and how it is reached, are said by the test that runs it."""

import os

from perfkit.postgres import database_settings
from tests.settings import *  # noqa: F403  # all that the tests' site has
from tests.settings import DATABASES, INSTALLED_APPS, PERFKIT

INSTALLED_APPS = [*INSTALLED_APPS, "django_bolt"]
BOLT_API = ["tests.api.bolt.site:api"]
ROOT_URLCONF = "tests.api.compiling.views"

if kind := os.environ.get("SITE_CONNECTIONS", ""):
    DATABASES["default"] = database_settings(
        os.environ["SITE_DATABASE"],
        wait_seconds=0.4,
        pool_size=0 if kind == "kept" else 2,
        application_name="site",
    )
    if kind == "kept":
        DATABASES["default"]["CONN_MAX_AGE"] = 60
    if kind == "async pool":
        PERFKIT = {**PERFKIT, "ASYNC_POOL_SIZE": 2}
