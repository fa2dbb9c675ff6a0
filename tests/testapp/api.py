"""Models for the tests of the room `api`."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.indexes import BrinIndex, GinIndex, GistIndex, OpClass
from django.db import models
from django.db.models.functions import Upper


class Member(models.Model):
    surname = models.CharField(max_length=20)

    class Meta:
        ordering: ClassVar = ["surname"]


class Badge(models.Model):
    number = models.IntegerField(unique=True, null=True)
    owner = models.OneToOneField(Member, models.CASCADE)


class Indexed(models.Model):
    """Only its declaration is looked at; there is no table."""

    code = models.CharField(max_length=8, unique=True)
    title = models.CharField(max_length=40)
    heading = models.CharField(max_length=40)
    motto = models.TextField()
    plate = models.CharField(max_length=8)
    slug = models.SlugField()
    bare = models.IntegerField()
    height = models.IntegerField(null=True)
    width = models.IntegerField(null=True)
    depth = models.IntegerField()
    made = models.DateTimeField()
    gone = models.DateTimeField(null=True)
    rough = models.DateTimeField()
    tags = models.JSONField()
    member = models.ForeignKey(Member, models.CASCADE)
    loose = models.ForeignKey(Member, models.CASCADE, related_name="+", db_index=False)
    badge = models.ForeignKey(Badge, models.CASCADE)

    class Meta:
        managed = False
        constraints: ClassVar = [models.UniqueConstraint(fields=["depth", "bare"], name="depth_bare")]
        indexes: ClassVar = [
            models.Index(fields=["made", "-depth"], name="made_depth"),
            models.Index(fields=["width"], name="width"),
            models.Index(models.F("height").desc(nulls_last=True), "id", name="height_last"),
            models.Index(fields=["plate"], opclasses=["varchar_pattern_ops"], name="plate_patterns"),
            models.Index(fields=["made"], condition=models.Q(gone__isnull=True), name="made_not_gone"),
            BrinIndex(fields=["rough"], name="rough_brin"),
            GinIndex(fields=["tags"], name="tags_gin"),
            GinIndex(fields=["title"], opclasses=["gin_trgm_ops"], name="title_trigrams"),
            GistIndex(OpClass(Upper("heading"), name="gist_trgm_ops"), name="heading_upper_trigrams"),
        ]
