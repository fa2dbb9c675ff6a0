"""Joins along foreign keys, back and through tables between, and EXISTS."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Prefetch

from benchmarks.advisor.models import (
    Document,
    Event,
    Follow,
    Invoice,
    Message,
    Order,
    OrderLine,
    Product,
    ProductLabel,
    Ticket,
    User,
)
from benchmarks.advisor.shape import Draw, shape

LINES = ["quantity"]


@shape("join")
def lines_of_products_of_category(draw: Draw) -> Any:
    return OrderLine.objects.filter(product__category_id=draw.key("category", among=200)).select_related(
        "product"
    )


@shape("join")
def orders_of_email(draw: Draw) -> Any:
    key = draw.key("user")
    return Order.objects.filter(user__email=f"ann.{key}@example{key % 37}.com")


@shape("join")
def tickets_of_agents(draw: Draw) -> Any:
    return Ticket.objects.filter(assignee__uid=draw.uid("user", "user"), status="open").select_related(
        "requester"
    )


@shape("join")
def invoices_of_user(draw: Draw) -> Any:
    return Invoice.objects.filter(order__user_id=draw.key("user")).order_by("issued_on")


@shape("join")
def messages_of_requester(draw: Draw) -> Any:
    return Message.objects.filter(ticket__requester_id=draw.key("user")).select_related("ticket")


@shape("join")
def users_who_bought(draw: Draw) -> Any:
    return User.objects.filter(orders__lines__product_id=draw.key("product", among=3_000)).distinct()


@shape("join")
def orders_with_returns_since(draw: Draw) -> Any:
    return Order.objects.filter(lines__returned_on__gte=draw.day(0.99, 0.998))


@shape("join")
def users_with_large_documents(draw: Draw) -> Any:
    return User.objects.filter(documents__size_bytes__gt=99_000_000 + draw.number, country="IS")


@shape("join")
def invoices_of_gifts(draw: Draw) -> Any:
    since = draw.day(0.1, 0.9)
    return Invoice.objects.filter(issued_on__range=(since, since + timedelta(days=1)), order__is_gift=True)


@shape("join")
def referred_by(draw: Draw) -> Any:
    return User.objects.filter(referrer_id=draw.key("user", among=20_000)).select_related("tenant")


@shape("join")
def duplicates_of_ticket(draw: Draw) -> Any:
    return Ticket.objects.filter(duplicate_of_id=draw.key("ticket"))


@shape("many to many")
def products_of_label(draw: Draw) -> Any:
    return Product.objects.filter(labels=draw.key("label"), stock=0)


@shape("many to many")
def labels_of_product(draw: Draw) -> Any:
    product = Product(pk=draw.key("product"))
    return product.labels.order_by("name")


@shape("many to many")
def followers_of(draw: Draw) -> Any:
    return User.objects.filter(follows=draw.key("user", among=2_000))


@shape("many to many")
def mutual_follows(draw: Draw) -> Any:
    return Follow.objects.filter(followed_id=draw.key("user", among=5_000), follower__country="PT")


@shape("many to many")
def labels_of_products(draw: Draw) -> Any:
    return ProductLabel.objects.filter(product_id__in=draw.keys("product", 20)).select_related("label")


@shape("many to many")
def top_of_label(draw: Draw) -> Any:
    return ProductLabel.objects.filter(label_id=draw.key("label")).order_by("-rank")[:20]


@shape("EXISTS")
def tickets_with_unread(draw: Draw) -> Any:
    unread = Message.objects.filter(ticket_id=OuterRef("pk"), read_at__isnull=True)
    return Ticket.objects.filter(Exists(unread), tenant_id=draw.key("tenant", among=100), status="open")


@shape("EXISTS", where={"shop_order": ["status = 'failed'"]})
def users_with_failures(draw: Draw) -> Any:
    failed = Order.objects.filter(user_id=OuterRef("pk"), status="failed")
    return User.objects.filter(Exists(failed), tenant_id=draw.key("tenant"))


@shape("EXISTS")
def orders_without_invoice(draw: Draw) -> Any:
    return Order.objects.filter(
        ~Exists(Invoice.objects.filter(order_id=OuterRef("pk"))), user_id=draw.key("user", among=2_000)
    )


@shape("EXISTS")
def users_who_never_ordered(draw: Draw) -> Any:
    key = draw.key("user", among=50_000)
    return User.objects.filter(id__range=(key, key + 30)).exclude(orders__status="paid")


@shape("EXISTS")
def has_exported(draw: Draw) -> Any:
    return Event.objects.filter(actor_id=draw.key("user", among=10_000), action="export").exists()


@shape("EXISTS")
def products_never_sold(draw: Draw) -> Any:
    sold = OrderLine.objects.filter(product_id=OuterRef("pk"))
    return Product.objects.filter(~Exists(sold), category_id=draw.key("category"))


@shape("IN sub-select")
def messages_of_open_tickets(draw: Draw) -> Any:
    tickets = Ticket.objects.filter(assignee_id=draw.whole(1, 300), status="open")
    return Message.objects.filter(ticket__in=tickets)


@shape("IN sub-select")
def documents_of_agents(draw: Draw) -> Any:
    agents = User.objects.filter(is_agent=True, tenant_id=draw.key("tenant", among=40))
    return Document.objects.filter(owner__in=agents)


@shape("prefetch")
def orders_of_a_page_of_users(draw: Draw) -> Any:
    users = [User(pk=key) for key in draw.keys("user", 20)]
    from django.db.models import prefetch_related_objects

    prefetch_related_objects(users, Prefetch("orders", Order.objects.order_by("-placed_at")))
