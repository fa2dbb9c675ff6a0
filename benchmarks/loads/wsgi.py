"""The site of room api as a server loads it."""

from __future__ import annotations

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from benchmarks.loads import site  # noqa: E402  # the apps come first

site.CONSTANT["20"] = b"x" * 10_000
