"""Updates and deletes by a condition."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from benchmarks.advisor.models import (
    Booking,
    Event,
    Follow,
    Invoice,
    Message,
    Order,
    OrderLine,
    Product,
    Ticket,
)
from benchmarks.advisor.shape import FIRST, Draw, shape


@shape("update", where={"shop_order": ["status = 'pending'"]})
def pending_orders_expire(draw: Draw) -> Any:
    return Order.objects.filter(status="pending", placed_at__lt=draw.moment(0.01, 0.05)).update(
        status="cancelled"
    )


@shape("update", where={"shop_message": ["read_at IS NULL"]})
def messages_are_read(draw: Draw) -> Any:
    return Message.objects.filter(ticket_id=draw.key("ticket"), read_at__isnull=True).update(read_at=FIRST)


@shape("update")
def products_are_delisted(draw: Draw) -> Any:
    return Product.objects.filter(category_id=draw.key("category"), stock=0).update(is_listed=False)


@shape("update")
def tickets_change_hands(draw: Draw) -> Any:
    return Ticket.objects.filter(assignee_id=draw.whole(1, 600), status="open").update(
        assignee_id=draw.whole(1, 600)
    )


@shape("update", where={"shop_booking": ["state = 'held'"]})
def holds_end(draw: Draw) -> Any:
    return Booking.objects.filter(state="held", resource=draw.whole(1, 500)).update(state="void")


@shape("delete")
def follows_end(draw: Draw) -> Any:
    rows = Follow.objects.filter(followed_id=draw.key("user"), is_muted=True)
    return rows._raw_delete(rows.db)


@shape("delete")
def lines_of_product_go(draw: Draw) -> Any:
    rows = OrderLine.objects.filter(product_id=draw.key("product"), quantity__gt=15)
    return rows._raw_delete(rows.db)


@shape("delete")
def errors_of_a_day_go(draw: Draw) -> Any:
    since = draw.moment(0.1, 0.9)
    rows = Event.objects.filter(
        action="error", happened_at__gte=since, happened_at__lt=since + timedelta(days=1)
    )
    return rows._raw_delete(rows.db)


@shape("delete")
def invoices_of_orders_go(draw: Draw) -> Any:
    rows = Invoice.objects.filter(order_id__in=draw.keys("order", 5))
    return rows._raw_delete(rows.db)
