"""Models for the tests of room `bulk`: one trap each."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.postgres.fields import ArrayField, DateRangeField, DateTimeRangeField, IntegerRangeField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Now, Upper

from perfkit.bulk import BulkManager


class Country(models.Model):
    code = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=20, default="unnamed")


class Everything(models.Model):
    class Size(models.TextChoices):
        SMALL = "s"
        LARGE = "l"

    class Rank(models.IntegerChoices):
        LOW = 1
        HIGH = 2

    small = models.SmallIntegerField(null=True)
    whole = models.IntegerField(null=True)
    big = models.BigIntegerField(null=True)
    positive = models.PositiveIntegerField(null=True)
    rank = models.IntegerField(choices=Rank.choices, null=True)
    size = models.CharField(max_length=1, choices=Size.choices, null=True)
    short = models.CharField(max_length=5, null=True)
    slug = models.SlugField(null=True)
    text = models.TextField(null=True)
    flag = models.BooleanField(null=True)
    real = models.FloatField(null=True)
    money = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    day = models.DateField(null=True)
    clock = models.TimeField(null=True)
    moment = models.DateTimeField(null=True)
    span = models.DurationField(null=True)
    key = models.UUIDField(null=True)
    document = models.JSONField(null=True)
    encoded = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    blob = models.BinaryField(null=True)
    address = models.GenericIPAddressField(null=True)
    country = models.ForeignKey(Country, models.CASCADE, null=True)


class City(models.Model):
    name = models.CharField(max_length=20)
    country = models.ForeignKey(Country, models.CASCADE, related_name="cities")
    population = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "country"], name="bulk_city_once")]


class Stock(models.Model):
    """May be in the table already, by a key whose one half may be unknown."""

    shop = models.CharField(max_length=3, null=True)
    sku = models.IntegerField()
    amount = models.IntegerField(default=7)
    note = models.TextField(null=True)
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    tags = models.JSONField(null=True)
    state = models.CharField(max_length=10, db_default="new")
    created = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["shop", "sku"], name="bulk_stock_once")]


class Slot(models.Model):
    """NULL equals NULL in its key."""

    day = models.DateField(null=True)
    name = models.CharField(max_length=10)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day"], name="bulk_slot_once", nulls_distinct=False)]
        required_db_features = {"supports_nulls_distinct_unique_constraints"}


class Managed(models.Model):
    """Has the bulk calls on its manager."""

    name = models.CharField(max_length=10, unique=True)
    count = models.IntegerField(default=0)

    objects = BulkManager()


class Filed(models.Model):
    """What files hold: each kind of value."""

    code = models.CharField(max_length=10, unique=True)
    note = models.TextField(null=True)
    number = models.IntegerField(null=True)
    ratio = models.FloatField(null=True)
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    flag = models.BooleanField(null=True)
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    clock = models.TimeField(null=True)
    span = models.DurationField(null=True)
    key = models.UUIDField(null=True)
    data = models.JSONField(null=True)
    blob = models.BinaryField(null=True)
    country = models.ForeignKey(Country, models.CASCADE, null=True)


class Listed(models.Model):
    """Has columns that are no single values."""

    code = models.CharField(max_length=10, unique=True)
    numbers = ArrayField(models.IntegerField(null=True), null=True)
    words = ArrayField(models.CharField(max_length=5), null=True)
    grid = ArrayField(ArrayField(models.SmallIntegerField()), null=True)
    moments = ArrayField(models.DateTimeField(), null=True)
    span = IntegerRangeField(null=True)
    days = DateRangeField(null=True)
    times = DateTimeRangeField(null=True)

    class Meta:
        required_db_vendor = "postgresql"


class Seat(models.Model):
    """Its key has two parts."""

    pk = models.CompositePrimaryKey("room", "number")
    room = models.CharField(max_length=5)
    number = models.IntegerField()
    taken_by = models.CharField(max_length=10, default="nobody")


class Subscriber(models.Model):
    """Is one of a kind in two ways, and one of them has a default in the database."""

    code = models.CharField(max_length=10, unique=True, db_default="x")
    email = models.CharField(max_length=10, unique=True, null=True)
    note = models.TextField(max_length=5, default="")
    amount = models.IntegerField(default=0)


class Priced(models.Model):
    """Two keys may be equal in the table that are not equal before."""

    rate = models.DecimalField(max_digits=8, decimal_places=1, unique=True)
    name = models.CharField(max_length=10, default="unnamed")


class Odd(models.Model):
    """Its key is of types that JSON has not."""

    data = models.BinaryField()
    number = models.FloatField()
    name = models.CharField(max_length=10, default="unnamed")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["data", "number"], name="bulk_odd_once")]


class Braced(models.Model):
    """Has names that a template would take for places."""

    code = models.CharField(max_length=3, unique=True, db_column="co{}de")
    name = models.CharField(max_length=10, default="x", db_column="{name}")

    class Meta:
        db_table = "bulk_{braced}"


class Late(models.Model):
    """Unique at COMMIT only, where the database can wait so long."""

    name = models.CharField(max_length=10)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name"], name="bulk_late_once", deferrable=models.Deferrable.DEFERRED
            )
        ]
        required_db_features = {"supports_deferrable_unique_constraints"}


class Stamped(models.Model):
    name = models.CharField(max_length=10, unique=True)
    created = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField(auto_now=True)
    day = models.DateField(auto_now_add=True)
    token = models.UUIDField(default=uuid.uuid4)


class UpperCaseField(models.CharField):
    """Saves upper case."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = super().pre_save(model_instance, add).upper()
        setattr(model_instance, self.attname, value)
        return value


class CentsField(models.IntegerField):
    """An amount in the program, cents in the database."""

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else round(value * 100)

    def from_db_value(self, value: Any, expression: object, connection: object) -> Any:
        return None if value is None else value / 100


class Custom(models.Model):
    name = UpperCaseField(max_length=10)
    price = CentsField()


class Computed(models.Model):
    name = models.CharField(max_length=10)
    state = models.CharField(max_length=10, db_default="new")
    since = models.DateTimeField(db_default=Now())
    loud = models.GeneratedField(
        expression=Upper("name"), output_field=models.CharField(max_length=10), db_persist=True
    )


class Node(models.Model):
    parent = models.ForeignKey("self", models.CASCADE, null=True)


class Keyed(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=10)


class Vehicle(models.Model):
    wheels = models.SmallIntegerField()


class Car(Vehicle):
    doors = models.SmallIntegerField()


class Named(models.Model):
    """A parent beside another, with values of its own making."""

    named_id = models.AutoField(primary_key=True)
    name = models.CharField(max_length=10, unique=True)
    seen_at = models.DateTimeField(auto_now=True)
    rank = models.SmallIntegerField(db_default=7)


class Taxi(Car, Named):
    """The child of two, one of which is a child itself."""

    fare = models.DecimalField(max_digits=6, decimal_places=2, default=3)
    trailer = models.ForeignKey(Vehicle, models.CASCADE, null=True, related_name="+")


class ProxyCity(City):
    class Meta:
        proxy = True


class Lonely(models.Model):
    """Has nothing but its key."""
