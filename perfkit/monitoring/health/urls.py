"""Routes of the probes: `path("health/", include("perfkit.monitoring.health.urls"))`."""

from __future__ import annotations

from django.urls import path

from perfkit.monitoring.health.views import PROBES, view_of

app_name = "perfkit_health"
urlpatterns = [path(probe, view_of(probe), name=probe) for probe in PROBES]
