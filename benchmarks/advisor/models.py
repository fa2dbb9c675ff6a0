"""A shop with customers, tickets, invoices and documents.

It has the indexes that Django makes by itself, for primary keys and for foreign keys that say nothing else;
many say `db_index=False`, so that there is something to find.
"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField, DateRangeField, DateTimeRangeField
from django.contrib.postgres.search import SearchVectorField
from django.db import models

MADE = models.CASCADE


class Row(models.Model):
    """Of any table; the type checker, which has not this app among its own, learns here of the manager."""

    objects: ClassVar[Any] = models.Manager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.pk}"


class Setting(Row):
    """A small table: no index pays."""

    name = models.CharField(max_length=40)
    value = models.CharField(max_length=80)


class Tenant(Row):
    name = models.CharField(max_length=60)
    plan = models.CharField(max_length=12)
    is_active = models.BooleanField()
    created_at = models.DateTimeField()


class User(Row):
    """A customer or an agent; the number grows with `created_at`."""

    tenant = models.ForeignKey(Tenant, MADE, related_name="users")
    uid = models.UUIDField()
    email = models.CharField(max_length=80)
    name = models.CharField(max_length=80)
    country = models.CharField(max_length=2)
    is_agent = models.BooleanField()
    is_active = models.BooleanField()
    created_at = models.DateTimeField()
    last_login = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)
    referrer = models.ForeignKey("self", MADE, null=True, related_name="referred", db_index=False)
    preferences = models.JSONField()
    follows = models.ManyToManyField("self", through="Follow", symmetrical=False, related_name="followers")


class Follow(Row):
    """Who follows whom: the half that a unique constraint would serve is served, the other is not."""

    follower = models.ForeignKey(User, MADE, related_name="follows_out")
    followed = models.ForeignKey(User, MADE, related_name="follows_in", db_index=False)
    since = models.DateTimeField()
    is_muted = models.BooleanField()


class Category(Row):
    parent = models.ForeignKey("self", MADE, null=True, related_name="children")
    name = models.CharField(max_length=40)


class Label(Row):
    name = models.CharField(max_length=40)


class Product(Row):
    category = models.ForeignKey(Category, MADE, related_name="products", db_index=False)
    sku = models.CharField(max_length=16)
    name = models.CharField(max_length=80)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    cost = models.DecimalField(max_digits=10, decimal_places=2)
    stock = models.IntegerField()
    rating = models.FloatField(null=True)
    is_listed = models.BooleanField()
    tags = ArrayField(models.CharField(max_length=20))
    attributes = models.JSONField()
    offered = DateRangeField()
    updated_at = models.DateTimeField()
    labels = models.ManyToManyField(Label, through="ProductLabel", related_name="products")


class ProductLabel(Row):
    product = models.ForeignKey(Product, MADE, db_index=False)
    label = models.ForeignKey(Label, MADE, db_index=False)
    rank = models.IntegerField()


class Order(Row):
    """The number grows with `placed_at`; most are paid, few have failed."""

    tenant = models.ForeignKey(Tenant, MADE, db_index=False)
    user = models.ForeignKey(User, MADE, related_name="orders", db_index=False)
    reference = models.UUIDField()
    status = models.CharField(max_length=12)
    currency = models.CharField(max_length=3)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    coupon = models.CharField(max_length=12, null=True)
    is_gift = models.BooleanField()
    placed_at = models.DateTimeField()
    paid_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField()
    note = models.TextField()


class OrderLine(Row):
    order = models.ForeignKey(Order, MADE, related_name="lines")
    product = models.ForeignKey(Product, MADE, related_name="lines", db_index=False)
    quantity = models.SmallIntegerField()
    price = models.DecimalField(max_digits=10, decimal_places=2)
    discount = models.DecimalField(max_digits=4, decimal_places=2, null=True)
    returned_on = models.DateField(null=True)


class Invoice(Row):
    order = models.ForeignKey(Order, MADE, related_name="invoices", db_index=False)
    tenant = models.ForeignKey(Tenant, MADE)
    number = models.CharField(max_length=20)
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    issued_on = models.DateField()
    due_on = models.DateField()
    paid_on = models.DateField(null=True)


class Ticket(Row):
    tenant = models.ForeignKey(Tenant, MADE)
    requester = models.ForeignKey(User, MADE, related_name="tickets", db_index=False)
    assignee = models.ForeignKey(User, MADE, null=True, related_name="assigned", db_index=False)
    duplicate_of = models.ForeignKey("self", MADE, null=True, related_name="duplicates", db_index=False)
    subject = models.CharField(max_length=120)
    status = models.CharField(max_length=12)
    priority = models.SmallIntegerField()
    channel = models.CharField(max_length=10)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)


class Message(Row):
    ticket = models.ForeignKey(Ticket, MADE, related_name="messages", db_index=False)
    author = models.ForeignKey(User, MADE, related_name="messages", db_index=False)
    body = models.TextField()
    search = SearchVectorField()
    is_internal = models.BooleanField()
    sent_at = models.DateTimeField()
    read_at = models.DateTimeField(null=True)


class Event(Row):
    """What happened to something, named by its kind and key."""

    kind = models.SmallIntegerField()
    object_id = models.BigIntegerField()
    actor = models.ForeignKey(User, MADE, related_name="events", db_index=False)
    action = models.CharField(max_length=16)
    session = models.UUIDField()
    address = models.GenericIPAddressField(null=True)
    payload = models.JSONField()
    happened_at = models.DateTimeField()


class Document(Row):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    owner = models.ForeignKey(User, MADE, related_name="documents", db_index=False)
    title = models.CharField(max_length=120)
    path = models.CharField(max_length=120)
    tags = ArrayField(models.CharField(max_length=20))
    data = models.JSONField()
    size_bytes = models.BigIntegerField()
    created_on = models.DateField()
    deleted_at = models.DateTimeField(null=True)


class Booking(Row):
    resource = models.IntegerField()
    guest = models.ForeignKey(User, MADE, related_name="bookings", db_index=False)
    during = DateTimeRangeField()
    state = models.CharField(max_length=10)
