"""Views and middleware that need the database, for the tests of what an outage makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.template.response import SimpleTemplateResponse
from django.urls import path


def ask(sql: str = "SELECT 1") -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def asks(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(ask()))


async def asks_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await sync_to_async(ask)()))


def asks_nobody(request: HttpRequest) -> HttpResponse:
    return HttpResponse("well")


def asks_nonsense(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(ask("SELECT * FROM no_such_table")))


def asks_in_a_template(request: HttpRequest) -> HttpResponse:
    return SimpleTemplateResponse(engines["django"].from_string("{{ ask }}"), {"ask": ask})


def asking_middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    """Needs the database after the view, as a session that is saved does."""

    def asking(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        ask("SELECT 1" if "nonsense" not in request.GET else "SELECT * FROM no_such_table")
        return response

    return asking


urlpatterns = [
    path("asks", asks),
    path("asks-async", asks_async),
    path("asks-nobody", asks_nobody),
    path("asks-nonsense", asks_nonsense),
    path("asks-in-a-template", asks_in_a_template),
]
