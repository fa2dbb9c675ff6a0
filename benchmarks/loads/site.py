"""The lists that room api measures, each as a project would write it, at addresses of one site."""

from __future__ import annotations

from typing import Any

import orjson
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path
from ninja import NinjaAPI
from ninja.decorators import decorate_view
from ninja.pagination import PageNumberPagination, paginate
from ninja.renderers import BaseRenderer
from rest_framework import generics, serializers

from perfkit.api import FastJSONRenderer, KeysetPagination, PagePagination, compiled, compiled_rows
from perfkit.caching import cache_response
from project.flights.models import Airline, Airport, Flight, Plane
from project.flights.schemas import FlightOut

RELATIONS = ("airline", "origin", "destination", "plane")


def flights() -> QuerySet[Flight]:
    """Return all flights, the latest first, as each list shows them."""
    return Flight._base_manager.order_by("-time_hour", "-id")


class OrjsonRenderer(BaseRenderer):
    """As ninja's documentation has it."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        """Return the JSON of `data`."""
        content: bytes = orjson.dumps(data, option=orjson.OPT_UTC_Z)
        return content


def _serializer(of: type[Any], *names: str) -> Any:
    meta = type("Meta", (), {"model": of, "fields": names})
    return type(f"{of.__name__}Serializer", (serializers.ModelSerializer,), {"Meta": meta})


class FlightSerializer(serializers.ModelSerializer):  # type: ignore[misc]  # nothing is known of its type
    """What `FlightOut` shows, for Django REST framework."""

    airline = _serializer(Airline, "code", "name")()
    origin = _serializer(Airport, "code", "name")()
    destination = _serializer(Airport, "code", "name")()
    plane = _serializer(Plane, "tailnum", "year", "manufacturer", "model", "seats")()

    class Meta:
        """Its fields."""

        model = Flight
        fields = tuple(FlightOut.model_fields)


class RestFlights(generics.ListAPIView):  # type: ignore[misc]  # likewise
    """A list without a count, by Django REST framework."""

    serializer_class = FlightSerializer
    authentication_classes = ()
    permission_classes = ()
    pagination_class = None

    def get_queryset(self) -> Any:
        """Return the first flights."""
        return flights().select_related(*RELATIONS)[: int(self.request.GET["page_size"])]


plain = NinjaAPI(urls_namespace="plain")
fast_plain = NinjaAPI(urls_namespace="orjson", renderer=OrjsonRenderer())
ours = NinjaAPI(urls_namespace="ours")
fast = NinjaAPI(urls_namespace="fast", renderer=FastJSONRenderer())

for api in (plain, fast_plain):

    @api.get("first", response=list[FlightOut])
    def first(request: HttpRequest, page_size: int) -> Any:
        """Return the first flights, with what they refer to joined."""
        return flights().select_related(*RELATIONS)[:page_size]

    @api.get("pages", response=list[FlightOut])
    @paginate(PageNumberPagination)
    def pages(request: HttpRequest) -> Any:
        """Return a page by ninja's own pagination."""
        return flights().select_related(*RELATIONS)


for api in (ours, fast):

    @api.get("first", response=list[FlightOut])
    @compiled
    def compiled_first(request: HttpRequest, page_size: int) -> Any:
        """Return the first flights."""
        return flights()[:page_size]

    @api.get("keyset", response=list[FlightOut])
    @paginate(KeysetPagination)
    def keyset(request: HttpRequest) -> Any:
        """Return a page by cursor."""
        return flights()

    @api.get("pages", response=list[FlightOut])
    @paginate(PagePagination, count="cached")
    def counted(request: HttpRequest) -> Any:
        """Return a page by number."""
        return flights()

    @api.get("cached", response=list[FlightOut])
    @decorate_view(cache_response())
    @paginate(KeysetPagination)
    def kept(request: HttpRequest) -> Any:
        """Return a page by cursor, kept until a flight is written."""
        return flights()


def plain_view(request: HttpRequest) -> HttpResponse:
    """Return the first flights without any framework but Django."""
    rows = compiled_rows(flights()[: int(request.GET["page_size"])], FlightOut)
    content = FastJSONRenderer().render(request, rows, response_status=200)
    return HttpResponse(content, content_type="application/json")


CONSTANT: dict[str, bytes] = {}
"""By the number of flights, the bytes of a list."""


def constant(request: HttpRequest) -> HttpResponse:
    """Return the same bytes each time, which is all that Django can do in less time."""
    return HttpResponse(CONSTANT[request.GET["page_size"]], content_type="application/json")


urlpatterns = [
    path("plain/", plain.urls),
    path("orjson/", fast_plain.urls),
    path("ours/", ours.urls),
    path("fast/", fast.urls),
    path("rest/", RestFlights.as_view()),
    path("view/", plain_view),
    path("constant/", constant),
]
