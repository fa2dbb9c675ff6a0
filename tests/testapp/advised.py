"""Models for the tests of the index advisor; each test makes their tables itself."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField, DateTimeRangeField
from django.db import models


class Voyage(models.Model):
    """Has no index but that of its key."""

    captain = models.ForeignKey("Captain", models.CASCADE, db_index=False)
    status = models.CharField(max_length=10)
    made = models.DateTimeField()
    day = models.DateField()
    gone = models.DateTimeField(null=True)
    cost = models.DecimalField(max_digits=8, decimal_places=2)
    is_paid = models.BooleanField()
    ref = models.CharField(max_length=40)
    title = models.TextField()
    labels = models.JSONField(default=dict)
    height = models.IntegerField(null=True)

    class Meta:
        managed = False
        db_table = "advised_voyage"


class Captain(models.Model):
    name = models.CharField(max_length=40)
    country = models.CharField(max_length=2)

    class Meta:
        managed = False
        db_table = "advised_captain"


class Leg(models.Model):
    voyage = models.ForeignKey(Voyage, models.CASCADE, db_index=False, related_name="legs")
    number = models.IntegerField()
    tags = ArrayField(models.CharField(max_length=10))
    span = DateTimeRangeField(null=True)

    class Meta:
        managed = False
        db_table = "advised_leg"
