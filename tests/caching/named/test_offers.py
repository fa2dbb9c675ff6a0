"""Values that are made elsewhere, and kept unless they were voided meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perfkit.caching import cache
from perfkit.caching.named.offers import Offer
from perfkit.errors import CacheKeyError
from perfkit.models import PendingInvalidation
from tests.plugins.valkey import DisposableValkey

pytestmark = pytest.mark.django_db(transaction=True)


def begun(**tags: Any) -> Offer:
    offer = Offer("a:b", tags=["tagged"])
    offer.begin()
    return offer


def test_what_is_offered_is_kept_and_voided_like_any_other() -> None:
    for void in (
        lambda: cache.delete("a:b"),
        lambda: cache.delete_pattern("a:*"),
        lambda: cache.invalidate_tags("tagged"),
    ):
        assert begun().keep({"a": [1]}, ttl_seconds=60)
        assert cache.get("a:b") == {"a": [1]}
        void()
        assert cache.get("a:b") is None


@pytest.mark.parametrize(
    "void",
    [
        lambda: cache.delete("a:b"),
        lambda: cache.delete_pattern("a:*"),
        lambda: cache.invalidate_tags("tagged"),
        lambda: cache.set("a:b", "newer"),
    ],
)
def test_what_was_voided_meanwhile_takes_nothing_s_place(void: Callable[[], None]) -> None:
    offer = begun()
    void()
    stands = cache.get("a:b")
    assert begun().standing != offer.standing
    assert not offer.keep("old", ttl_seconds=60)
    assert cache.get("a:b") == stands


def test_all_who_have_begun_have_one_standing() -> None:
    one, other = begun(), begun()
    assert one.standing == other.standing != ""
    assert one.keep("first", ttl_seconds=60)
    assert other.keep("second", ttl_seconds=60), "it is as good"
    assert cache.get("a:b") == "second"


@pytest.mark.parametrize("value", ["\ud83d", b"x" * 2_000_000])
def test_what_cannot_be_kept_leaves_what_stands(value: Any) -> None:
    assert begun().keep("before", ttl_seconds=60)
    is_kept = begun().keep(value, ttl_seconds=60)
    assert is_kept is (cache.get("a:b") == value) is (value[:1] == b"x")


def test_it_needs_a_key_path_and_tags() -> None:
    with pytest.raises(CacheKeyError):
        Offer("a b", tags=["tagged"])
    with pytest.raises(CacheKeyError):
        Offer("a", tags=[""])


@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.parametrize("moment", ["before", "between"])
def test_an_outage_leaves_nothing_to_be_written(server: DisposableValkey, moment: str) -> None:
    if moment == "before":
        server.kill()
    offer = begun()
    assert (offer.standing == "") is (moment == "before")
    if moment == "between":
        server.kill()
    assert not offer.keep("value", ttl_seconds=60)
    assert not PendingInvalidation.objects.exists()
