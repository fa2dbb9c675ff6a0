"""A cached read can be told from a plain one by nothing but its cost."""

from __future__ import annotations

import copy
import enum
import pickle
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.conf import LazySettings
from django.core import checks
from django.db import connection, models
from django.db.models import F
from django.db.models.signals import post_init, pre_init
from django.test.utils import isolate_apps
from django.utils.safestring import mark_safe

from perfkit.caching import CachedManager
from perfkit.caching import store as stores
from perfkit.caching.queryset import DEFAULT
from perfkit.caching.registry import cached_models, track, tracked_tables
from perfkit.caching.store import current_store
from tests.caching.conftest import Outcome, wait_until
from tests.testapp.models import (
    Airfield,
    Building,
    Document,
    Heir,
    Item,
    Loud,
    Page,
    ProxyItem,
    Sample,
    Shelf,
    Signpost,
    Ticket,
    Tower,
    Volume,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def item() -> Item:
    return Item.plain.create(name="one", count=1)


def outcomes(reads: list[Outcome]) -> list[str]:
    return [outcome for _, outcome, _ in reads]


def state(instance: models.Model) -> dict[str, Any]:
    return {**vars(instance._state), "fields_cache": dict(instance._state.fields_cache)}


class TestCost:
    def test_it_reads_the_database_once(
        self, item: Item, reads: list[Outcome], django_assert_num_queries: Any
    ) -> None:
        with django_assert_num_queries(1):
            Item.objects.get(pk=item.pk)
        for _ in range(50):
            with django_assert_num_queries(0):
                Item.objects.get(pk=item.pk)
        assert outcomes(reads) == ["miss", *["hit"] * 50]

    @pytest.mark.parametrize(
        "argument",
        [
            lambda pk: {"pk": pk},
            lambda pk: {"id": pk},
            lambda pk: {"pk": str(pk)},
            lambda pk: {"pk": f"00{pk}"},
            lambda pk: {"pk": enum.IntEnum("Key", {"A": pk}).A},
        ],
    )
    def test_it_knows_a_key_in_each_form(
        self, item: Item, argument: Callable[[int], dict[str, Any]], django_assert_num_queries: Any
    ) -> None:
        Item.objects.get(pk=item.pk)
        with django_assert_num_queries(0):
            assert Item.objects.get(**argument(item.pk)) == item

    def test_it_keeps_that_a_row_is_missing(self, reads: list[Outcome]) -> None:
        for _ in range(2):
            with pytest.raises(Item.DoesNotExist):
                Item.objects.get(pk=12345)
        assert outcomes(reads) == ["miss", "hit"]
        Item.plain.create(pk=54321, name="another")  # any new row may be the one
        with pytest.raises(Item.DoesNotExist):
            Item.objects.get(pk=12345)
        Item.plain.create(id=12345, name="now")
        assert Item.objects.get(pk=12345).name == "now"

    def test_it_forgets_after_its_ttl(self, item: Item, reads: list[Outcome]) -> None:
        manager: Any = CachedManager(ttl=1)
        manager.model = Item
        manager.get(pk=item.pk)
        wait_until(lambda: bool(manager.get(pk=item.pk)) and outcomes(reads)[-1] == "miss" and len(reads) > 1)


class TestSameness:
    """Hit and miss against `models.Manager`."""

    @pytest.fixture(params=["miss", "hit"])
    def pair(self, request: pytest.FixtureRequest, item: Item) -> tuple[Any, Any]:
        sample = Sample.plain.create(whole=1, short="", real=-0.0, item=item, blob=b"\x00", path="a/b.txt")
        if request.param == "hit":
            Sample.objects.get(pk=sample.pk)
        return Sample.objects.get(pk=sample.pk), Sample.plain.get(pk=sample.pk)

    def test_it_gives_an_equal_instance(self, pair: tuple[Any, Any]) -> None:
        cached, plain = pair
        assert type(cached) is type(plain)
        assert cached == plain
        assert hash(cached) == hash(plain)
        assert list(vars(cached)) == list(vars(plain))
        assert {**vars(cached), "_state": 0} == {**vars(plain), "_state": 0}
        assert {key: type(value) for key, value in vars(cached).items()} == {
            key: type(value) for key, value in vars(plain).items()
        }
        assert state(cached) == state(plain)
        assert cached.get_deferred_fields() == set()
        assert cached.path.name == "a/b.txt"

    def test_it_can_be_pickled_and_copied(self, pair: tuple[Any, Any]) -> None:
        cached, plain = pair
        for copied in (lambda instance: pickle.loads(pickle.dumps(instance)), copy.deepcopy):  # noqa: S301  # its own
            ours, djangos = copied(cached), copied(plain)
            assert {**vars(ours), "_state": 0} == {**vars(djangos), "_state": 0}
            assert state(ours) == state(djangos)

    def test_it_leads_to_its_relations(self, pair: tuple[Any, Any], item: Item) -> None:
        assert pair[0].item == item

    def test_it_can_be_saved_and_deleted(self, pair: tuple[Any, Any], django_assert_num_queries: Any) -> None:
        cached, plain = pair
        cached.whole = 2
        with django_assert_num_queries(1):
            cached.save()
        plain.refresh_from_db()
        assert plain.whole == 2
        cached.delete()
        assert not Sample.plain.exists()


def test_it_hands_out_a_fresh_copy_each_time(item: Item) -> None:
    first, second = (Item.objects.get(pk=item.pk) for _ in range(2))
    first.name = "changed in memory"
    first.extra = object()
    assert second.name == "one"
    third = Item.objects.get(pk=item.pk)
    assert third.name == "one"
    assert not hasattr(third, "extra")


def test_it_sends_the_signals_of_a_new_instance(item: Item) -> None:
    told: list[tuple[str, Any]] = []
    pre_init.connect(
        lambda sender, **_: told.append(("pre", sender)), sender=Item, weak=False, dispatch_uid="pre"
    )
    post_init.connect(
        lambda instance, **_: told.append(("post", instance.pk)), sender=Item, weak=False, dispatch_uid="post"
    )
    try:
        for manager in (Item.plain, Item.objects, Item.objects):
            told.clear()
            manager.get(pk=item.pk)
            assert told == [("pre", Item), ("post", item.pk)]
    finally:
        pre_init.disconnect(sender=Item, dispatch_uid="pre")
        post_init.disconnect(sender=Item, dispatch_uid="post")


def test_it_uses_the_models_own_way_to_make_an_instance() -> None:
    pk = Loud.objects.create(name="x").pk
    assert all(Loud.objects.get(pk=pk).was_loaded for _ in range(2))


WRONG_KEYS: list[Any] = [
    None,
    "abc",
    "",
    1.5,
    "1 ",
    "-1",
    "٣",
    True,
    b"1",
    10**30,
    "9" * 5000,
    [1],
    object(),
    F("id"),
    "99999999999999999999",
]


@pytest.mark.parametrize("key", WRONG_KEYS, ids=lambda key: repr(key)[:20])
def test_it_answers_any_key_as_a_plain_manager_does(item: Item, key: Any) -> None:
    Item.objects.get(pk=item.pk)

    def answer(manager: Any) -> tuple[Any, ...]:
        try:
            return ("found", manager.get(pk=key))
        except Exception as error:  # noqa: BLE001  # whatever Django says
            return (type(error), str(error))

    assert answer(Item.objects) == answer(Item.plain)
    assert answer(Item.objects) == answer(Item.plain)


@pytest.mark.parametrize("key", ["", "a b", "JFK\n", "é", "x" * 9, "#", "a:b", "\u2028"], ids=ascii)
def test_it_answers_any_text_key_as_a_plain_manager_does(key: str) -> None:
    if len(key) <= 8:
        Airfield.plain.create(code=key, name=f"field {key!r}")
    Airfield.plain.create(code="other", name="other")
    for _ in range(2):
        cached, plain = (
            list(manager.filter(pk=key)) and [manager.get(pk=key)]
            for manager in (Airfield.objects, Airfield.plain)
        )
        assert [field.name for field in cached] == [field.name for field in plain]


def test_it_says_what_a_plain_manager_says_of_a_missing_row() -> None:
    def words(manager: Any, **lookup: Any) -> str:
        with pytest.raises(Airfield.DoesNotExist) as caught:
            manager.get(**lookup)
        return str(caught.value)

    for lookup in ({"pk": "XXX"}, {"code": "XXX"}):
        assert words(Airfield.objects, **lookup) == words(Airfield.plain, **lookup)


def test_it_takes_texts_of_other_types_by_their_content() -> None:
    class Code(str, enum.Enum):  # noqa: UP042  # its str() is not its value
        JFK = "JFK"

    class Choice(models.TextChoices):
        JFK = "JFK"

    Airfield.plain.create(code="JFK", name="Kennedy")
    for key in (Code.JFK, Choice.JFK, mark_safe("JFK")):  # a str of another type
        found = Airfield.objects.get(pk=key)
        assert found.name == "Kennedy"
        assert type(found.code) is str


@pytest.mark.parametrize("form", [str, lambda key: key.hex, lambda key: key, lambda key: str(key).upper()])
def test_it_knows_a_uuid_in_each_form(
    form: Callable[[uuid.UUID], Any], django_assert_num_queries: Any
) -> None:
    ticket = Ticket.objects.create(seat="1A")
    Ticket.objects.get(pk=ticket.pk)
    with django_assert_num_queries(0):
        assert Ticket.objects.get(pk=form(ticket.pk)).pk == ticket.pk


class TestMoreThanOneRow:
    """Reads that mean more than one row by its key depend on all rows."""

    @pytest.mark.parametrize(
        "read",
        [
            lambda item: Item.objects.get(name=item.name),
            lambda item: Item.objects.get(pk=item.pk, name=item.name),
            lambda item: Item.objects.get(models.Q(pk=item.pk)),
            lambda item: Item.objects.get(pk__exact=item.pk),
            lambda item: Item.objects.get(pk__in=[item.pk]),
            lambda item: Item.objects.get(pk=F("id")),
            lambda item: Item.objects.using("default").get(pk=item.pk),
            lambda item: Item.objects.all().get(pk=item.pk),
            lambda item: Item.objects.filter(count=1).get(pk=item.pk),
            lambda item: Item.objects.only("name").get(pk=item.pk),
            lambda item: Item.objects.get(),
        ],
    )
    def test_it_follows_any_write_to_the_table(
        self, item: Item, read: Callable[[Item], Item], reads: list[Outcome]
    ) -> None:
        other = Item.plain.create(name="other") if "pk" in str(read.__code__.co_names) else None
        assert [read(item), read(item)] == [item, item]
        assert outcomes(reads) == ["miss", "hit"]
        Item.plain.filter(name="nobody").update(count=5)
        assert read(item) == item
        assert outcomes(reads) == ["miss", "hit", "miss"]
        assert other is None or other.pk != item.pk

    def test_it_reads_through_a_related_manager(self, reads: list[Outcome]) -> None:
        mine, other = (Shelf.objects.create(name=name) for name in ("mine", "other"))
        volume = Volume.objects.create(title="x", shelf=mine)
        Volume.objects.get(pk=volume.pk)
        reads.clear()
        assert [mine.volumes.get(pk=volume.pk) for _ in range(2)] == [volume, volume]
        assert outcomes(reads) == ["miss", "hit"]
        with pytest.raises(Volume.DoesNotExist):
            other.volumes.get(pk=volume.pk)

    def test_it_keeps_for_its_own_time_what_a_related_manager_reads(self) -> None:
        item = Item.plain.create(name="x")
        assert item.bundles.get_queryset()._ttl_seconds == 600
        assert Shelf(pk=1).volumes.get_queryset()._ttl_seconds == DEFAULT

    @pytest.mark.parametrize("name", ["visible", "by_get", "by_filter"])
    def test_it_keeps_to_the_rows_of_its_own_queryset(self, name: str) -> None:
        manager = getattr(Page, name)
        page = Page.plain.create(title="x")
        assert manager.get(pk=page.pk) == page
        Page.objects.get(pk=page.pk)
        Page.plain.filter(pk=page.pk).update(hidden=True)
        assert Page.objects.get(pk=page.pk).hidden
        with pytest.raises(Page.DoesNotExist):
            manager.get(pk=page.pk)

    def test_it_caches_though_the_queryset_class_adds_methods(self, reads: list[Outcome]) -> None:
        page = Page.plain.create(title="x")
        assert [Page.counting.get(pk=page.pk) for _ in range(2)] == [page, page]
        assert outcomes(reads) == ["miss", "hit"]
        assert list(Page.counting.shown()) == [page]

    @pytest.mark.parametrize(
        ("make", "model"),
        [
            (lambda: Tower.objects.create(height=3, bells=2), Tower),
            (lambda: Signpost.objects.create(shelf=Shelf.objects.create(name="s"), text="x"), Signpost),
        ],
    )
    def test_it_depends_on_all_rows_of_models_whose_keys_are_unusual(
        self, make: Callable[[], Any], model: Any, reads: list[Outcome]
    ) -> None:
        made = make()
        found = [model.objects.get(pk=made.pk) for _ in range(2)]
        assert [type(each) for each in found] == [model, model]
        assert found == [made, made]
        assert outcomes(reads) == ["miss", "hit"]
        assert isinstance(track(model), str)
        make()
        assert model.objects.get(pk=made.pk) == made
        assert outcomes(reads)[-1] == "miss"

    def test_it_depends_on_one_row_through_a_proxy(self, reads: list[Outcome]) -> None:
        made = ProxyItem.objects.create(name="x")
        for _ in range(2):
            assert type(ProxyItem.objects.get(pk=made.pk)) is ProxyItem
            ProxyItem.objects.create(name="y")
        assert outcomes(reads) == ["miss", "hit"]
        Item.plain.filter(pk=made.pk).update(name="z")
        assert ProxyItem.objects.get(pk=made.pk).name == "z"

    def test_it_caches_columns_of_any_type_by_key(self, reads: list[Outcome]) -> None:
        pk = Document.objects.create(content={"a": [1]}).pk
        first, second = (Document.objects.get(pk=pk) for _ in range(2))
        assert outcomes(reads) == ["miss", "hit"]
        second.content["a"].append(2)
        assert (first.content, Document.objects.get(pk=pk).content) == ({"a": [1]}, {"a": [1]})

    def test_it_sees_what_a_child_writes_into_its_parents_table(self) -> None:
        tower = Tower.objects.create(height=3, bells=2)
        assert Building.objects.get(pk=tower.pk).height == 3
        tower.height = 4
        tower.save()
        assert Building.objects.get(pk=tower.pk).height == 4
        tower.delete()
        with pytest.raises(Building.DoesNotExist):
            Building.objects.get(pk=tower.pk)

    def test_it_sees_what_a_proxy_writes(self, item: Item) -> None:
        Item.objects.get(pk=item.pk)
        ProxyItem.objects.filter(pk=item.pk).update(name="by proxy")
        assert Item.objects.get(pk=item.pk).name == "by proxy"


def test_it_watches_models_that_inherit_their_manager_from_an_abstract_one(reads: list[Outcome]) -> None:
    assert "testapp_heir" in tracked_tables()
    assert Heir in cached_models()
    heir = Heir.objects.create(name="old")
    assert [Heir.objects.get(pk=heir.pk).name for _ in range(2)] == ["old", "old"]
    assert outcomes(reads) == ["miss", "hit"]
    Heir._base_manager.filter(pk=heir.pk).update(name="new")
    assert Heir.objects.get(pk=heir.pk).name == "new"


async def _read_async(pk: int) -> Item:
    return await Item.objects.aget(pk=pk)


def test_it_reads_for_coroutines_too(item: Item, reads: list[Outcome]) -> None:
    assert [async_to_sync(_read_async)(item.pk).name for _ in range(2)] == ["one", "one"]
    assert outcomes(reads) == ["miss", "hit"]
    with pytest.raises(Item.DoesNotExist):
        async_to_sync(_read_async)(999)


class TestSettings:
    def test_it_reads_the_database_where_caching_is_off(
        self, item: Item, settings: LazySettings, reads: list[Outcome], django_assert_num_queries: Any
    ) -> None:
        Item.objects.get(pk=item.pk)
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}
        with django_assert_num_queries(1):
            Item.objects.get(pk=item.pk)
        assert reads[-1] == ("Item", "bypass", "disabled")

    def test_it_still_tells_others_of_writes_where_its_own_caching_is_off(
        self, item: Item, settings: LazySettings
    ) -> None:
        on = settings.PERFKIT
        Item.objects.get(pk=item.pk)
        store = current_store()
        settings.PERFKIT = {**on, "CACHE_ENABLED": False}
        _use_store(store)
        Item.plain.update(name="new")
        settings.PERFKIT = on
        _use_store(store)
        assert Item.objects.get(pk=item.pk).name == "new"

    def test_it_reads_the_database_on_djangos_dummy_cache(
        self, item: Item, settings: LazySettings, reads: list[Outcome], django_assert_num_queries: Any
    ) -> None:
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
        for _ in range(2):
            with django_assert_num_queries(1):
                Item.objects.get(pk=item.pk)
        item.name = "new"
        item.save()
        assert Item.objects.get(pk=item.pk).name == "new"
        assert set(outcomes(reads)) == {"bypass"}

    @pytest.mark.parametrize("ttl", [0, -1, 1.5, "60", True])
    def test_it_refuses_a_ttl_that_is_no_number_of_seconds(self, ttl: Any) -> None:
        with pytest.raises(ValueError, match="ttl is a whole number of seconds"):
            CachedManager(ttl=ttl)


def _use_store(store: stores.Store | None) -> None:
    """Keep one in-process store through a change of settings, as a server would be kept."""
    stores._stores["default"] = store


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Signpost, "its primary key is not a plain integer, text or UUID column without a collation"),
        (Tower, "it inherits its table from another model"),
    ],
)
def test_it_warns_of_models_it_cannot_cache(model: Any, reason: str) -> None:
    [warning] = [message for message in model.objects.check() if message.id == "perfkit.W101"]
    assert isinstance(warning, checks.Warning)
    assert reason in warning.msg
    assert warning.obj is model


@pytest.mark.parametrize("model", [Item, Airfield, Ticket, Sample, Page, Heir, ProxyItem, Document])
def test_it_warns_of_no_other(model: Any) -> None:
    assert isinstance(model.objects, CachedManager)
    assert model.objects.check() == []


@pytest.fixture
def collated() -> Iterator[Any]:
    """A model whose key has a collation: on SQLite one without regard to case."""
    name = "C" if connection.vendor == "postgresql" else "NOCASE"

    class Meta:
        app_label = "testapp"
        db_table = "testapp_collated"

    body = {
        "code": models.CharField(max_length=9, primary_key=True, db_collation=name),
        "name": models.CharField(max_length=9),
        "objects": CachedManager(),
        "Meta": Meta,
        "__module__": __name__,
    }
    with isolate_apps("tests.testapp"):
        model = type("Collated", (models.Model,), body)
    assert "collated" not in apps.all_models["testapp"]
    with connection.schema_editor() as editor:
        editor.create_model(model)
    yield model
    with connection.schema_editor() as editor:
        editor.delete_model(model)


def test_it_depends_on_all_rows_where_different_texts_may_be_equal_keys(
    collated: Any, reads: list[Outcome]
) -> None:
    key = "jfk" if connection.vendor == "postgresql" else "JFK"
    collated.objects.create(code="jfk", name="old")
    assert collated.objects.get(pk=key).name == "old"
    collated.objects.filter(pk="jfk").update(name="new")
    assert collated.objects.get(pk=key).name == "new"
    assert outcomes(reads) == ["miss", "miss"], "any write to the table is one to the row"
