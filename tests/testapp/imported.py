"""Models that the tests of the admin's import and export fill."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models


class Bin(models.Model):
    code = models.CharField(max_length=3, primary_key=True)
    is_open = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.code


class Ware(models.Model):
    class Kind(models.TextChoices):
        TEA = "t"
        COFFEE = "c"

    sku = models.CharField("stock keeping unit", max_length=8, unique=True)
    name = models.CharField(max_length=20)
    kind = models.CharField(max_length=1, choices=Kind, default=Kind.TEA)
    price = models.DecimalField(max_digits=6, decimal_places=2, validators=[MinValueValidator(0)])
    bin = models.ForeignKey(Bin, models.PROTECT, null=True, blank=True, limit_choices_to={"is_open": True})
    note = models.TextField(blank=True)
    count = models.IntegerField(default=0)
    is_sold = models.BooleanField(default=False)
    since = models.DateTimeField(null=True, blank=True)
    photo = models.FileField(blank=True)
    secret = models.CharField(max_length=10, editable=False, default="")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(count__lt=1000), name="ware_count_is_small")]

    def __str__(self) -> str:
        return self.sku

    def clean(self) -> None:
        if self.name == "bread":
            raise ValidationError({"name": "We sell no bread."})
        if self.kind == self.Kind.COFFEE and self.price and self.price > 100:
            raise ValidationError("Coffee is never so dear.")


class Branch(models.Model):
    """Refers to its own table."""

    code = models.CharField(max_length=3, primary_key=True)
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True)


class Owned(models.Model):
    """Of which everybody sees their own."""

    owner = models.CharField(max_length=20)
    title = models.CharField(max_length=20, unique=True)

    def __str__(self) -> str:
        return self.title


def as_dict(instance: models.Model) -> dict[str, Any]:
    return {field.attname: getattr(instance, field.attname) for field in instance._meta.concrete_fields}


class Token(models.Model):
    """Has a key that nobody types."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    title = models.CharField(max_length=20)


class Measured(models.Model):
    """Of kinds of values whose forms are stricter than their columns."""

    value = models.FloatField()
    data = models.JSONField(default=dict, blank=True)


class Titled(models.Model):
    """Fills a field of its own, and may be empty in two ways."""

    title = models.CharField(max_length=20)
    slug = models.CharField(max_length=20, editable=False, default="")
    alias = models.CharField(max_length=20, null=True, blank=True)

    def clean(self) -> None:
        self.slug = self.title.lower()


class Dated(models.Model):
    title = models.CharField(max_length=20, unique_for_date="day")
    day = models.DateField()


class Boxed(Ware):
    """Has its rows in two tables."""

    width = models.IntegerField(default=0)


class KeptManager(models.Manager):
    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(is_dropped=False)


class Kept(models.Model):
    """Has rows that its manager does not show."""

    code = models.CharField(max_length=3, unique=True)
    is_dropped = models.BooleanField(default=False)

    objects = KeptManager()
