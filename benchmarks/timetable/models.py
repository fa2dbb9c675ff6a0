"""The demo's flights and what they refer to, on the demo's own tables; a test holds the columns to be the same.

The tables named `benchmark_…` are made by `tables`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db import models
from django.utils.module_loading import import_string

from benchmarks.timetable.settings import LIBRARY, MANAGER


def manager(**declared: Sequence[str]) -> Any:
    """Return a manager of the entrant's library.

    Args:
        declared: What only perfkit's takes: `by`, the fields whose values lists are asked for by,
            and `tables`, what stands behind a view.
    """
    return import_string(MANAGER)(**(declared if LIBRARY == "perfkit" else {}))


class Airline(models.Model):
    code = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=64)

    objects = manager()

    class Meta:
        managed = False
        db_table = "flights_airline"

    def __str__(self) -> str:
        return self.code


class Airport(models.Model):
    code = models.CharField(max_length=3, primary_key=True)
    name = models.CharField(max_length=64)
    latitude = models.FloatField()
    longitude = models.FloatField()
    altitude = models.IntegerField()
    utc_offset = models.SmallIntegerField()
    dst = models.CharField(max_length=1)
    tzone = models.CharField(max_length=32, blank=True)

    objects = manager()

    class Meta:
        managed = False
        db_table = "flights_airport"

    def __str__(self) -> str:
        return self.code


class Plane(models.Model):
    tailnum = models.CharField(max_length=6, primary_key=True)
    year = models.SmallIntegerField(null=True)
    type = models.CharField(max_length=32)
    manufacturer = models.CharField(max_length=32)
    model = models.CharField(max_length=24)
    engines = models.SmallIntegerField()
    seats = models.SmallIntegerField()
    speed = models.SmallIntegerField(null=True)
    engine = models.CharField(max_length=16)

    objects = manager()

    class Meta:
        managed = False
        db_table = "flights_plane"

    def __str__(self) -> str:
        return self.tailnum


class Flight(models.Model):
    year = models.SmallIntegerField()
    month = models.SmallIntegerField()
    day = models.SmallIntegerField()
    dep_time = models.SmallIntegerField(null=True)
    sched_dep_time = models.SmallIntegerField()
    dep_delay = models.SmallIntegerField(null=True)
    arr_time = models.SmallIntegerField(null=True)
    sched_arr_time = models.SmallIntegerField()
    arr_delay = models.SmallIntegerField(null=True)
    airline = models.ForeignKey(Airline, models.PROTECT)
    number = models.SmallIntegerField()
    plane = models.ForeignKey(Plane, models.PROTECT, null=True)
    tailnum = models.CharField(max_length=6, blank=True)
    origin = models.ForeignKey(Airport, models.PROTECT, related_name="departures")
    destination = models.ForeignKey(Airport, models.PROTECT, related_name="arrivals", null=True)
    dest_code = models.CharField(max_length=3)
    air_time = models.SmallIntegerField(null=True)
    distance = models.SmallIntegerField()
    hour = models.SmallIntegerField()
    minute = models.SmallIntegerField()
    time_hour = models.DateTimeField()

    objects = manager()

    class Meta:
        managed = False
        db_table = "flights_flight"

    def __str__(self) -> str:
        return f"{self.number} {self.time_hour:%Y-%m-%d}"


class Station(models.Model):
    """An airport that has a number for a key, and a code that is unique."""

    code = models.CharField(max_length=3, unique=True)
    name = models.CharField(max_length=64)
    latitude = models.FloatField()
    longitude = models.FloatField()
    altitude = models.IntegerField()
    tzone = models.CharField(max_length=32, blank=True)

    objects = manager()

    class Meta:  # managed, else nothing says that the database keeps the code unique
        db_table = "benchmark_station"

    def __str__(self) -> str:
        return self.code


class Departure(models.Model):
    """A flight as a board shows it, in a list for each airline."""

    airline = models.ForeignKey(Airline, models.PROTECT)
    number = models.SmallIntegerField()
    tailnum = models.CharField(max_length=6, blank=True)
    time_hour = models.DateTimeField()
    dep_delay = models.SmallIntegerField(null=True)

    objects = manager(by=["airline"])

    class Meta:
        managed = False
        db_table = "benchmark_departure"

    def __str__(self) -> str:
        return f"{self.number} {self.time_hour:%Y-%m-%d}"


class Weather(models.Model):
    """Cached by nobody: what the others' caches cost where they do not help."""

    origin = models.ForeignKey(Airport, models.PROTECT)
    year = models.SmallIntegerField()
    month = models.SmallIntegerField()
    day = models.SmallIntegerField()
    hour = models.SmallIntegerField()
    temp = models.FloatField(null=True)
    dewp = models.FloatField(null=True)
    humid = models.FloatField(null=True)
    wind_dir = models.SmallIntegerField(null=True)
    wind_speed = models.FloatField(null=True)
    wind_gust = models.FloatField(null=True)
    precip = models.FloatField()
    pressure = models.FloatField(null=True)
    visib = models.FloatField()
    time_hour = models.DateTimeField()

    objects: ClassVar[models.Manager[Weather]] = models.Manager()

    class Meta:
        managed = False
        db_table = "flights_weather"

    def __str__(self) -> str:
        return f"{self.time_hour:%Y-%m-%d %H:%M}"


class SlowAirline(models.Model):
    """An airline through a view that takes its time: what many processes miss together."""

    code = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=64)

    objects = manager(tables=["flights_airline"])

    class Meta:
        managed = False
        db_table = "benchmark_slow_airline"

    def __str__(self) -> str:
        return self.code
