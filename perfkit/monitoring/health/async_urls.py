"""The same routes with coroutines as views, for sites under ASGI without `HealthMiddleware`."""

from __future__ import annotations

from django.urls import path

from perfkit.monitoring.health.views import PROBES, async_view_of

app_name = "perfkit_health"
urlpatterns = [path(probe, async_view_of(probe), name=probe) for probe in PROBES]
