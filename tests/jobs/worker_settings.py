"""Settings of a worker that runs the tests' jobs."""

from project.settings import *  # noqa: F403  # the environment comes first
from project.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.testapp"]
MIGRATION_MODULES = {"testapp": None}
