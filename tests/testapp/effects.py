"""What jobs leave behind: nothing keeps a job from leaving two, but perfkit."""

from __future__ import annotations

from django.db import models


class Effect(models.Model):
    number = models.IntegerField()
    note = models.CharField(max_length=100, default="")
