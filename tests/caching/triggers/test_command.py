from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from perfkit.models import PendingInvalidation
from tests.caching.triggers.test_tables import triggers
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True)

REDIS = "django_redis.cache.RedisCache"
LOCMEM = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}


def said(*arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("perfkit_triggers", *arguments, stdout=out, stderr=out, **options)
    return out.getvalue()


@pytest.mark.skipif(connection.vendor == "postgresql", reason="PostgreSQL can")
@pytest.mark.parametrize("action", ["install", "remove", "status"])
def test_it_refuses_sqlite_and_says_why(action: str) -> None:
    with pytest.raises(
        CommandError, match=r"'default' is not PostgreSQL\. SQLite's triggers run for each row"
    ):
        said(action, "testapp.Item")


@pytest.mark.parametrize("action", ["install", "remove"])
def test_it_wants_to_know_which_models(action: str) -> None:
    with pytest.raises(CommandError, match="Name models"):
        said(action)
    with pytest.raises(CommandError, match="not both"):
        said(action, "testapp.Item", "--all")


def test_it_names_the_nearest_model() -> None:
    with pytest.raises(CommandError, match=r"Did you mean 'testapp\.Item'\?"):
        said("install", "testapp.Itm")


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan", "1e9"])
def test_it_refuses_a_wait_that_is_none(seconds: str) -> None:
    with pytest.raises(CommandError, match="lock-timeout"):
        said("install", "testapp.Item", "--lock-timeout", seconds)


@pytest.mark.postgres
class TestOnPostgres:
    @pytest.fixture(autouse=True)
    def removed(self, install: Callable[..., Any]) -> None:
        """Whatever a test installs is gone with it."""

    def test_it_installs_shows_and_removes(self, outside: psycopg.Connection) -> None:
        assert said("status") == "No table of a cached model has triggers.\n"
        assert said("install", "testapp.Booking") == "public.testapp_booking: installed\n"
        assert said("install", "testapp.Booking") == "public.testapp_booking: unchanged\n"
        assert said("status") == "public.testapp_booking: installed\n"
        assert said("status", "testapp.Shelf") == "public.testapp_shelf: no triggers\n"
        assert "public.testapp_shelf: no triggers\n" in said("status", "--all")
        assert said("remove", "testapp.Booking") == "public.testapp_booking: removed\n"
        assert said("remove", "testapp.Booking") == "There were no triggers.\n"
        assert triggers(outside) == []

    def test_it_installs_them_for_all_models_that_can_have_them(self, outside: psycopg.Connection) -> None:
        told = said("install", "--all")
        assert "public.testapp_booking: installed\n" in told
        assert (
            "testapp.ReadingSum has no table testapp_readingsum in this database. It was left out.\n" in told
        )
        assert len(told.splitlines()) == len(set(told.splitlines()))
        said("status")
        said("remove", "--all")
        assert said("status") == "No table of a cached model has triggers.\n"

    def test_it_exits_with_1_where_triggers_are_not_as_they_should_be(
        self, outside: psycopg.Connection
    ) -> None:
        said("install", "testapp.Booking")
        outside.execute("ALTER TABLE testapp_booking DISABLE TRIGGER perfkit_outside_insert")
        out = io.StringIO()
        with pytest.raises(CommandError, match="perfkit_triggers install"):
            call_command("perfkit_triggers", "status", stdout=out)
        assert out.getvalue() == "public.testapp_booking: the trigger for INSERT is disabled\n"

    def test_it_tells_how_much_waits_for_a_reader(self, outside: psycopg.Connection) -> None:
        said("install", "testapp.Booking")
        PendingInvalidation.objects.all().delete()
        for _ in range(3):
            outside.execute("INSERT INTO testapp_booking (name, is_paid) VALUES ('x', true)")
        assert "3 wait in the outbox since 2" in said("status")

    @pytest.mark.redis
    def test_it_takes_out_what_waits(self, outside: psycopg.Connection) -> None:
        said("install", "testapp.Item")
        item = Item.plain.create(name="old")
        said("drain")
        assert [Item.objects.get(pk=item.pk).name for _ in range(2)] == ["old", "old"]
        outside.execute("UPDATE testapp_item SET name = 'new'")
        assert said("drain") == "1 taken out of the outbox.\n"
        assert Item.objects.get(pk=item.pk).name == "new", "before the second is over"
        assert said("drain") == "0 taken out of the outbox.\n"

    def test_it_takes_nothing_out_where_nobody_can_be_told(self, settings: Any) -> None:
        settings.CACHES = LOCMEM
        with pytest.raises(CommandError, match="there is nobody to tell"):
            said("drain")
        Item.plain.create(name="old")
        said("install", "testapp.Item")
        Item.plain.update(name="new")
        settings.CACHES = {"default": {"BACKEND": REDIS, "LOCATION": "redis://127.0.0.1:1/0"}}
        with pytest.raises(CommandError, match="could not be told"):
            said("drain")

    def test_it_warns_where_nobody_looks_into_the_outbox(self, settings: Any) -> None:
        settings.CACHES = LOCMEM
        assert "nobody looks into the outbox" in said("install", "testapp.Booking")

    def test_it_says_what_the_database_refuses(self, outside: psycopg.Connection) -> None:
        with outside.transaction():
            outside.execute("LOCK TABLE testapp_booking IN ROW EXCLUSIVE MODE")
            with pytest.raises(CommandError, match=r"testapp_booking .* within 0\.1 s"):
                said("install", "testapp.Booking", "--lock-timeout", "0.1")
