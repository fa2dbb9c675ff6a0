"""Equality, several conditions, ranges, lists of values, arms of OR, text, parts of a table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import F, Q
from django.db.models.functions import Lower, Upper

from benchmarks.advisor.models import (
    Document,
    Event,
    Invoice,
    Message,
    Order,
    OrderLine,
    Product,
    Ticket,
    User,
)
from benchmarks.advisor.shape import Draw, shape


@shape("equality")
def order_by_reference(draw: Draw) -> Any:
    return Order.objects.filter(reference=draw.uid("order", "order"))


@shape("equality")
def user_by_uid(draw: Draw) -> Any:
    return User.objects.get(uid=draw.uid("user", "user"))


@shape("equality")
def product_by_sku(draw: Draw) -> Any:
    digest = draw.uid("", "product").hex[:8].upper()
    return Product.objects.filter(sku=f"SKU-{digest}").exists()


@shape("equality")
def events_of_session(draw: Draw) -> Any:
    import hashlib
    import uuid

    text = f"session{draw.key('event') // 7}".encode()
    session = uuid.UUID(hashlib.md5(text, usedforsecurity=False).hexdigest())
    return Event.objects.filter(session=session)


@shape("equality")
def orders_of_user(draw: Draw) -> Any:
    return Order.objects.filter(user_id=draw.key("user"))


@shape("equality", carried={"shop_orderline": ["quantity"]})
def lines_of_product(draw: Draw) -> Any:
    return OrderLine.objects.filter(product_id=draw.key("product"))


@shape("equality")
def invoices_of_order(draw: Draw) -> Any:
    return Invoice.objects.filter(order=draw.key("order"))


@shape("equality")
def events_from_address(draw: Draw) -> Any:
    return Event.objects.filter(address=f"10.{draw.whole(0, 249)}.{draw.whole(1, 249)}.{draw.whole(1, 249)}")


@shape("equality", where={"shop_order": ["coupon IS NOT NULL"]})
def orders_with_coupon(draw: Draw) -> Any:
    return Order.objects.filter(coupon=f"C{draw.whole(1, 1999)}")


@shape("composite")
def events_of_object(draw: Draw) -> Any:
    return Event.objects.filter(kind=draw.whole(1, 12), object_id=draw.whole(1, 50_000))


@shape("composite")
def open_tickets_of_requester(draw: Draw) -> Any:
    return Ticket.objects.filter(requester_id=draw.key("user"), status=draw.among("open", "closed", "solved"))


@shape("composite")
def tickets_of_agent_by_priority(draw: Draw) -> Any:
    return Ticket.objects.filter(
        assignee_id=draw.whole(1, 600), status=draw.among("open", "waiting"), priority=draw.whole(1, 4)
    )


@shape("composite")
def orders_of_tenant_in_currency(draw: Draw) -> Any:
    return Order.objects.filter(tenant_id=draw.key("tenant"), currency="ISK", status="pending")


@shape("composite")
def inactive_users_of_country(draw: Draw) -> Any:
    return User.objects.filter(country=draw.among("IS", "PT"), is_active=False)


@shape("composite")
def gifts_of_user(draw: Draw) -> Any:
    return Order.objects.filter(user_id=draw.key("user", among=9_000), is_gift=True, status="paid")


@shape("range after equality")
def orders_of_user_since(draw: Draw) -> Any:
    return Order.objects.filter(user_id=draw.key("user", among=6_000), placed_at__gte=draw.moment(0.7, 0.95))


@shape("range after equality")
def errors_in_a_week(draw: Draw) -> Any:
    since = draw.moment(0.1, 0.9)
    return Event.objects.filter(action="error", happened_at__range=(since, since + timedelta(days=7)))


@shape("range after equality")
def tenant_orders_above(draw: Draw) -> Any:
    return Order.objects.filter(tenant_id=draw.key("tenant"), total__gt=draw.whole(700, 850))


@shape("range after equality")
def tickets_of_channel_between(draw: Draw) -> Any:
    since = draw.moment(0.1, 0.9)
    return Ticket.objects.filter(
        channel=draw.among("phone", "fax"), created_at__gte=since, created_at__lt=since + timedelta(days=3)
    )


@shape("range after equality")
def invoices_of_tenant_between(draw: Draw) -> Any:
    since = draw.day(0.1, 0.9)
    return Invoice.objects.filter(
        tenant_id=draw.key("tenant", among=20), issued_on__range=(since, since + timedelta(days=6))
    )


@shape("range after equality")
def products_of_category_in_price(draw: Draw) -> Any:
    low = draw.whole(100, 300)
    return Product.objects.filter(category_id=draw.key("category"), price__range=(low, low + 20))


@shape("range")
def orders_placed_in_an_hour(draw: Draw) -> Any:
    since = draw.moment(0.05, 0.95)
    return Order.objects.filter(placed_at__gte=since, placed_at__lt=since + timedelta(hours=1))


@shape(
    "range",
    extra=[
        "shop_event USING brin (happened_at)",
        "shop_event USING brin (happened_at) WITH (pages_per_range = 16)",
    ],
)
def events_of_three_days(draw: Draw) -> Any:
    since = draw.moment(0.05, 0.95)
    return Event.objects.filter(happened_at__gte=since, happened_at__lt=since + timedelta(days=3)).count()


@shape("range")
def orders_changed_since(draw: Draw) -> Any:
    return Order.objects.filter(updated_at__gt=draw.moment(0.9985, 0.9995))


@shape("range")
def dear_orders(draw: Draw) -> Any:
    return Order.objects.filter(total__gte=draw.whole(890, 900))


@shape("range", where={"shop_user": ["last_login IS NOT NULL"]})
def users_seen_lately(draw: Draw) -> Any:
    return User.objects.filter(last_login__gte=draw.moment(0.995, 0.999)).only("id", "email")


@shape("range", where={"shop_product": ["stock = 0"]})
def products_nearly_gone(draw: Draw) -> Any:
    return Product.objects.filter(stock__gt=0, stock__lte=draw.whole(1, 3), price__gt=100)


@shape("IN")
def orders_of_users(draw: Draw) -> Any:
    return Order.objects.filter(user_id__in=draw.keys("user", 12))


@shape("IN")
def lines_of_products_returned(draw: Draw) -> Any:
    return OrderLine.objects.filter(product_id__in=draw.keys("product", 8), returned_on__isnull=False)


@shape("IN")
def users_by_email(draw: Draw) -> Any:
    mails = [
        f"{name}.{key}@example{key % 37}.com"
        for key in draw.keys("user", 6)
        for name in ("ann", "bob", "Eve")
    ]
    return User.objects.filter(email__in=mails)


@shape("IN")
def unhappy_orders_of_tenant(draw: Draw) -> Any:
    return Order.objects.filter(tenant_id=draw.key("tenant"), status__in=["failed", "cancelled"])


@shape("IN")
def events_of_kinds_of_object(draw: Draw) -> Any:
    return Event.objects.filter(object_id=draw.whole(1, 50_000), kind__in=[1, 3, 7])


@shape("OR", pairs=True)
def tickets_of_person(draw: Draw) -> Any:
    person = draw.key("user", among=600)
    return Ticket.objects.filter(Q(requester_id=person) | Q(assignee_id=person), status="waiting")


@shape("OR", pairs=True)
def user_by_uid_or_email(draw: Draw) -> Any:
    key = draw.key("user")
    return User.objects.filter(Q(uid=draw.uid("user", "user")) | Q(email=f"bob.{key}@example{key % 37}.com"))


@shape("OR", pairs=True, where={"shop_order": ["coupon IS NOT NULL"]})
def orders_by_reference_or_coupon(draw: Draw) -> Any:
    return Order.objects.filter(Q(reference=draw.uid("order", "order")) | Q(coupon=f"C{draw.whole(1, 1999)}"))


@shape("OR", pairs=True)
def messages_of_author_or_ticket(draw: Draw) -> Any:
    return Message.objects.filter(Q(author_id=draw.key("user")) | Q(ticket_id=draw.key("ticket")))


@shape("OR", pairs=True)
def products_by_sku_or_updated(draw: Draw) -> Any:
    digest = draw.uid("", "product").hex[:8].upper()
    return Product.objects.filter(Q(sku=f"SKU-{digest}") | Q(updated_at__gt=draw.moment(0.9985, 0.9995)))


PATTERN = ("email text_pattern_ops",)


@shape("prefix", keys={"shop_user": PATTERN})
def users_whose_email_begins(draw: Draw) -> Any:
    return User.objects.filter(email__startswith=f"dora.{draw.whole(10, 999)}")


@shape("prefix", keys={"shop_invoice": ("number text_pattern_ops",)})
def invoices_whose_number_begins(draw: Draw) -> Any:
    return Invoice.objects.filter(number__startswith=f"INV-2022-{draw.whole(0, 99):05}")


@shape("prefix", keys={"shop_product": ("sku text_pattern_ops",)})
def products_whose_sku_begins(draw: Draw) -> Any:
    return Product.objects.filter(sku__startswith=f"SKU-{draw.whole(100, 999)}")[:20]


@shape("prefix", keys={"shop_user": ("upper(name) text_pattern_ops",)})
def users_whose_name_begins(draw: Draw) -> Any:
    return User.objects.filter(name__istartswith=draw.among("tripod lens", "sync camera", "lens d"))


@shape("prefix", keys={"shop_user": PATTERN})
def users_of_tenant_whose_email_begins(draw: Draw) -> Any:
    return User.objects.filter(
        tenant_id=draw.key("tenant", among=30), email__startswith=f"bob.{draw.whole(1, 9)}"
    )


TRIGRAMS = (
    "shop_ticket USING gin (upper(subject) gin_trgm_ops)",
    "shop_ticket USING gin (subject gin_trgm_ops)",
    "shop_ticket USING gist (upper(subject) gist_trgm_ops)",
)


@shape("contains", extra=TRIGRAMS)
def tickets_about(draw: Draw) -> Any:
    return Ticket.objects.filter(subject__icontains=draw.among("#4711", "lens tripod", "firmware sync"))


@shape(
    "contains",
    extra=[
        "shop_document USING gin (title gin_trgm_ops)",
        "shop_document USING gist (title gist_trgm_ops)",
    ],
)
def documents_titled(draw: Draw) -> Any:
    return Document.objects.filter(
        title__contains=f"{draw.among('Lens', 'Sync', 'Ref')} {draw.whole(100, 999)}"
    )


@shape(
    "contains",
    extra=["shop_product USING gin (upper(name) gin_trgm_ops)", "shop_product USING gin (name gin_trgm_ops)"],
)
def products_named_like(draw: Draw) -> Any:
    return Product.objects.filter(
        name__icontains=f"{draw.among('driver', 'weight', 'memory')} {draw.whole(10, 99)}"
    )


@shape("contains", extra=["shop_document USING gin (path gin_trgm_ops)"])
def documents_below(draw: Draw) -> Any:
    return Document.objects.filter(path__endswith=f"/file{draw.whole(1000, 9999)}.txt")


@shape("contains", extra=["shop_order USING gin (note gin_trgm_ops)"])
def orders_whose_note_matches(draw: Draw) -> Any:
    return Order.objects.filter(note__regex=draw.among("ref12[34] lens", "tripod ref9", "ref77 .*sync"))


@shape(
    "contains",
    extra=["shop_product USING gin (name gin_trgm_ops)", "shop_product USING gist (name gist_trgm_ops)"],
)
def products_named_nearly(draw: Draw) -> Any:
    return Product.objects.filter(
        name__trigram_similar=draw.among("Tripod Sync Calendar", "Lens Camera", "Speaker Wireless Storage 77")
    )


@shape("expression", keys={"shop_user": ("lower(email)",)})
def user_by_lower_email(draw: Draw) -> Any:
    key = draw.key("user")
    return User.objects.annotate(low=Lower("email")).filter(low=f"carl.{key}@example{key % 37}.com")


@shape("expression", keys={"shop_user": ("upper(email)",)})
def user_by_email_whatever_case(draw: Draw) -> Any:
    key = draw.key("user")
    return User.objects.filter(email__iexact=f"EVE.{key}@example{key % 37}.com")


@shape("expression", keys={"shop_product": ("upper(sku)",)})
def product_by_upper_sku(draw: Draw) -> Any:
    digest = draw.uid("", "product").hex[:8].upper()
    return Product.objects.annotate(up=Upper("sku")).filter(up=f"SKU-{digest}")


@shape("expression", keys={"shop_product": ("(price - cost)",)})
def products_by_margin(draw: Draw) -> Any:
    return Product.objects.annotate(margin=F("price") - F("cost")).filter(margin__gt=draw.whole(370, 390))


@shape("expression", keys={"shop_orderline": ("(price * quantity)",)})
def lines_by_worth(draw: Draw) -> Any:
    return OrderLine.objects.annotate(worth=F("price") * F("quantity")).filter(
        worth__gt=draw.whole(7_000, 7_400)
    )


DAY = {"shop_order": ("((placed_at AT TIME ZONE 'UTC')::date)",)}


@shape("date", keys=DAY)
def orders_of_a_day(draw: Draw) -> Any:
    return Order.objects.filter(placed_at__date=draw.day(0.05, 0.95))


@shape("date", keys=DAY)
def orders_of_tenant_of_a_day(draw: Draw) -> Any:
    return Order.objects.filter(tenant_id=draw.key("tenant", among=10), placed_at__date=draw.day(0.05, 0.95))


@shape("date")
def failures_of_a_year(draw: Draw) -> Any:
    return Order.objects.filter(placed_at__year=2022 + draw.number % 3, status="failed")


@shape("date", keys={"shop_user": ("((last_login AT TIME ZONE 'UTC')::date)",)})
def logins_of_a_day(draw: Draw) -> Any:
    return User.objects.filter(last_login__date=draw.day(0.05, 0.95)).count()


@shape(
    "date",
    keys={"shop_invoice": ("(EXTRACT(MONTH FROM due_on))",)},
    where={"shop_invoice": ["paid_on IS NULL"]},
)
def unpaid_invoices_due_in_month(draw: Draw) -> Any:
    return Invoice.objects.filter(due_on__month=draw.whole(1, 12), paid_on__isnull=True)


@shape("partial", where={"shop_order": ["status = 'failed'"]})
def failed_orders(draw: Draw) -> Any:
    return Order.objects.filter(status="failed", updated_at__gte=draw.moment(0.8, 0.95))


@shape("partial", where={"shop_message": ["read_at IS NULL"]})
def unread_of_ticket(draw: Draw) -> Any:
    return Message.objects.filter(ticket_id=draw.key("ticket"), read_at__isnull=True)


@shape("partial", where={"shop_user": ["deleted_at IS NOT NULL"]})
def deleted_users(draw: Draw) -> Any:
    return User.objects.filter(deleted_at__isnull=False, tenant_id=draw.key("tenant", among=50))


@shape("partial", where={"shop_invoice": ["paid_on IS NULL"]})
def overdue_invoices(draw: Draw) -> Any:
    return Invoice.objects.filter(paid_on__isnull=True, due_on__lt=draw.day(0.05, 0.3))


@shape(
    "partial",
    where={
        "shop_ticket": ["assignee_id IS NULL", "assignee_id IS NULL AND status = 'open'", "status = 'open'"]
    },
)
def tickets_of_nobody(draw: Draw) -> Any:
    return Ticket.objects.filter(assignee__isnull=True, status="open", priority__gte=4)


@shape("partial", where={"shop_user": ["is_agent"]})
def agents_of_tenant(draw: Draw) -> Any:
    return User.objects.filter(is_agent=True, tenant_id=draw.key("tenant", among=40))


@shape("partial", where={"shop_order": ["NOT (status = 'paid')", "status <> 'paid'"]})
def orders_not_done(draw: Draw) -> Any:
    return Order.objects.exclude(status__in=["paid", "shipped", "pending", "cancelled"]).filter(
        placed_at__gte=draw.moment(0.85, 0.95)
    )


@shape("partial", where={"shop_order": ["is_gift"]})
def gifts_to_send(draw: Draw) -> Any:
    return Order.objects.filter(is_gift=True, status="pending")
