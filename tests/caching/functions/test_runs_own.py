"""What one request or task has of its own is in no value that others are shown."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.caching import cached
from perfkit.loading import DataLoader, get_or_load, identity_map, watch_n_plus_one
from perfkit.loading.guard.current import current as current_watch
from perfkit.loading.identity_scope import current_map
from perfkit.monitoring.work import current_work, measured
from tests.caching.conftest import wait_until
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True)


@cached("own:loaded:{pk}")
def loaded_name(pk: int) -> str:
    return get_or_load(Item, pk).name


@cached("own:outer:{pk}")
def outer_name(pk: int) -> str:
    return f"{get_or_load(Item, pk).name} {loaded_name(pk)}"


@cached("own:writing:{pk}")
def written_name(pk: int) -> str:
    Item.plain.filter(pk=pk).update(name="written")
    return get_or_load(Item, pk).name


class TestIdentityMap:
    @pytest.mark.parametrize("read", [loaded_name, outer_name])
    def test_what_the_code_has_set_on_an_instance_is_shown_to_nobody(self, read: Any) -> None:
        item = Item.objects.create(name="a")
        with identity_map():
            mine = get_or_load(Item, item.pk)
            mine.name = "not saved"
            assert "not saved" not in read(item.pk)
            assert get_or_load(Item, item.pk) is mine
        assert read(item.pk) == read.uncached(item.pk)

    @pytest.mark.parametrize("read", [loaded_name, outer_name])
    def test_a_value_depends_on_rows_that_the_map_knew(self, read: Any) -> None:
        item = Item.objects.create(name="a")
        with identity_map():
            get_or_load(Item, item.pk)
            read(item.pk)
        Item.plain.filter(pk=item.pk).update(name="b")
        assert read(item.pk) == read.uncached(item.pk)
        assert "b" in read(item.pk)

    def test_the_map_forgets_what_is_written_while_a_value_is_made(self) -> None:
        item = Item.objects.create(name="a")
        with identity_map():
            assert get_or_load(Item, item.pk).name == "a"
            assert written_name(item.pk) == "written"
            assert get_or_load(Item, item.pk).name == "written"

    def test_a_making_keeps_one_instance_of_a_row(self) -> None:
        item = Item.objects.create(name="a")

        @cached("own:same:{pk}")
        def is_same(pk: int) -> bool:
            return get_or_load(Item, pk) is get_or_load(Item, pk)

        with identity_map():
            assert is_same(item.pk)
            assert current_map() is not None
        assert current_map() is None

    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(steps=st.lists(st.sampled_from(["load", "set", "write", "read", "outer", "leave"]), max_size=12))
    def test_whatever_is_done_in_maps_a_value_is_as_the_database_has_it(self, steps: list[str]) -> None:
        item = Item.objects.create(name="0")
        scope = identity_map()
        scope.__enter__()
        try:
            for number, step in enumerate(steps):
                if step == "load":
                    get_or_load(Item, item.pk)
                elif step == "set":
                    get_or_load(Item, item.pk).name = f"not saved {number}"
                elif step == "write":
                    Item.plain.filter(pk=item.pk).update(name=str(number))
                elif step == "leave":
                    scope.__exit__(None, None, None)
                    scope = identity_map()
                    scope.__enter__()
                else:
                    read = loaded_name if step == "read" else outer_name
                    stored = Item.plain.values_list("name", flat=True).get(pk=item.pk)
                    assert read(item.pk) == (stored if step == "read" else f"{stored} {stored}")
        finally:
            scope.__exit__(None, None, None)


class TestDataLoader:
    @pytest.fixture(autouse=True)
    def _connections(self) -> Any:
        yield
        connection.close()

    @pytest.mark.parametrize("first", ["cached", "plain"])
    def test_each_value_depends_on_what_its_loader_reads(self, first: str) -> None:
        first_item, second_item = (Item.objects.create(name=name) for name in "ab")
        loaders: list[DataLoader[Item]] = []
        gate: list[asyncio.Event] = []

        @cached("own:gated:{pk}")
        async def gated(pk: int) -> str:
            await gate[-1].wait()  # all ask in one turn of the loop
            row = await loaders[-1].load(pk)
            assert row is not None
            return row.name

        async def together() -> list[str]:
            loaders.append(DataLoader(Item))
            gate.append(asyncio.Event())
            ask = gated if first == "cached" else gated.uncached
            asked = [asyncio.ensure_future(each) for each in (ask(first_item.pk), gated(second_item.pk))]
            asyncio.get_running_loop().call_later(0.3, gate[-1].set)
            return list(await asyncio.gather(*asked))

        assert async_to_sync(together)() == ["a", "b"]
        Item.plain.filter(pk=first_item.pk).update(name="A")
        Item.plain.filter(pk=second_item.pk).update(name="B")
        assert async_to_sync(together)() == ["A", "B"]


def test_what_is_made_anew_in_the_background_is_no_part_of_who_has_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("perfkit.caching.named.making.REFRESH_SHARE", 0.9)
    item = Item.objects.create(name="a")
    found: list[tuple[Any, ...]] = []

    @cached("own:ahead:{pk}", ttl=10, refresh_ahead=True)
    def ahead(pk: int) -> str:
        found.append((current_work(), current_watch.get(), current_map()))
        return get_or_load(Item, pk).name

    ahead(item.pk)
    time.sleep(1.1)
    with measured("request") as request, identity_map(), watch_n_plus_one():
        get_or_load(Item, item.pk).name = "not saved"
        queries = request.queries
        ahead(item.pk)
        wait_until(lambda: len(found) == 2)
        assert request.queries == queries
    assert found[1] == (None, None, None)
    wait_until(lambda: ahead(item.pk) == "a")
