"""Models for the tests of the room `caching`."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models

from perfkit.caching import CachedManager


class Item(models.Model):
    """Integer key; what most tests write."""

    name = models.CharField(max_length=40)
    count = models.IntegerField(default=0)

    objects = CachedManager(ttl=600)
    plain = models.Manager()


class ItemNote(models.Model):
    """Not tracked, and its table's name contains that of a tracked one."""

    item = models.ForeignKey(Item, models.CASCADE, related_name="notes")
    text = models.CharField(max_length=40)


class Cabin(Item):
    """Has its manager from a model with a table."""

    beds = models.IntegerField(default=1)


class Dotted(models.Model):
    name = models.CharField(max_length=40)

    objects = CachedManager()
    plain = models.Manager()

    class Meta:
        db_table = "testapp.dotted"


class Bundle(models.Model):
    """Many items, and each item in many."""

    title = models.CharField(max_length=40)
    items = models.ManyToManyField(Item, related_name="bundles")
    made = models.DateTimeField(null=True)
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    extra = models.JSONField(default=dict)

    objects = CachedManager(ttl=600)
    plain = models.Manager()

    class Meta:
        ordering = ("title", "id")


class Airfield(models.Model):
    """Text key."""

    code = models.CharField(max_length=8, primary_key=True)
    name = models.CharField(max_length=40)

    objects = CachedManager()
    plain = models.Manager()


class Ticket(models.Model):
    """UUID key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    seat = models.CharField(max_length=4)

    objects = CachedManager()
    plain = models.Manager()


class Shelf(models.Model):
    name = models.CharField(max_length=40)

    objects = CachedManager()
    plain = models.Manager()


class Volume(models.Model):
    """Goes with its shelf."""

    title = models.CharField(max_length=40)
    shelf = models.ForeignKey(Shelf, models.CASCADE, related_name="volumes")

    objects = CachedManager()
    plain = models.Manager()


class Loan(models.Model):
    """Stays when its volume goes."""

    volume = models.ForeignKey(Volume, models.SET_NULL, null=True, related_name="loans")
    reader = models.CharField(max_length=40)

    objects = CachedManager()
    plain = models.Manager()


class Sample(models.Model):
    """A column of every type that can be stored."""

    whole = models.IntegerField(null=True)
    big = models.BigIntegerField(null=True)
    flag = models.BooleanField(null=True)
    real = models.FloatField(null=True)
    money = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    short = models.CharField(max_length=200, null=True)
    text = models.TextField(null=True)
    slug = models.SlugField(null=True)
    path = models.FileField(null=True)
    address = models.GenericIPAddressField(null=True)
    key = models.UUIDField(null=True)
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    clock = models.TimeField(null=True)
    span = models.DurationField(null=True)
    blob = models.BinaryField(null=True)
    item = models.ForeignKey(Item, models.CASCADE, null=True)

    objects = CachedManager()
    plain = models.Manager()


class Booking(models.Model):
    """Lists of it are asked for by the values of some columns."""

    name = models.CharField(max_length=40)
    zone = models.CharField(max_length=40, null=True)
    number = models.IntegerField(null=True)
    day = models.DateField(null=True)
    is_paid = models.BooleanField(default=False)
    key = models.UUIDField(null=True)
    shelf = models.ForeignKey(Shelf, models.CASCADE, null=True, related_name="bookings")
    former = models.ForeignKey("self", models.DO_NOTHING, null=True, related_name="later")
    code = models.CharField(max_length=40, unique=True, null=True)

    objects = CachedManager(ttl=600, by=["zone", "number", "day", "is_paid", "key", "shelf_id"])
    plain = models.Manager()


class Brand(models.Model):
    """Has a name that no other has."""

    name = models.CharField(max_length=40, unique=True)
    count = models.IntegerField(default=0)

    objects = CachedManager()


class Named(models.Model):
    """Hands its manager down."""

    name = models.CharField(max_length=40)

    objects = CachedManager()

    class Meta:
        abstract = True


class Heir(Named):
    """Has its cached manager from an abstract model."""


class VisibleQuerySet(models.QuerySet[Any]):
    def get(self, *args: Any, **kwargs: Any) -> Any:
        return super().get(*args, hidden=False, **kwargs)


class SoftQuerySet(models.QuerySet[Any]):
    def _filter_or_exclude_inplace(self, negate: bool, args: Any, kwargs: Any) -> None:
        super()._filter_or_exclude_inplace(negate, args, kwargs)
        self._query.add_q(models.Q(hidden=False))


class CountingQuerySet(models.QuerySet[Any]):
    """Adds to what Django's can do and changes nothing of it."""

    def shown(self) -> models.QuerySet[Any]:
        return self.filter(hidden=False)


class VisibleManager(CachedManager):  # type: ignore[type-arg]
    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(hidden=False)


class Page(models.Model):
    """One row, many views of it."""

    title = models.CharField(max_length=40)
    hidden = models.BooleanField(default=False)

    objects = CachedManager()
    plain = models.Manager()
    visible = VisibleManager()
    by_get = CachedManager.from_queryset(VisibleQuerySet)()
    by_filter = CachedManager.from_queryset(SoftQuerySet)()
    counting = CachedManager.from_queryset(CountingQuerySet)()


class ProxyItem(Item):
    objects = CachedManager()

    class Meta:
        proxy = True


class Building(models.Model):
    height = models.IntegerField(default=1)

    objects = CachedManager()


class Tower(Building):
    bells = models.IntegerField(default=0)

    objects = CachedManager()


class Document(models.Model):
    content = models.JSONField(default=dict)

    objects = CachedManager()


class Signpost(models.Model):
    """Its key is a relation."""

    shelf = models.OneToOneField(Shelf, models.CASCADE, primary_key=True)
    text = models.CharField(max_length=40)

    objects = CachedManager()


class Loud(models.Model):
    """Makes its instances in a way of its own."""

    name = models.CharField(max_length=40)

    objects = CachedManager()

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Any:
        instance = super().from_db(*args, **kwargs)
        instance.was_loaded = True
        return instance


class Twin(models.Model):
    """Shares its table's name, though not its table, with `OtherTwin`."""

    name = models.CharField(max_length=40)

    objects = CachedManager()

    class Meta:
        db_table = "testapp_twin"


class OtherTwin(models.Model):
    name = models.CharField(max_length=40)

    objects = CachedManager()

    class Meta:
        managed = False
        db_table = 'elsewhere"."testapp_twin'


class Reading(models.Model):
    """What stands behind views; its own rows are cached too."""

    place = models.CharField(max_length=40)
    value = models.IntegerField(default=0)

    objects = CachedManager(tables=["testapp_readingview"])
    plain = models.Manager()


class ReadingView(models.Model):
    """A view that tests make: every reading, and through it they can be written."""

    place = models.CharField(max_length=40)
    value = models.IntegerField(default=0)

    objects = CachedManager(tables=["testapp_reading"])
    plain = models.Manager()

    class Meta:
        managed = False
        db_table = "testapp_readingview"


class ReadingSum(models.Model):
    """A view of which nobody says what stands behind it."""

    place = models.CharField(max_length=40, primary_key=True)
    total = models.IntegerField()

    objects = CachedManager()

    class Meta:
        managed = False
        db_table = "testapp_readingsum"


class Parted(models.Model):
    """A table that tests make, with partitions."""

    name = models.CharField(max_length=40)

    objects = CachedManager(tables=["testapp_parted_*"])
    plain = models.Manager()

    class Meta:
        managed = False
        db_table = "testapp_parted"


class PartedHigh(models.Model):
    """One of its partitions."""

    name = models.CharField(max_length=40)

    class Meta:
        managed = False
        db_table = "testapp_parted_high"


if hasattr(models, "DB_CASCADE"):  # from Django 6.1 on

    class Estate(models.Model):
        """Nobody caches it, and what the database deletes along with it is cached."""

        name = models.CharField(max_length=40)

    class House(models.Model):
        estate = models.ForeignKey(Estate, models.DB_CASCADE)

    class Room(models.Model):
        house = models.ForeignKey(House, models.DB_CASCADE)
        name = models.CharField(max_length=40)

        objects = CachedManager()
        plain = models.Manager()

    class Lamp(models.Model):
        """Stays when its room goes."""

        room = models.ForeignKey(Room, models.DB_SET_NULL, null=True)
        name = models.CharField(max_length=40)

        objects = CachedManager(by=["room"])
        plain = models.Manager()

    class Twig(models.Model):
        """Goes with the one it grows on."""

        parent = models.ForeignKey("self", models.DB_CASCADE, null=True)

        objects = CachedManager()

    class Bulb(models.Model):
        """Stays with its lamp."""

        lamp = models.ForeignKey(Lamp, models.DB_CASCADE)

        objects = CachedManager()
        plain = models.Manager()


class Style(models.Model):
    """Known to its own model by number, to `Restyled` by name."""

    name = models.CharField(max_length=40, unique=True)
    count = models.IntegerField(default=0)

    objects = CachedManager()


class Restyled(models.Model):
    """The table of `Style` once more, under another key."""

    name = models.CharField(max_length=40, primary_key=True)
    count = models.IntegerField(default=0)

    objects = CachedManager()

    class Meta:
        managed = False
        db_table = "testapp_style"
