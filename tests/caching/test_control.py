"""Voiding by hand: every process reads the database next, whether the server hears of it or not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db import connection, transaction

from perfkit.caching import cache
from perfkit.caching.control import invalidate, invalidate_all, tags_named, tags_of_model
from perfkit.caching.databases import tag_scope
from perfkit.caching.scope import token_scope
from perfkit.caching.store import current_store, forget_store
from perfkit.caching.tokens import is_in_flight
from perfkit.errors import CacheUnreachableError, UnknownTagError
from perfkit.models import PendingInvalidation
from tests.caching.conftest import Outcome, wait_until, write_unseen
from tests.caching.processes import Process
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Booking, Bundle, Cabin, Item

pytestmark = pytest.mark.django_db(transaction=True)


def names(**lookup: object) -> list[str]:
    return [item.name for item in Item.objects.filter(**lookup)]


@pytest.mark.parametrize("name", ["testapp.Item", "testapp.item", "testapp.Cabin", "testapp.ProxyItem"])
def test_a_model_stands_for_all_that_is_read_of_it(outdated_item: Item, name: str) -> None:
    assert invalidate(tags_named(name)).is_told
    assert Item.objects.get(pk=outdated_item.pk).name == "new"
    assert names(name__gt="") == ["new"]


def test_a_declared_list_and_a_relation_to_many_go_too() -> None:
    Booking.plain.create(name="old", zone="north")
    bundle = Bundle.plain.create(title="b")
    bundle.items.add(Item.plain.create(name="i"))

    def seen() -> tuple[list[str], int]:
        return [row.name for row in Booking.objects.filter(zone="north")], bundle.items.count()

    seen()
    write_unseen("testapp_booking")
    connection.connection.execute("DELETE FROM testapp_bundle_items")
    assert seen() == (["old"], 1)
    invalidate(tags_named("testapp.Booking") | tags_named("testapp.Bundle"))
    assert seen() == (["new"], 0)


def test_other_models_stay(outdated_item: Item, reads: list[Outcome]) -> None:
    invalidate(tags_named("testapp.Booking"))
    assert Item.objects.get(pk=outdated_item.pk).name == "old"
    assert reads[-1][1] == "hit"


def test_a_request_that_goes_on_sees_it(outdated_item: Item) -> None:
    with token_scope():
        assert Item.objects.get(pk=outdated_item.pk).name == "old"
        invalidate(tags_named("testapp.Item"))
        assert Item.objects.get(pk=outdated_item.pk).name == "new"


def test_everything_goes(outdated_item: Item) -> None:
    with token_scope():
        assert Item.objects.get(pk=outdated_item.pk).name == "old"
        assert invalidate_all().is_told
        assert Item.objects.get(pk=outdated_item.pk).name == "new"
        assert names(name__gt="") == ["new"]


@pytest.mark.parametrize("name", ["key:shop:top", "key:shop:*", "tag:prices", "n:", ""])
def test_what_is_kept_under_a_name_goes(name: str) -> None:
    cache.set("shop:top", 1, tags=["prices"])
    cache.set("other", 2)
    assert cache.get("shop:top") == 1
    if name:
        invalidate(tags_named(name))
    else:
        invalidate_all()
    assert cache.get("shop:top") is None
    assert cache.get("other") == (None if name in {"", "n:"} else 2)


def test_who_is_about_to_commit_is_not_forgotten(outdated_item: Item) -> None:
    store = current_store()
    assert store is not None
    tags = sorted(tags_of_model(Item))
    store.mark(tags, writer="0a")
    invalidate_all()
    invalidate(tags)
    assert all(is_in_flight(token) for token in store.take(tags))


def test_names_of_people_are_tags() -> None:
    assert tags_named("tag:prices") == {"t:prices"}
    assert tags_named("key:shop.top:7") == {"k:shop.top:7"}
    assert tags_named("key:shop:*") == {"n:shop"}
    assert tags_named("t:a.b") == {"t:a.b"}
    row = f"r:{tag_scope(connection)}:testapp_item:7"
    assert tags_named(row) == {row}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("testapp.Itm", "'testapp.Item'"),
        ("testap.item", "'testapp.Item'"),
        ("item", "Name a model"),
        ("", "Name a model"),
        ("tag:", "Name a model"),
        ("r:short:t:1", "Name a model"),
        ("a.b.c", "Name a model"),
    ],
)
def test_what_is_neither_is_refused_with_what_is_near(name: str, hint: str) -> None:
    with pytest.raises(UnknownTagError, match=hint):
        tags_named(name)


def test_a_model_that_nobody_caches_can_be_named() -> None:
    assert {tag[0] for tag in tags_of_model(User)} == {"a", "b"}


def test_a_model_lives_where_the_router_says(settings: LazySettings) -> None:
    settings.DATABASE_ROUTERS = ["tests.caching.test_control.Nowhere"]
    assert tags_of_model(Item) == frozenset()
    assert tags_of_model(Booking)


class Nowhere:
    def allow_migrate(
        self, db: str, app_label: str, model_name: str | None = None, **_: object
    ) -> bool | None:
        return False if model_name == "item" else None


def test_nothing_is_stored_nothing_is_told(settings: LazySettings) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    forget_store()
    assert invalidate(["t:a"]).is_told
    assert invalidate_all().is_told


@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.parametrize("everything", [False, True])
def test_every_process_hears_of_it(
    start: Callable[..., Process], outdated_item: Item, everything: bool
) -> None:
    others = [start(CACHE_MEMORY=memory) for memory in ("request", "strict", "off")]
    for other in others:
        assert other.call("get", outdated_item.pk) == ["old", "hit"]
    if everything:
        invalidate_all()
    else:
        invalidate(tags_named("testapp.Item"))
    for other in others:
        assert other.call("get", outdated_item.pk)[0] == "new"


@pytest.mark.redis
@pytest.mark.postgres
class TestOutage:
    """This process does not reach the server, and others do."""

    @pytest.fixture
    def other(self, start: Callable[..., Process], server: DisposableValkey) -> Process:
        return start(redis_url=server.url)

    @pytest.mark.parametrize("everything", [False, True])
    def test_it_waits_in_the_outbox(
        self, other: Process, server: DisposableValkey, settings: LazySettings, everything: bool
    ) -> None:
        item = Item.plain.create(name="old")
        for _ in range(2):
            assert other.call("get", item.pk)[0] == "old"
        write_unseen("testapp_item")
        assert other.call("get", item.pk) == ["old", "hit"]
        settings.CACHES = {
            "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
        }
        told = invalidate_all() if everything else invalidate(tags_named("testapp.Item") | {"t:prices"})
        assert (told.is_told, told.kept_in) == (False, ("default",))
        assert told.problem
        tags = set(PendingInvalidation.objects.values_list("tags", flat=True))
        assert len(tags) == 1
        assert everything or "t:prices" in tags.pop()
        wait_until(lambda: other.call("get", item.pk)[0] == "new")
        wait_until(lambda: other.call("get", item.pk) == ["new", "hit"])
        assert not PendingInvalidation.objects.exists()

    def test_a_rolled_back_outbox_is_told_as_a_failure(self, server: DisposableValkey) -> None:
        server.kill()
        with pytest.raises(CacheUnreachableError, match="outbox"), transaction.atomic():
            connection.set_rollback(True)
            invalidate(tags_named("testapp.Item"))

    def test_without_an_outbox_nobody_trusts_the_cache(
        self, server: DisposableValkey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.kill()
        monkeypatch.setattr(PendingInvalidation._meta, "db_table", "perfkit_not_there")
        told = invalidate(tags_named("testapp.Item"))
        assert (told.is_told, told.kept_in) == (False, ())


def test_a_child_s_tables_are_its_parents_too() -> None:
    assert tags_of_model(Item) < tags_of_model(Cabin)
