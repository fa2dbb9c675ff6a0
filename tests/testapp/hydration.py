"""Models for the tests of the room `hydration`."""

from __future__ import annotations

import base64
from typing import Any

from django.contrib.postgres.fields import (
    ArrayField,
    DateRangeField,
    DateTimeRangeField,
    DecimalRangeField,
    IntegerRangeField,
)
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Upper
from django.db.models.query_utils import DeferredAttribute

from perfkit.loading import FastManager
from tests.testapp.caching import Loud


class Square(models.Model):
    """Its key has two parts."""

    pk = models.CompositePrimaryKey("column", "row")
    column = models.IntegerField()
    row = models.IntegerField()
    piece = models.CharField(max_length=10, blank=True)


class Speaker(models.Model):
    name = models.CharField(max_length=20)


class Speech(models.Model):
    """Leads to a model that makes its instances in a way of its own, and to one that does not."""

    text = models.CharField(max_length=20)
    speaker = models.ForeignKey(Speaker, models.CASCADE, related_name="speeches")
    loud = models.OneToOneField(Loud, models.DO_NOTHING, null=True, related_name="speech")

    @property
    def length(self) -> int | None:
        """What an annotation of this name is taken by."""
        return self.__dict__.get("measured")

    @length.setter
    def length(self, value: int) -> None:
        self.measured = value


EVENTS: list[tuple[Any, ...]] = []
"""What `Entry` and its fields have seen."""


class WatchedField(models.CharField):
    """Tells when a value comes out of the database."""

    def from_db_value(self, value: Any, expression: object, connection: object) -> Any:
        EVENTS.append(("converted", value))
        return value


class Diary(models.Model):
    name = models.CharField(max_length=20)


class Entry(models.Model):
    """Tells what happens to it when it is read."""

    diary = models.ForeignKey(Diary, models.CASCADE, related_name="entries")
    text = WatchedField(max_length=20)

    objects = FastManager()
    plain = models.Manager()

    class Meta:
        ordering = ("pk",)


class SecretField(models.TextField):
    """Kept in the database as nobody can read it at a glance."""

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else base64.b85encode(value.encode()).decode()

    def from_db_value(self, value: Any, expression: object, connection: object) -> Any:
        return None if value is None else base64.b85decode(value).decode()


class ShoutedAttribute(DeferredAttribute):
    """Changes what is set."""

    def __set__(self, instance: models.Model, value: Any) -> None:
        EVENTS.append(("set", value))
        instance.__dict__[self.field.attname] = value if value is None else value.upper()


class ShoutedField(models.CharField):
    descriptor_class = ShoutedAttribute


class PictureField(models.ImageField):
    """Django's, where nobody looks into the picture."""

    def _check_image_library_installed(self) -> list[Any]:
        return []


class Kind(models.Model):
    code = models.CharField(max_length=5, primary_key=True)


class Columns(models.Model):
    """Django's fields, one of each but for the key."""

    big = models.BigIntegerField(null=True)
    blob = models.BinaryField(null=True)
    flag = models.BooleanField(null=True)
    short = models.CharField(max_length=20, null=True)
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    money = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    span = models.DurationField(null=True)
    email = models.EmailField(null=True)
    file = models.FileField(null=True)
    path = models.FilePathField(path="/", null=True)
    real = models.FloatField(null=True)
    address = models.GenericIPAddressField(null=True)
    picture = PictureField(null=True)
    whole = models.IntegerField(null=True)
    document = models.JSONField(null=True)
    encoded = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    positive_big = models.PositiveBigIntegerField(null=True)
    positive = models.PositiveIntegerField(null=True)
    positive_small = models.PositiveSmallIntegerField(null=True)
    slug = models.SlugField(null=True)
    small = models.SmallIntegerField(null=True)
    text = models.TextField(null=True)
    clock = models.TimeField(null=True)
    url = models.URLField(null=True)
    key = models.UUIDField(null=True)
    secret = SecretField(null=True)
    stamped = models.CharField(max_length=10, db_default="new")
    loud = models.GeneratedField(
        expression=Upper("slug"), output_field=models.CharField(max_length=50), db_persist=True
    )
    kind = models.ForeignKey(Kind, models.CASCADE, null=True, related_name="+")
    only = models.OneToOneField(Kind, models.CASCADE, null=True, related_name="+")

    objects = FastManager()
    plain = models.Manager()

    class Meta:
        abstract = True


class EveryKind(Columns):
    """Its key is Django's big one."""

    id = models.BigAutoField(primary_key=True)


class EveryKindHeard(Columns):
    """A picture that fills in its size has a receiver of `post_init`; a field sets in a way of its own."""

    id = models.AutoField(primary_key=True)
    width = models.IntegerField(null=True)
    height = models.IntegerField(null=True)
    framed = PictureField(null=True, width_field="width", height_field="height")
    shouted = ShoutedField(max_length=20, null=True)


class EveryKindInParts(Columns):
    """Its key has two parts."""

    pk = models.CompositePrimaryKey("column", "row")
    column = models.SmallIntegerField()
    row = models.CharField(max_length=10)


class EveryKindBelow(EveryKind):
    """A child class, with a table of its own."""

    more = models.CharField(max_length=20, null=True)

    objects = FastManager()
    plain = models.Manager()


class EveryKindProxy(EveryKind):
    objects = FastManager()
    plain = models.Manager()

    class Meta:
        proxy = True


class OfPostgres(models.Model):
    """What only PostgreSQL has."""

    id = models.SmallAutoField(primary_key=True)
    numbers = ArrayField(models.IntegerField(null=True), null=True)
    grid = ArrayField(ArrayField(models.CharField(max_length=5)), null=True)
    moments = ArrayField(models.DateTimeField(), null=True)
    secrets = ArrayField(SecretField(), null=True)
    whole = IntegerRangeField(null=True)
    money = DecimalRangeField(null=True)
    days = DateRangeField(null=True)
    times = DateTimeRangeField(null=True)

    objects = FastManager()
    plain = models.Manager()

    class Meta:
        required_db_vendor = "postgresql"
