"""`manage.py perfkit_cache`: it says what is true, and its exit code too."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
import redis
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.db import connection

from perfkit.caching import cache
from perfkit.caching.databases import tag_scope
from perfkit.caching.store import current_store, forget_store
from perfkit.caching.store.local import LocalStore
from perfkit.caching.tags import any_write_tag, row_tag, table_tag
from perfkit.models import PendingInvalidation
from perfkit.signals import cache_read
from tests.caching.test_counting import Function
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("counted")]


def run(*arguments: Any) -> str:
    out = io.StringIO()
    call_command("perfkit_cache", *map(str, arguments), stdout=out, stderr=io.StringIO())
    return out.getvalue()


def states(text: str) -> dict[str, str]:
    """Return how the tags stand, by tag."""
    return {tag: state for state, tag in re.findall(r"^tag +(.+?)  +(.+)$", text, re.MULTILINE)}


class TestStats:
    def test_it_prints_a_table(self) -> None:
        for outcome, times in (("hit", 1234), ("miss", 100)):
            for _ in range(times):
                cache_read.send(sender=Item, outcome=outcome, reason="")
        long = f"shop.{'x' * 90}"
        cache_read.send(sender=Function(long), outcome="bypass", reason="size")
        text = run("stats")
        lines = text.splitlines()
        assert lines[0].startswith("Cached reads since 20")
        table = lines[2:6]
        assert len({len(line) for line in table}) == 1, "columns stand below each other"
        assert [line.split() for line in table] == [
            ["model", "or", "function", "hits", "misses", "hit", "rate", "bypasses"],
            ["testapp.Item", "1,234", "100", "92.5%", "0"],
            [long, "0", "0", "-", "1"],
            ["all", "1,234", "100", "92.5%", "1"],
        ]
        assert re.search(r"^size +1$", text, re.MULTILINE)
        assert "outages   0 noticed by processes" in text
        assert "evicted   0 keys" in text
        assert "own keys" not in text
        assert "own keys" in run("stats", "--keys")

    def test_it_prints_json(self) -> None:
        cache_read.send(sender=Item, outcome="hit", reason="")
        told = json.loads(run("stats", "--json", "--window", "day"))
        assert told["window"] == "day"
        assert told["labels"] == [
            {
                "label": "testapp.Item",
                "hits": 1,
                "misses": 0,
                "hit_rate": 1.0,
                "bypassed": 0,
                "bypasses": {},
                "refused_for_size": 0,
            }
        ]
        assert told["total"]["hit_rate"] == 1.0
        assert told["store"]["evicted"] == 0

    def test_it_says_where_nothing_was_counted(self) -> None:
        assert "None were counted." in run("stats")

    @pytest.mark.redis
    def test_it_fails_where_the_server_is_down(self, server: DisposableValkey, counted: None) -> None:
        cache_read.send(sender=Item, outcome="hit", reason="")
        server.kill()
        out = io.StringIO()
        with pytest.raises(CommandError, match="Figures of other processes are missing"):
            call_command("perfkit_cache", "stats", stdout=out, stderr=io.StringIO())
        assert "testapp.Item" in out.getvalue()


class TestInspect:
    def test_it_shows_a_row(self) -> None:
        made = Item.plain.create(name="secret")
        scope = tag_scope(connection)
        tags = [row_tag(scope, "testapp_item", made.pk), table_tag(scope, "testapp_item")]
        assert "stored    no" in run("inspect", "testapp.Item", made.pk)

        Item.objects.get(pk=made.pk)
        text = run("inspect", "testapp.item", made.pk)
        assert re.search(r"^stored    1 row, \d+ bytes, (599|600) s left$", text, re.MULTILINE)
        assert "holds     yes" in text
        assert states(text) == dict.fromkeys(tags, "holds")
        assert "secret" not in text
        assert f"id={made.pk}, name='secret', count=0" in run("inspect", "testapp.Item", made.pk, "--values")

        store = current_store()
        assert store is not None
        store.void(tags[:1])
        text = run("inspect", "testapp.Item", made.pk)
        assert "holds     no" in text
        assert states(text) == {tags[0]: "written since", tags[1]: "holds"}
        store.mark(tags[1:], writer="0a")
        assert states(run("inspect", "testapp.Item", made.pk))[tags[1]] == "being written"

    def test_it_shows_that_a_row_is_known_to_be_absent(self) -> None:
        Item.objects.filter(pk=77).first()
        assert not list(Item.objects.filter(pk=77))
        with pytest.raises(Item.DoesNotExist):
            Item.objects.get(pk=77)
        text = run("inspect", "testapp.Item", 77)
        assert "stored    0 rows" in text
        assert any_write_tag(tag_scope(connection), "testapp_item") in states(text)

    @pytest.mark.redis
    def test_it_shows_a_key_with_or_without_its_prefix(self, redis_url: str) -> None:
        made = Item.plain.create(name="one")
        for _ in range(2):
            Item.objects.get(pk=made.pk)
            list(Item.objects.filter(name="one"))
        scope = tag_scope(connection)
        with redis.Redis.from_url(redis_url) as client:
            keys = [key.decode() for key in client.scan_iter("perfkit:*")]
        [entry] = [key for key in keys if ":e:" in key and "testapp_item" in key]
        [query] = [key for key in keys if ":q:" in key]
        assert run("inspect", entry) == run("inspect", entry.split(":", 2)[2])
        assert "holds     yes" in run("inspect", entry)
        assert set(states(run("inspect", entry))) == {
            row_tag(scope, "testapp_item", made.pk),
            table_tag(scope, "testapp_item"),
        }
        text = run("inspect", query, "--values")
        assert "holds     yes" in text
        assert "'one'" in text
        assert set(states(text).values()) == {"holds"}
        [tag] = [key for key in keys if ":a:" in key and "testapp_item" in key]
        assert list(states(run("inspect", tag)).values()) == ["kept"]

        Item.plain.filter(pk=made.pk).update(name="two")
        text = run("inspect", query)
        assert "holds     no" in text
        assert states(text) == {"(which one, cannot be told)": "unknown"}
        with redis.Redis.from_url(redis_url) as client:
            client.set(query, b"garbage")
        assert "7 bytes that are no answer" in run("inspect", query, "--values")

    def test_it_shows_the_first_rows_alone(self, settings: LazySettings) -> None:
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
        forget_store()
        Item.plain.bulk_create([Item(name=f"{n} \x1b[31m") for n in range(8)])
        list(Item.objects.order_by("id"))
        store = current_store()
        assert isinstance(store, LocalStore)
        [key] = store._entries
        text = run("inspect", key, "--values")
        assert text.count("row  ") == 6
        assert "… and 3 more" in text
        assert "\x1b" not in text

    def test_it_shows_the_tags_of_a_model_and_of_people(self) -> None:
        text = run("inspect", "testapp.Item")
        assert "model     testapp.Item" in text
        assert set(states(text).values()) == {"none"}
        list(Item.objects.all())
        assert any_write_tag(tag_scope(connection), "testapp_item") in [
            tag for tag, state in states(run("inspect", "testapp.Item")).items() if state == "kept"
        ]
        assert states(run("inspect", "tag:prices")) == {"t:prices": "none"}
        assert states(run("inspect", "key:shop.top")) == {"k:shop.top": "none"}
        assert run("inspect", "t:a\x1b[31mb") == "tag       none  t:a�[31mb\n"

    def test_it_shows_what_is_kept_under_a_name(self) -> None:
        cache.set("shop:top", [1, 2], tags=["prices"])
        store = current_store()
        assert store is not None
        [[key]] = [keys for keys in store.find("v:*") if keys]
        text = run("inspect", key)
        assert re.search(r"^stored    a value, \d+ bytes$", text, re.MULTILINE)
        assert "holds     yes" in text
        assert {"k:shop:top", "n:shop", "n:", "t:prices"} <= set(states(text))
        run("invalidate", "tag:prices")
        text = run("inspect", key)
        assert "holds     no" in text
        assert states(text)["t:prices"] == "written since"
        assert cache.get("shop:top") is None

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (("testapp.Itm",), "Did you mean 'testapp.Item'?"),
            (("testapp.Itm", 1), "Did you mean 'testapp.Item'?"),
            (("tag:a", 1), "is no model"),
            (("testapp.Item", "seven"), "'seven' is no primary key of testapp.Item."),
            (("testapp.ItemNote", 1), "it has no CachedManager"),
            (("testapp.Signpost", 1), "its primary key is not a plain"),
        ],
    )
    def test_it_says_what_is_wrong(self, arguments: tuple[Any, ...], problem: str) -> None:
        with pytest.raises(CommandError, match=re.escape(problem)):
            run("inspect", *arguments)

    @pytest.mark.redis
    def test_it_fails_where_the_server_is_down(self, server: DisposableValkey) -> None:
        server.kill()
        for arguments in (("tag:a",), ("testapp.Item", 1), ("e:a:b:c:1",)):
            with pytest.raises(CommandError, match="The cache cannot be reached"):
                run("inspect", *arguments)


class TestInvalidate:
    def test_it_voids_what_is_named(self, outdated_item: Item) -> None:
        assert run("invalidate", "testapp.Item", "tag:prices") == "testapp.Item, tag:prices: voided.\n"
        assert Item.objects.get(pk=outdated_item.pk).name == "new"

    def test_a_wrong_name_voids_nothing(self, outdated_item: Item) -> None:
        with pytest.raises(CommandError, match=r"'testapp\.Item'"):
            run("invalidate", "testapp.Item", "testapp.Itm")
        assert Item.objects.get(pk=outdated_item.pk).name == "old"

    def test_it_asks_before_it_voids_everything(
        self,
        outdated_item: Item,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
        with pytest.raises(CommandError, match="Nothing was voided"):
            run("invalidate", "--all")
        monkeypatch.setattr("sys.stdin", io.StringIO())
        with pytest.raises(CommandError, match="--noinput"):
            run("invalidate", "--all")
        assert Item.objects.get(pk=outdated_item.pk).name == "old"
        assert run("invalidate", "--all", "--noinput") == "Everything: voided.\n"
        assert Item.objects.get(pk=outdated_item.pk).name == "new"

    @pytest.mark.parametrize("arguments", [(), ("--all", "testapp.Item")])
    def test_it_wants_names_or_all(self, arguments: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match="or give --all"):
            run("invalidate", *arguments)

    @pytest.mark.redis
    @pytest.mark.postgres
    def test_it_says_that_it_waits_in_the_outbox(self, server: DisposableValkey) -> None:
        server.kill()
        assert "testapp.Item: left in the outbox of default" in run("invalidate", "testapp.Item")
        assert "Everything: left in the outbox of default" in run("invalidate", "--all", "--noinput")
        assert PendingInvalidation.objects.count() == 2


def test_it_needs_a_cache(settings: LazySettings) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    forget_store()
    with pytest.raises(CommandError, match="There is no cache"):
        run("stats")


def test_it_says_whose_store_it_looks_into(settings: LazySettings) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    forget_store()
    errors = io.StringIO()
    call_command("perfkit_cache", "stats", stdout=io.StringIO(), stderr=errors)
    assert "inside each process" in errors.getvalue()
