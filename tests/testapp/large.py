"""A library, whose admin is that of a large table."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Upper

from perfkit.loading import needs


class Hall(models.Model):
    name = models.CharField(max_length=20)

    def __str__(self) -> str:
        return self.name


class Rack(models.Model):
    label = models.CharField(max_length=20, unique=True)
    hall = models.ForeignKey(Hall, models.CASCADE)

    class Meta:
        ordering: ClassVar = ["-label"]

    @needs("hall")
    def __str__(self) -> str:
        return f"{self.hall}, {self.label}"


class Topic(models.Model):
    name = models.CharField(max_length=20)

    def __str__(self) -> str:
        return self.name


class Tome(models.Model):
    title = models.CharField(max_length=60)
    code = models.CharField(max_length=10, unique=True)
    nickname = models.CharField(max_length=20, blank=True)
    rack = models.ForeignKey(Rack, models.CASCADE, null=True, blank=True, related_name="tomes")
    previous = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="later")
    rank = models.IntegerField(null=True, blank=True)
    kind = models.CharField(max_length=10)
    added = models.DateTimeField()
    topics = models.ManyToManyField(Topic, blank=True)

    class Meta:
        ordering: ClassVar = ["-added"]
        indexes: ClassVar = [models.Index(Upper("nickname"), name="tome_nickname_upper")]

    def __str__(self) -> str:
        return self.title


class Marginal(models.Model):
    tome = models.ForeignKey(Tome, models.CASCADE, related_name="marginals")
    text = models.CharField(max_length=20)
