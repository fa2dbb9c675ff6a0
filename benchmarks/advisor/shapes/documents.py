"""JSON, arrays, full text, ranges."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.postgres.search import SearchQuery, SearchVector

from benchmarks.advisor.models import Booking, Document, Event, Message, Product, Ticket, User
from benchmarks.advisor.shape import Draw, shape

ATTRIBUTES = ("shop_product USING gin (attributes)", "shop_product USING gin (attributes jsonb_path_ops)")
DATA = ("shop_document USING gin (data)", "shop_document USING gin (data jsonb_path_ops)")


@shape("JSON", extra=ATTRIBUTES)
def products_of_maker(draw: Draw) -> Any:
    return Product.objects.filter(attributes__contains={"maker": f"maker{draw.whole(1, 790)}"})


@shape("JSON", extra=ATTRIBUTES)
def golden_wide_products(draw: Draw) -> Any:
    return Product.objects.filter(
        attributes__contains={"colour": "gold", "size": {"width": draw.whole(1, 299)}}, is_listed=True
    )


@shape("JSON", extra=ATTRIBUTES, where={"shop_product": ["attributes ? 'recalled'"]})
def recalled_products(draw: Draw) -> Any:
    return Product.objects.filter(attributes__has_key="recalled", stock__gt=draw.whole(300, 400))


@shape("JSON", keys={"shop_product": ("(attributes -> 'maker')",)}, extra=ATTRIBUTES)
def products_by_maker_key(draw: Draw) -> Any:
    return Product.objects.filter(attributes__maker=f"maker{draw.whole(1, 790)}")


@shape("JSON", keys={"shop_event": ("(payload -> 'ms')",)})
def slow_events(draw: Draw) -> Any:
    return Event.objects.filter(payload__ms__gt=draw.whole(1_990, 1_998))


@shape("JSON", keys={"shop_event": ("(payload ->> 'page')",)})
def events_of_page_as_text(draw: Draw) -> Any:
    from django.db.models.fields.json import KT

    return Event.objects.annotate(page=KT("payload__page")).filter(page=f"page{draw.whole(500, 2_900)}")


@shape("JSON", keys={"shop_document": ("(data #> '{author,name}')",)}, extra=DATA)
def documents_of_author(draw: Draw) -> Any:
    return Document.objects.filter(data__author__name=f"author{draw.whole(1, 2_999)}")


@shape("JSON", extra=DATA)
def documents_that_refer(draw: Draw) -> Any:
    return Document.objects.filter(data__contains={"refs": [draw.whole(1, 899)]})


@shape(
    "JSON",
    keys={"shop_user": ("(preferences -> 'theme')",)},
    extra=["shop_user USING gin (preferences)", "shop_user USING gin (preferences jsonb_path_ops)"],
)
def sepia_users(draw: Draw) -> Any:
    return User.objects.filter(preferences__contains={"theme": "sepia", "zone": draw.whole(0, 23)})


@shape("array", extra=["shop_product USING gin (tags)"])
def products_tagged(draw: Draw) -> Any:
    return Product.objects.filter(tags__contains=[f"tag{draw.whole(100, 399)}"])


@shape("array", extra=["shop_product USING gin (tags)"])
def products_tagged_with_any(draw: Draw) -> Any:
    return Product.objects.filter(tags__overlap=[f"tag{draw.whole(150, 399)}", f"tag{draw.whole(150, 399)}"])


@shape("array", extra=["shop_document USING gin (tags)"])
def documents_tagged_twice(draw: Draw) -> Any:
    return Document.objects.filter(tags__contains=["vegan", f"tag{draw.whole(5, 99)}"])


@shape("full text", extra=["shop_message USING gin (search)", "shop_message USING gist (search)"])
def messages_that_say(draw: Draw) -> Any:
    return Message.objects.filter(search=SearchQuery(f"ref{draw.whole(1, 4_999)}", config="simple"))


@shape("full text", extra=["shop_message USING gin (search)", "shop_message USING gist (search)"])
def messages_that_say_both(draw: Draw) -> Any:
    words = draw.among("calendar tripod camera", "sync lens speaker", '"export wireless" report')
    return Message.objects.filter(search=SearchQuery(words, config="simple", search_type="websearch"))


@shape("full text", extra=["shop_ticket USING gin (to_tsvector('simple'::regconfig, COALESCE(subject, '')))"])
def tickets_that_say(draw: Draw) -> Any:
    return Ticket.objects.annotate(words=SearchVector("subject", config="simple")).filter(
        words=SearchQuery(f"ref{draw.whole(1, 4_999)}", config="simple")
    )


DURING = ("shop_booking USING gist (during)", "shop_booking USING spgist (during)")


@shape("ranges", extra=DURING)
def bookings_at(draw: Draw) -> Any:
    return Booking.objects.filter(during__contains=draw.moment(0.05, 0.95))


@shape("ranges", extra=DURING)
def bookings_overlapping(draw: Draw) -> Any:
    since = draw.moment(0.05, 0.95)
    return Booking.objects.filter(during__overlap=(since, since + timedelta(hours=2)))


@shape("ranges", extra=DURING)
def bookings_of_resource_overlapping(draw: Draw) -> Any:
    since = draw.moment(0.05, 0.95)
    return Booking.objects.filter(
        resource=draw.whole(1, 500), during__overlap=(since, since + timedelta(days=3))
    )


@shape("ranges", extra=["shop_product USING gist (offered)", "shop_product USING spgist (offered)"])
def products_offered_within(draw: Draw) -> Any:
    since = draw.day(0.1, 0.9)
    return Product.objects.filter(offered__contained_by=(since, since + timedelta(days=3)))
