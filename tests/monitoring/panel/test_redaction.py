"""What is shown of keys, tags and plans."""

from __future__ import annotations

from django.db.models import Q, Value
from hypothesis import given
from hypothesis import strategies as st

from perfkit.caching.tags import any_write_tag, entry_prefix, query_key, row_tag, table_tag, value_tag
from perfkit.loading import RelatedCount, RelatedRows, plan_for
from perfkit.monitoring.panel.redaction import (
    MOST_TAGS,
    digest,
    loaded_with,
    plan_text,
    shown_key,
    shown_tags,
)
from project.flights.models import Airline, Flight

values = st.text(st.characters(codec="ascii", categories=["Lu", "Ll"]), min_size=12, max_size=30)


@given(values)
def test_no_value_is_shown(value: str) -> None:
    keys = [entry_prefix("db", "t", "c") + value, query_key("db", value), f"v:x:user:{value}", value]
    tags = [
        row_tag("db", "t", value),
        value_tag("db", "t", "c", value),
        f"k:{value}",
        f"n:{value}",
        f"t:{value}",
    ]
    shown = [*map(shown_key, keys), *shown_tags(tags)]

    assert not [text for text in shown if value in text]


def test_equal_keys_have_equal_digests_and_others_others() -> None:
    assert digest("a") == digest("a")
    assert digest("a") != digest("b")
    assert shown_key(entry_prefix("db", "flights_flight", "c") + "7").startswith("row of flights_flight ")
    assert shown_key("") == ""


def test_a_digest_depends_on_the_secret_key(settings: object) -> None:
    before = digest("a")
    settings.SECRET_KEY = "another"  # type: ignore[attr-defined]
    assert digest("a") != before


def test_rows_of_a_table_are_counted() -> None:
    tags = [row_tag("db", "shelf", number) for number in range(3)]

    assert shown_tags([*tags, table_tag("db", "shelf"), any_write_tag("db", "book")]) == [
        "shelf: 3 rows",
        "shelf: writes of unknown rows",
        "book: any write",
    ]


def test_many_tags_are_cut() -> None:
    words = shown_tags(any_write_tag("db", f"t{number}") for number in range(MOST_TAGS + 5))

    assert len(words) == MOST_TAGS + 1
    assert words[-1] == "and 5 more"


def test_a_plan_has_no_value() -> None:
    secret = "s3cr3t"
    condition = Q(note=secret) | ~Q(Q(gate=secret), kind=Value(secret))
    rows = RelatedRows("reports", filter=condition, order_by=("-created_at",), limit=2, to_attr="some")

    text = plan_text(plan_for(Flight, ("airline", rows)))

    assert secret not in text
    assert "'note', …" in text
    assert "NOT" in text
    assert "in the order -created_at" in text


def test_what_a_queryset_loads_is_told() -> None:
    flights = (
        Flight.objects.select_related("airline", "plane").prefetch_related("reports__author").defer("year")
    )

    assert loaded_with(flights) == ("joins airline, plane; a query each for reports__author; without year")
    assert loaded_with(Flight.objects.only("year")) == "only year"
    assert loaded_with(Airline.objects.annotate(n=RelatedCount("flights"))) == ""
