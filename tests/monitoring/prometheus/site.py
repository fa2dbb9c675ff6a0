"""A small site whose figures tests scrape, and tasks that do the same."""

from __future__ import annotations

import os
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.monitoring.prometheus.site_settings")

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
asgi = get_asgi_application()

from django.apps import apps  # noqa: E402  # the apps come first
from django.conf import settings  # noqa: E402
from django.contrib.auth.models import Group  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from prometheus_client import Counter  # noqa: E402

from perfkit import cache  # noqa: E402
from perfkit.monitoring import timed  # noqa: E402
from perfkit.monitoring.prometheus import metrics_view  # noqa: E402
from project.celery import app  # noqa: E402

ORDERS = (
    Counter("shop_orders", "Orders, counted by prometheus_client.")
    if __name__ == settings.ROOT_URLCONF
    else None
)


def pid_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(os.getpid()))


def order_view(request: HttpRequest, number: int) -> HttpResponse:
    if ORDERS is not None:
        ORDERS.inc()
    Group.objects.filter(pk=-number - 1).update(name="nobody")
    cache.get("never-set")
    with timed("order"):
        return HttpResponse(str(os.getpid()))


async def async_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(os.getpid()))


def slow_view(request: HttpRequest) -> HttpResponse:
    time.sleep(0.7)
    return HttpResponse("slow")


urlpatterns = [
    path("pid", pid_view),
    path("orders/<int:number>", order_view),
    path("async", async_view),
    path("slow", slow_view),
    path("own", metrics_view),
]
if apps.is_installed("django_prometheus"):
    urlpatterns.append(path("", include("django_prometheus.urls")))
elif not os.environ.get("PERFKIT_TESTS_OWN_PAGE"):  # it does not support this Django
    urlpatterns.append(path("metrics", metrics_view))


@app.task(name="tests.monitoring.order")
def order(number: int) -> int:
    with timed("task"):
        Group.objects.filter(pk=-number - 1).update(name="nobody")
    if number % 3 == 0:
        raise ValueError(number)
    return number
