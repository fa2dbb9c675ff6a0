"""A small site, and tasks that do the same: they look and write as a soak does, and tell what they have seen.

`gunicorn tests.caching.scale_out.site:application` serves it, and a Celery worker imports it.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.caching.scale_out.site_settings")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from django.db import transaction  # noqa: E402  # the apps come first
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

from perfkit.caching import tokens  # noqa: E402
from perfkit.signals import cache_read  # noqa: E402
from project.celery import app  # noqa: E402
from tests.soak.history import Answer, Outside, Seen  # noqa: E402
from tests.soak.layout import Layout, zone_of  # noqa: E402
from tests.soak.looks import LOOKS  # noqa: E402
from tests.soak.stage import LEASE_MS  # noqa: E402
from tests.testapp.soak import Gauge  # noqa: E402

LAYOUT = Layout(2)
WAYS = ("save", "update")

_outcomes: list[str] = []


def _note(outcome: str, **_: Any) -> None:
    _outcomes.append(outcome)


if os.environ.get("PERFKIT_SCALE_OUT"):  # in a process of its own
    tokens.WRITE_LEASE_MS = LEASE_MS  # type: ignore[misc]  # shorter than in earnest
    cache_read.connect(_note)


def looked(kind: str, station: int, key: int) -> dict[str, Any]:
    """Look in one way, and tell in plain words what was seen and by whom."""
    _outcomes.clear()
    answer = LOOKS[kind](LAYOUT, station, key)
    return {
        "rows": [
            [register, list(seen) if isinstance(seen, Outside) else seen]
            for register, seen in answer.rows.items()
        ],
        "counted": list(answer.counted),
        "number": answer.number,
        "total": answer.total,
        "outcomes": list(_outcomes),
        "pid": os.getpid(),
    }


def answer_of(told: dict[str, Any]) -> Answer:
    """Return the answer that `looked` has told of."""
    rows: dict[int, Seen] = {
        register: Outside(*seen) if isinstance(seen, list) else seen for register, seen in told["rows"]
    }
    return Answer(rows, told["counted"], told["number"], told["total"])


def written(way: str, key: int, version: int) -> int:
    """Write a version, unless a later one is there: whoever asked for this one has not waited for it."""
    with transaction.atomic():
        gauge = Gauge.objects.select_for_update().get(pk=key)
        if gauge.version < version:
            gauge.version, gauge.zone = version, zone_of(version)
            if way == "save":
                gauge.save()
            else:
                Gauge.objects.filter(pk=key).update(version=version, zone=gauge.zone)
    return os.getpid()


def look_view(request: HttpRequest, kind: str, station: int, key: int) -> JsonResponse:
    return JsonResponse(looked(kind, station, key))


@csrf_exempt
def write_view(request: HttpRequest, way: str, key: int, version: int) -> JsonResponse:
    return JsonResponse({"pid": written(way, key, version)})


urlpatterns = [
    path("look/<str:kind>/<int:station>/<int:key>/", look_view),
    path("write/<str:way>/<int:key>/<int:version>/", write_view),
]


@app.task(name="tests.scale_out.look")
def look(kind: str, station: int, key: int) -> dict[str, Any]:
    return looked(kind, station, key)


@app.task(name="tests.scale_out.write")
def write(way: str, key: int, version: int) -> int:
    return written(way, key, version)
