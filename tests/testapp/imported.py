"""Models that the tests of the admin's import and export fill."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
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

    class Meta:
        constraints = [models.CheckConstraint(condition=~models.Q(code="no"), name="branch_is_not_no")]


class Folder(models.Model):
    """Refers to its own table by a number of the database's."""

    title = models.CharField(max_length=20, unique=True)
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True)

    def __str__(self) -> str:
        return self.title


class Maker(models.Model):
    """May be named in several ways, not all of which everybody may know."""

    name = models.CharField(max_length=20, unique=True)
    license = models.IntegerField("license number", unique=True)
    email = models.EmailField(unique=True, null=True)
    secret = models.CharField(max_length=20, unique=True)
    is_open = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.name


class Crate(models.Model):
    """Refers to others, and is found by one of them."""

    number = models.IntegerField()
    maker = models.ForeignKey(Maker, models.CASCADE, limit_choices_to={"is_open": True})
    origin = models.ForeignKey(
        Maker, models.CASCADE, to_field="license", null=True, blank=True, related_name="+"
    )
    keeper = models.ForeignKey(  # the tests' own tables are made before those of users
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, db_constraint=False
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["maker", "number"], name="crate_is_one")]


class Sticker(models.Model):
    name = models.CharField(max_length=20, unique=True)
    is_open = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.name


class Parcel(models.Model):
    """Has relations to many: one that a file may give, and three that it may not."""

    code = models.CharField(max_length=8, unique=True)
    weight = models.IntegerField(default=0)
    stickers = models.ManyToManyField(Sticker, blank=True, limit_choices_to={"is_open": True})
    makers = models.ManyToManyField(Maker, through="Delivery", blank=True)
    parts = models.ManyToManyField("self", blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(weight__lt=1000), name="parcel_is_light")]


class Delivery(models.Model):
    """Says more of a link than its two ends."""

    parcel = models.ForeignKey(Parcel, models.CASCADE)
    maker = models.ForeignKey(Maker, models.CASCADE)
    day = models.DateField(null=True)


class Stuck(models.Model):
    """Has to have a sticker."""

    stickers = models.ManyToManyField(Sticker)


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
