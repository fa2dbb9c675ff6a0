"""A site whose answers leave work behind, for a server of its own; see `test_servers`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.urls import path

from perfkit.api import after_response


def work() -> None:
    time.sleep(0.3)
    with Path(os.environ["DONE"]).open("a", encoding="ascii") as file:
        file.write("done\n")


def leave_work(request: HttpRequest) -> HttpResponse:
    times = int(request.GET["times"])
    for _ in range(times):
        after_response(work)
    return HttpResponse(f"left {times}")


def ready(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ready")


urlpatterns = [path("work", leave_work), path("ready", ready)]
