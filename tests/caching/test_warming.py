from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.db import connection

from perfkit.caching import coherence, warm, warmer, warming
from perfkit.caching.databases import tag_scope
from perfkit.caching.store import current_store
from perfkit.caching.tags import row_tag, table_tag
from perfkit.errors import UnknownWarmerError, UnsupportedModelError
from tests.caching.conftest import Outcome, wait_until
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Airfield, Item, ItemNote, Signpost

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def warmers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The project's warmers out of the way, and two of our own."""
    warming.registered()
    mine = {
        "airfields": Airfield.plain.all,
        "items": lambda: Item.plain.filter(count__gt=0),
    }
    monkeypatch.setattr(warming, "_warmers", mine)
    return mine


@pytest.fixture
def items() -> list[Item]:
    return Item.plain.bulk_create(Item(name=f"item {number}", count=number % 4) for number in range(1200))


def hits(reads: list[Outcome], items: list[Item]) -> int:
    reads.clear()
    for item in items:
        assert Item.objects.get(pk=item.pk).name == item.name
    return sum(outcome == "hit" for _, outcome, _ in reads)


def test_it_fills_what_its_warmers_select(items: list[Item], reads: list[Outcome]) -> None:
    Airfield.plain.create(code="JFK", name="Kennedy")
    airfields, some = warm()
    assert (airfields.name, airfields.rows, airfields.entries, airfields.error) == ("airfields", 1, 1, "")
    assert (some.name, some.rows, some.entries, some.error) == ("items", 900, 900, "")
    assert some.seconds > 0
    assert hits(reads, [item for item in items if item.count]) == 900
    assert hits(reads, [item for item in items if not item.count]) == 0


def test_it_needs_few_queries(items: list[Item], django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(4):
        warm(["items"])


def test_it_only_counts_in_a_dry_run(items: list[Item], reads: list[Outcome]) -> None:
    [result] = warm(["items"], dry_run=True)
    assert (result.rows, result.entries) == (900, 900)
    assert hits(reads, items[:9]) == 0


def test_it_can_be_run_again(items: list[Item], reads: list[Outcome]) -> None:
    assert [warm(["items"])[0].entries for _ in range(2)] == [900, 900]
    assert hits(reads, [items[1]]) == 1


def test_it_tells_how_far_it_is(items: list[Item]) -> None:
    told: list[tuple[str, int, int]] = []
    warm(["items"], progress=lambda *args: told.append(args))
    assert told == [("items", 500, 900), ("items", 900, 900)]


def test_it_runs_those_that_were_named_in_their_order() -> None:
    assert [result.name for result in warm(["items", "airfields"])] == ["items", "airfields"]


def test_it_leaves_out_rows_that_are_being_written(items: list[Item], reads: list[Outcome]) -> None:
    store = current_store()
    assert store is not None
    busy = [item for item in items if item.count][:3]
    tags = [row_tag(tag_scope(connection), "testapp_item", item.pk) for item in busy]
    store.mark(tags, writer="0a")
    [result] = warm(["items"])
    assert (result.rows, result.entries, result.error) == (900, 897, "")
    store.done(tags, writer="0a")
    assert hits(reads, busy) == 0
    store.mark([table_tag(tag_scope(connection), "testapp_item")], writer="0b")
    assert warm(["items"])[0].entries == 0


def test_it_fills_nothing_that_was_written_meanwhile(
    items: list[Item], reads: list[Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its SELECT and its fill everything changes."""
    select = warming.select_rows

    def select_and_write(*args: Any) -> Any:
        rows = select(*args)
        Item.plain.filter(pk__in=list(rows)).update(name="new")
        return rows

    monkeypatch.setattr(warming, "select_rows", select_and_write)
    warm(["items"])
    item = next(item for item in items if item.count)
    assert Item.objects.get(pk=item.pk).name == "new"
    assert reads[-1][1] == "miss"


def test_it_refuses_a_name_nobody_registered(items: list[Item], reads: list[Outcome]) -> None:
    with pytest.raises(UnknownWarmerError, match=r"There is no warmer 'item'\. Did you mean 'items'\?"):
        warm(["items", "item"])
    assert hits(reads, items[:9]) == 0, "nothing was warmed"


@pytest.mark.parametrize("model", [ItemNote, Signpost])
def test_it_refuses_a_model_that_no_cached_read_would_find(model: Any, warmers: dict[str, Any]) -> None:
    warmers["wrong"] = model.objects.all
    with pytest.raises(UnsupportedModelError, match="warm_cache cannot serve testapp"):
        warm(["wrong"])


def test_it_refuses_two_functions_of_one_name() -> None:
    @warmer("mine")
    def first() -> Any: ...

    assert warmer("mine")(first) is first
    with pytest.raises(ValueError, match="two warmers 'mine'"):

        @warmer("mine")
        def second() -> Any: ...


def test_it_runs_the_others_where_one_cannot_read_the_database(
    items: list[Item], warmers: dict[str, Any]
) -> None:
    warmers["broken"] = lambda: Item.plain.extra(where=["no_such_column = 1"])
    broken, good = warm(["broken", "items"])
    assert "no_such_column" in broken.error
    assert (good.entries, good.error) == (900, "")


def test_it_says_where_caching_is_off(items: list[Item], settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}
    assert warm(["items"])[0].error == "the cache cannot be filled: disabled"


@pytest.mark.redis
class TestOutage:
    @pytest.fixture
    def server(
        self, valkey_server: Callable[[], DisposableValkey], settings: LazySettings
    ) -> DisposableValkey:
        server = valkey_server()
        settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
        return server

    def test_it_says_that_the_server_does_not_answer(
        self, server: DisposableValkey, items: list[Item]
    ) -> None:
        Airfield.plain.create(code="JFK", name="Kennedy")
        server.kill()
        results = warm()
        assert all(result.entries == 0 and result.error for result in results)

    def test_it_stops_where_the_server_goes_meanwhile(
        self, server: DisposableValkey, items: list[Item]
    ) -> None:
        [result] = warm(["items"], progress=lambda name, done, rows: server.kill() if done == 500 else None)
        assert result.entries == 500
        assert result.error

    def test_it_fills_everything_as_soon_as_the_server_is_back(
        self, server: DisposableValkey, items: list[Item]
    ) -> None:
        """Nothing else reads in this process, so warming itself must find out."""
        server.kill()
        assert warm(["items"])[0].error
        server.start()
        wait_until(lambda: warm(["items"])[0].entries == 900)
        assert not coherence.breaker.is_open
        assert warm(["items"])[0].error == ""


class TestCommand:
    def run(self, capsys: pytest.CaptureFixture[str], *args: str, **kwargs: Any) -> list[list[str]]:
        call_command("warm_cache", *args, **kwargs)
        return [line.split() for line in capsys.readouterr().out.splitlines()]

    def test_it_prints_one_line_a_warmer(self, items: list[Item], capsys: pytest.CaptureFixture[str]) -> None:
        header, airfields, some = self.run(capsys)
        assert header == ["warmer", "rows", "stored", "seconds"]
        assert airfields[:3] == ["airfields", "0", "0"]
        assert some[:3] == ["items", "900", "900"]

    def test_it_prints_what_it_would_store(
        self, items: list[Item], capsys: pytest.CaptureFixture[str], reads: list[Outcome]
    ) -> None:
        header, some = self.run(capsys, "items", "--dry-run")
        assert header[2:4] == ["would", "store"]
        assert some[:3] == ["items", "900", "900"]
        assert hits(reads, items[:9]) == 0

    def test_it_is_silent_when_told_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.run(capsys, verbosity=0) == []

    def test_it_fails_for_an_unknown_name(self) -> None:
        with pytest.raises(CommandError, match=r"There is no warmer 'itms'\. Did you mean 'items'\?"):
            call_command("warm_cache", "itms")

    def test_it_fails_where_a_warmer_did(
        self, settings: LazySettings, items: list[Item], capsys: pytest.CaptureFixture[str]
    ) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}
        with pytest.raises(CommandError, match="items: the cache cannot be filled"):
            call_command("warm_cache", "items")
        assert "items" in capsys.readouterr().out

    def test_it_says_where_there_are_no_warmers(
        self, warmers: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        warmers.clear()
        call_command("warm_cache")
        assert "No warmers are registered" in capsys.readouterr().out
