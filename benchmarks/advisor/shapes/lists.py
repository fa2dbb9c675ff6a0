"""Orders with limits: mixed directions, NULLS, pages by cursor, the newest of each, one row of each."""

from __future__ import annotations

from typing import Any

from django.db.models import F, OuterRef, Q, Subquery, Window
from django.db.models.functions import Lower, RowNumber

from benchmarks.advisor.models import (
    Document,
    Event,
    Follow,
    Invoice,
    Message,
    Order,
    OrderLine,
    Product,
    Ticket,
    User,
)
from benchmarks.advisor.shape import Draw, shape


@shape("order and limit")
def newest_orders(draw: Draw) -> Any:
    return Order.objects.order_by("-placed_at")[: 20 + draw.number]


@shape("order and limit")
def newest_orders_of_tenant(draw: Draw) -> Any:
    return Order.objects.filter(tenant_id=draw.key("tenant")).order_by("-placed_at")[:25]


@shape("order and limit")
def dearest_orders_of_status(draw: Draw) -> Any:
    return Order.objects.filter(status=draw.among("pending", "shipped", "cancelled")).order_by("-total")[:10]


@shape("order and limit")
def newest_events_of_actor(draw: Draw) -> Any:
    return Event.objects.filter(actor_id=draw.key("user", among=3_000)).order_by("-happened_at", "-id")[:30]


@shape("order and limit")
def messages_of_ticket(draw: Draw) -> Any:
    return Message.objects.filter(ticket_id=draw.key("ticket")).order_by("sent_at")


@shape("order and limit", where={"shop_product": ["is_listed"]})
def cheapest_of_category(draw: Draw) -> Any:
    return Product.objects.filter(category_id=draw.key("category", among=40), is_listed=True).order_by(
        "price"
    )[:24]


@shape("order and limit")
def tickets_by_urgency(draw: Draw) -> Any:
    return Ticket.objects.filter(tenant_id=draw.key("tenant", among=20), status="open").order_by(
        "-priority", "created_at"
    )[:20]


@shape("order and limit")
def orders_by_total_then_age(draw: Draw) -> Any:
    return Order.objects.order_by("-total", "placed_at")[: 15 + draw.number]


@shape("order and limit")
def largest_documents(draw: Draw) -> Any:
    return Document.objects.order_by("-size_bytes", "title")[: 10 + draw.number]


@shape("order and limit", where={"shop_document": ["deleted_at IS NULL"]})
def newest_documents_of_owner(draw: Draw) -> Any:
    return Document.objects.filter(owner_id=draw.key("user", among=500), deleted_at__isnull=True).order_by(
        "-created_on"
    )[:10]


@shape("order and limit", keys={"shop_user": ("lower(name)",)})
def users_by_name(draw: Draw) -> Any:
    return User.objects.filter(tenant_id=draw.key("tenant", among=15)).order_by(Lower("name"))[:30]


@shape("order and limit")
def oldest_unpaid(draw: Draw) -> Any:
    return Invoice.objects.filter(paid_on__isnull=True).order_by("due_on")[: 20 + draw.number]


@shape("order with NULLS")
def users_seen_last(draw: Draw) -> Any:
    return User.objects.order_by(F("last_login").desc(nulls_last=True))[: 20 + draw.number]


@shape("order with NULLS")
def best_rated_of_category(draw: Draw) -> Any:
    return Product.objects.filter(category_id=draw.key("category", among=40)).order_by(
        F("rating").desc(nulls_last=True), "-stock"
    )[:12]


@shape("order with NULLS")
def tickets_due_first(draw: Draw) -> Any:
    return Ticket.objects.filter(assignee_id=draw.whole(1, 40)).order_by(
        F("due_at").asc(nulls_first=True), "-id"
    )[:15]


@shape("order with NULLS", where={"shop_ticket": ["status = 'open'"]})
def open_tickets_due_first(draw: Draw) -> Any:
    return Ticket.objects.filter(status="open").order_by(F("due_at").asc(nulls_last=True))[: 25 + draw.number]


@shape("keyset page")
def orders_after(draw: Draw) -> Any:
    at = draw.moment(0.1, 0.9)
    return Order.objects.filter(Q(placed_at__lt=at) | Q(placed_at=at, id__lt=draw.key("order"))).order_by(
        "-placed_at", "-id"
    )[:20]


@shape("keyset page")
def orders_before_and_bounded(draw: Draw) -> Any:
    at = draw.moment(0.1, 0.9)
    return Order.objects.filter(
        Q(updated_at__lt=at) | Q(updated_at=at, id__lt=draw.key("order")), updated_at__lte=at
    ).order_by("-updated_at", "-id")[:20]


@shape("keyset page")
def events_of_actor_after(draw: Draw) -> Any:
    return Event.objects.filter(actor_id=draw.key("user", among=5_000), id__lt=draw.key("event")).order_by(
        "-id"
    )[:50]


@shape("keyset page")
def tenant_tickets_after(draw: Draw) -> Any:
    at = draw.moment(0.2, 0.9)
    return Ticket.objects.filter(tenant_id=draw.key("tenant", among=20), created_at__lt=at).order_by(
        "-created_at"
    )[:20]


@shape("keyset page")
def products_by_price_after(draw: Draw) -> Any:
    price = draw.whole(20, 350)
    return Product.objects.filter(
        Q(price__gt=price) | Q(price=price, id__gt=draw.key("product")), price__gte=price
    ).order_by("price", "id")[:24]


@shape("keyset page")
def followers_after(draw: Draw) -> Any:
    return Follow.objects.filter(
        followed_id=draw.key("user", among=40), since__lt=draw.moment(0.3, 0.9)
    ).order_by("-since")[:20]


@shape("MIN and MAX")
def last_update(draw: Draw) -> Any:
    from django.db.models import Max

    return Order.objects.aggregate(Max("updated_at"))


@shape("MIN and MAX")
def cheapest_price_of_category(draw: Draw) -> Any:
    from django.db.models import Min

    return Product.objects.filter(category_id=draw.key("category")).aggregate(Min("price"))


@shape("MIN and MAX")
def first_event_of_kind(draw: Draw) -> Any:
    from django.db.models import Min

    return Event.objects.filter(kind=draw.whole(1, 12)).aggregate(Min("happened_at"))


@shape("MIN and MAX")
def latest_order_of_user(draw: Draw) -> Any:
    return Order.objects.filter(user_id=draw.key("user")).latest("placed_at")


@shape("DISTINCT ON")
def last_order_of_each_user_of_tenant(draw: Draw) -> Any:
    return (
        Order.objects.filter(tenant_id=draw.key("tenant", among=60))
        .order_by("user_id", "-placed_at")
        .distinct("user_id")
    )


@shape("DISTINCT ON")
def last_message_of_tickets(draw: Draw) -> Any:
    return (
        Message.objects.filter(ticket_id__in=draw.keys("ticket", 15))
        .order_by("ticket_id", "-sent_at")
        .distinct("ticket_id")
    )


@shape("latest of each group")
def tickets_with_last_message(draw: Draw) -> Any:
    last = Message.objects.filter(ticket_id=OuterRef("pk")).order_by("-sent_at").values("body")[:1]
    return Ticket.objects.filter(id__in=draw.keys("ticket", 20)).annotate(last=Subquery(last))


@shape("latest of each group")
def users_with_last_order(draw: Draw) -> Any:
    last = (
        Order.objects.filter(user_id=OuterRef("pk"), status="paid")
        .order_by("-placed_at")
        .values("placed_at")[:1]
    )
    return User.objects.filter(id__in=draw.keys("user", 25)).annotate(last=Subquery(last))


@shape("latest of each group")
def products_with_last_sale(draw: Draw) -> Any:
    last = OrderLine.objects.filter(product_id=OuterRef("pk")).order_by("-id").values("price")[:1]
    return Product.objects.filter(id__in=draw.keys("product", 15)).annotate(last=Subquery(last))


@shape("window")
def three_newest_of_each_user(draw: Draw) -> Any:
    place = Window(RowNumber(), partition_by=F("user_id"), order_by=F("placed_at").desc())
    return Order.objects.filter(user_id__in=draw.keys("user", 10)).annotate(place=place).filter(place__lte=3)


@shape("window")
def places_in_category(draw: Draw) -> Any:
    place = Window(RowNumber(), partition_by=F("category_id"), order_by=F("price").desc())
    return Product.objects.filter(category_id=draw.key("category")).annotate(place=place).filter(place__lte=5)


@shape("covering", carried={"shop_orderline": ["quantity"]})
def quantities_of_product(draw: Draw) -> Any:
    return OrderLine.objects.filter(product_id=draw.key("product", among=60)).values_list(
        "quantity", flat=True
    )


@shape("covering", carried={"shop_order": ["total"]})
def totals_of_tenant(draw: Draw) -> Any:
    return Order.objects.filter(tenant_id=draw.key("tenant")).values_list("total", flat=True)


@shape("covering", carried={"shop_event": ["happened_at"]})
def moments_of_exports(draw: Draw) -> Any:
    return Event.objects.filter(action=draw.among("export", "login", "error")).values_list("happened_at")


@shape("covering", carried={"shop_user": ["email"]})
def emails_of_country(draw: Draw) -> Any:
    return User.objects.filter(country=draw.among("IS", "PT", "IT")).values_list("email", flat=True)
