"""A site for `perfkit_benchmark`: each address answers in a way of its own."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import include, path, re_path

from tests.testapp.caching import Item, ItemNote


def items(request: HttpRequest) -> HttpResponse:
    """Reads from the cache."""
    return JsonResponse([each.name for each in Item.objects.order_by("pk")[:20]], safe=False)


def notes(request: HttpRequest) -> HttpResponse:
    """Asks for the item of each note."""
    return JsonResponse([note.item.name for note in ItemNote.objects.order_by("pk")], safe=False)


def visits(request: HttpRequest) -> HttpResponse:
    """Writes, which a GET should not."""
    Item.plain.create(name="visited")
    return HttpResponse("seen")


def slow(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM testapp_item")
    return HttpResponse("done")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def forever() -> Any:
        while True:
            yield b"."

    return StreamingHttpResponse(forever())


def one(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(Item.objects.get(pk=number).name)


@login_required(login_url="/elsewhere/")
def private(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.get_username())


def broken(request: HttpRequest) -> HttpResponse:
    raise ValueError("broken on purpose")


inner = [path("notes/", notes), path("visits/", visits), re_path(r"^old/(?P<number>\d+)/$", one)]
urlpatterns = [
    path("items/", items),
    path("in/", include(inner)),
    path("slow/", slow),
    path("stream/", stream),
    path("one/<int:number>/", one),
    path("private/", private),
    path("elsewhere/", lambda request: redirect("/items/")),
    path("broken/", broken),
]
