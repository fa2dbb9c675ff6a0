"""A site with the probes, by either kind of views."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def page(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("page")


urlpatterns = [
    path("health/", include("perfkit.monitoring.health.urls")),
    path("ahealth/", include("perfkit.monitoring.health.async_urls", namespace="async")),
    path("page", page),
]
