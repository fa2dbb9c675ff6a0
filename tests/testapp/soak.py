"""Models for the soak: rows that carry a version, alone, joined, and in a relation of many to many."""

from __future__ import annotations

from django.db import models

from perfkit.caching import CachedManager

LONGER_THAN_ANY_SOAK: int = 24 * 3600
"""Seconds; no stale answer may go away by its time."""


class Gauge(models.Model):
    """Each version is written once, and later ones are greater; the zone follows from the version."""

    station = models.IntegerField()
    zone = models.IntegerField()
    code = models.CharField(max_length=8, unique=True)
    version = models.IntegerField()

    objects = CachedManager(ttl=LONGER_THAN_ANY_SOAK, by=["station", "zone"])
    plain = models.Manager()


class Dial(models.Model):
    """Shows a gauge, and goes with it."""

    gauge = models.ForeignKey(Gauge, models.CASCADE, related_name="dials")
    version = models.IntegerField()

    objects = CachedManager(ttl=LONGER_THAN_ANY_SOAK)
    plain = models.Manager()


class Panel(models.Model):
    """Many gauges of one station, whose number is its key."""

    gauges = models.ManyToManyField(Gauge, related_name="panels")

    objects = CachedManager(ttl=LONGER_THAN_ANY_SOAK)
    plain = models.Manager()
