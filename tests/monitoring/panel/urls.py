"""A site with the toolbar: the demo, and the views of `site`."""

from __future__ import annotations

from django.urls import include, path

from project.urls import urlpatterns as demo
from tests.monitoring.panel import site

urlpatterns = [
    *demo,
    path("panel/nothing/", site.nothing),
    path("panel/reads/", site.reads),
    path("panel/areads/", site.areads),
    path("panel/loops/", site.loops),
    path("panel/aloops/", site.aloops),
    path("panel/plans/", site.plans),
    path("panel/limits/", site.limits),
    path("panel/answers/", site.answers),
    path("panel/writes/", site.writes),
    path("panel/plants/", site.plants),
    path("panel/floods/", site.floods),
    path("panel/streams/", site.streams),
    path("panel/astreams/", site.astreams),
    path("panel/meets/<int:number>/", site.meets),
    path("panel/ameets/<int:number>/", site.ameets),
    path("__debug__/", include("debug_toolbar.urls")),
]
