"""Models for the tests of the room `api`."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Member(models.Model):
    surname = models.CharField(max_length=20)

    class Meta:
        ordering: ClassVar = ["surname"]


class Badge(models.Model):
    number = models.IntegerField(unique=True, null=True)
    owner = models.OneToOneField(Member, models.CASCADE)
