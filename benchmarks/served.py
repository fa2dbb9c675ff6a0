"""Settings, and the application, of the site of room api where it is served over HTTP."""

from __future__ import annotations

from benchmarks.settings import (
    CACHES,
    DATABASES,
    DEFAULT_AUTO_FIELD,
    INSTALLED_APPS,
    PERFKIT,
    SECRET_KEY,
    TIME_ZONE,
    USE_TZ,
)
from perfkit.postgres.prepared import PREPARE_WHEN_ASKED

__all__ = ["CACHES", "DEFAULT_AUTO_FIELD", "INSTALLED_APPS", "PERFKIT", "SECRET_KEY", "TIME_ZONE", "USE_TZ"]

ROOT_URLCONF = "benchmarks.loads.site"
ALLOWED_HOSTS = ["*"]
REST_FRAMEWORK = {"UNAUTHENTICATED_USER": None}
DATABASES = {
    "default": DATABASES["default"]
    | {"CONN_MAX_AGE": None, "OPTIONS": {"prepare_threshold": PREPARE_WHEN_ASKED}},
}
