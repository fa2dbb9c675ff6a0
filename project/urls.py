"""Routes of the demo project."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from project.api import api
from project.flights.pages import FlightsView
from project.views import HomeView

urlpatterns: list[URLPattern | URLResolver] = [
    path("", HomeView.as_view(), name="home"),
    path("flights/", FlightsView.as_view(), name="flights"),
    path("admin/", admin.site.urls),
    path("api/", api.urls),
]

if settings.HAS_PROMETHEUS:
    # /metrics is open to everybody who reaches the site: counts and timings by view, no data and no secrets.
    # Where even these should stay inside, let the proxy refuse the path.
    urlpatterns.append(path("", include("django_prometheus.urls")))
if settings.HAS_TOOLBAR:
    urlpatterns.append(path("__debug__/", include("debug_toolbar.urls")))
