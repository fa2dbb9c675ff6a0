"""What needs no index: small tables, most rows, all rows, what an index serves already."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Avg, Count, Sum

from benchmarks.advisor.models import (
    Category,
    Document,
    Event,
    Follow,
    Invoice,
    Label,
    Message,
    Order,
    OrderLine,
    Product,
    Setting,
    Tenant,
    Ticket,
    User,
)
from benchmarks.advisor.shape import FIRST, NONE, Draw, shape


@shape(NONE)
def setting_by_name(draw: Draw) -> Any:
    return Setting.objects.filter(name=f"setting_{draw.whole(1, 60)}")


@shape(NONE)
def tenants_of_plan(draw: Draw) -> Any:
    return Tenant.objects.filter(plan=draw.among("free", "team", "large"), is_active=True)


@shape(NONE)
def tenants_by_name(draw: Draw) -> Any:
    return Tenant.objects.order_by("name")[: 20 + draw.number]


@shape(NONE)
def categories_below(draw: Draw) -> Any:
    return Category.objects.filter(parent_id=draw.whole(1, 9))


@shape(NONE)
def labels_in_order(draw: Draw) -> Any:
    return Label.objects.filter(id__gt=draw.number).order_by("name")


@shape(NONE)
def count_of_all_orders(draw: Draw) -> Any:
    return Order.objects.count()


@shape(NONE)
def count_of_all_events(draw: Draw) -> Any:
    return Event.objects.count()


@shape(NONE)
def order_by_key(draw: Draw) -> Any:
    return Order.objects.get(pk=draw.key("order"))


@shape(NONE)
def users_by_key(draw: Draw) -> Any:
    return User.objects.filter(pk__in=draw.keys("user", 30))


@shape(NONE)
def document_by_key(draw: Draw) -> Any:
    return Document.objects.filter(pk=draw.uid("document", "document"))


@shape(NONE)
def lines_of_order(draw: Draw) -> Any:
    return OrderLine.objects.filter(order_id=draw.key("order"))


@shape(NONE)
def order_with_lines(draw: Draw) -> Any:
    return OrderLine.objects.filter(order_id=draw.key("order")).select_related("order__user", "product")


@shape(NONE)
def newest_products(draw: Draw) -> Any:
    return Product.objects.order_by("-id")[: 20 + draw.number]


@shape(NONE)
def events_after_key(draw: Draw) -> Any:
    return Event.objects.filter(id__gt=draw.key("event")).order_by("id")[:100]


@shape(NONE)
def followed_by(draw: Draw) -> Any:
    return Follow.objects.filter(follower_id=draw.key("user")).select_related("followed")


@shape(NONE)
def turnover_of_all(draw: Draw) -> Any:
    return Order.objects.filter(placed_at__gte=FIRST + timedelta(days=draw.number)).aggregate(
        Sum("total"), Avg("total")
    )


@shape(NONE)
def orders_by_currency(draw: Draw) -> Any:
    return Order.objects.filter(total__gt=5 + draw.number).values("currency").annotate(Sum("total"))


@shape(NONE)
def names_of_active_users(draw: Draw) -> Any:
    return User.objects.filter(is_active=True, id__gt=draw.number).values_list(
        "name", "country", "created_at"
    )


@shape(NONE)
def messages_that_are_public(draw: Draw) -> Any:
    return Message.objects.filter(is_internal=False, id__gt=draw.number).values_list("body", flat=True)


@shape(NONE)
def bodies_of_closed_tickets(draw: Draw) -> Any:
    return Ticket.objects.filter(status="closed", id__gt=draw.number).values_list("subject", "channel")


@shape(NONE)
def invoices_that_are_paid(draw: Draw) -> Any:
    return Invoice.objects.filter(paid_on__isnull=False, amount__gt=1 + draw.number).values_list(
        "number", "paid_on"
    )


@shape(NONE)
def products_on_sale(draw: Draw) -> Any:
    return Product.objects.filter(is_listed=True, stock__gt=draw.number).values_list("name", "price", "sku")


@shape(NONE)
def all_lines_by_product(draw: Draw) -> Any:
    return (
        OrderLine.objects.filter(quantity__gte=1, id__gt=draw.number)
        .values("discount")
        .annotate(Count("id"), Sum("price"))
    )


@shape(NONE)
def tickets_of_tenant(draw: Draw) -> Any:
    return Ticket.objects.filter(tenant_id=draw.key("tenant"))
