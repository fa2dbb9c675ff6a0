"""What the demo keeps in its cache: the reference tables, which every page reads and nobody writes."""

from __future__ import annotations

from django.db.models import QuerySet

from perfkit.caching import warmer
from project.flights.models import Airline, Airport, Plane


@warmer("airlines")
def airlines() -> QuerySet[Airline]:
    """All airlines."""
    return Airline.objects.all()


@warmer("airports")
def airports() -> QuerySet[Airport]:
    """All airports."""
    return Airport.objects.all()


@warmer("planes")
def planes() -> QuerySet[Plane]:
    """All aeroplanes."""
    return Plane.objects.all()
