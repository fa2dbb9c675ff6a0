"""The project's own WSGI application with some other settings, as `perfkit_benchmark --concurrent` serves it."""

from __future__ import annotations

import json
import os
from typing import Any

from django.conf import settings
from django.core.servers.basehttp import get_internal_wsgi_application

from perfkit.benchmarking.servers import VARIABLE


def _application() -> Any:
    # `options` of perfkit, and the names of `databases`, for these may be others than the settings say.
    given = json.loads(os.environ[VARIABLE])
    settings.PERFKIT = {**getattr(settings, "PERFKIT", {}), **given["options"]}
    for alias, name in given["databases"].items():
        settings.DATABASES[alias]["NAME"] = name
    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "127.0.0.1"]
    settings.SECURE_SSL_REDIRECT = False  # it is asked without TLS
    return get_internal_wsgi_application()


application = _application()
