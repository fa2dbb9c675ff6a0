"""Aggregates, by group and without."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Avg, Count, Q, Sum
from django.db.models.functions import TruncDay

from benchmarks.advisor.models import Event, Invoice, Message, Order, OrderLine, Product, Ticket, User
from benchmarks.advisor.shape import Draw, shape


@shape("aggregate", carried={"shop_order": ["total"]})
def turnover_of_tenant(draw: Draw) -> Any:
    since = draw.moment(0.1, 0.9)
    return Order.objects.filter(
        tenant_id=draw.key("tenant", among=40), placed_at__range=(since, since + timedelta(days=30))
    ).aggregate(Sum("total"))


@shape("aggregate", carried={"shop_orderline": ["quantity"]})
def sold_of_product(draw: Draw) -> Any:
    return OrderLine.objects.filter(product_id=draw.key("product")).aggregate(Sum("quantity"))


@shape("aggregate")
def count_of_failed(draw: Draw) -> Any:
    return Order.objects.filter(status=draw.among("failed", "cancelled")).count()


@shape("aggregate")
def count_of_events_of_object(draw: Draw) -> Any:
    return Event.objects.filter(kind=draw.whole(1, 4), object_id=draw.whole(1, 50_000)).count()


@shape("aggregate", where={"shop_message": ["read_at IS NULL"]})
def count_of_unread(draw: Draw) -> Any:
    return Message.objects.filter(author_id=draw.key("user", among=1_000), read_at__isnull=True).count()


@shape("group by")
def statuses_of_user(draw: Draw) -> Any:
    return Order.objects.filter(user_id=draw.key("user")).values("status").annotate(Count("id"))


@shape("group by")
def tickets_of_tenant_by_status(draw: Draw) -> Any:
    return (
        Ticket.objects.filter(tenant_id=draw.key("tenant", among=15)).values("status").annotate(n=Count("*"))
    )


@shape("group by", carried={"shop_event": ["action"]})
def actions_of_hour(draw: Draw) -> Any:
    since = draw.moment(0.1, 0.9)
    return (
        Event.objects.filter(happened_at__gte=since, happened_at__lt=since + timedelta(hours=6))
        .values("action")
        .annotate(n=Count("*"))
    )


@shape("group by", carried={"shop_orderline": ["quantity", "price"]})
def sales_of_products(draw: Draw) -> Any:
    return (
        OrderLine.objects.filter(product_id__in=draw.keys("product", 20))
        .values("product_id")
        .annotate(Sum("quantity"), Avg("price"))
    )


@shape("group by")
def failures_by_day(draw: Draw) -> Any:
    return (
        Order.objects.filter(status="failed", placed_at__gte=draw.moment(0.8, 0.95))
        .annotate(day=TruncDay("placed_at"))
        .values("day")
        .annotate(n=Count("*"))
    )


@shape("group by")
def busiest_requesters(draw: Draw) -> Any:
    since = draw.moment(0.9, 0.95)
    return (
        Ticket.objects.filter(created_at__gte=since, channel="phone")
        .values("requester_id")
        .annotate(n=Count("*"))
        .order_by("-n")[:10]
    )


@shape("group by")
def users_with_many_orders(draw: Draw) -> Any:
    return User.objects.filter(tenant_id=draw.key("tenant")).annotate(n=Count("orders")).filter(n__gt=10)


@shape("group by")
def categories_of_cheap_products(draw: Draw) -> Any:
    return (
        Product.objects.filter(stock=0, price__lt=draw.whole(3, 9))
        .values("category_id")
        .annotate(n=Count("*"))
    )


@shape("aggregate")
def invoices_open_of_tenant(draw: Draw) -> Any:
    return Invoice.objects.filter(tenant_id=draw.key("tenant", among=30)).aggregate(
        open=Count("id", filter=Q(paid_on__isnull=True)), all=Count("id")
    )


@shape("distinct", carried={"shop_event": ["actor_id"]})
def actors_of_object(draw: Draw) -> Any:
    return (
        Event.objects.filter(object_id=draw.whole(1, 50_000), kind=draw.whole(1, 3))
        .values_list("actor_id", flat=True)
        .distinct()
    )
