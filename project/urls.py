"""Routes of the demo project."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from perfkit.monitoring.prometheus import metrics_view
from project.api import api
from project.flights.pages import FlightsView
from project.views import HomeView

urlpatterns: list[URLPattern | URLResolver] = [
    path("", HomeView.as_view(), name="home"),
    path("flights/", FlightsView.as_view(), name="flights"),
    path("health/", include("perfkit.monitoring.health.urls")),
    path("admin/", admin.site.urls),
    path("api/", api.urls),
]

# /metrics is open to everybody who reaches the site: counts and timings by view, no data and no secrets.
# Where even these should stay inside, let the proxy refuse the path, or use perfkit's page with METRICS_TOKEN.
if settings.HAS_PROMETHEUS:
    urlpatterns.append(path("", include("django_prometheus.urls")))
else:
    urlpatterns.append(path("metrics", metrics_view, name="prometheus-django-metrics"))
if settings.HAS_TOOLBAR:
    urlpatterns.append(path("__debug__/", include("debug_toolbar.urls")))
