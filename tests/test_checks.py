from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django import forms
from django.conf import settings
from django.contrib import admin
from django.core import checks
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection, connections, models
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import override_settings
from django.urls import include, path

from perfkit.admin import ImportExportMixin, LargeTableAdmin
from perfkit.caching.triggers import install_triggers
from perfkit.checks import (
    FINDINGS,
    JOB_EMAIL_BACKEND,
    SUPPORTED_BACKENDS,
    TAG,
    check_connections,
    check_poolers,
    check_triggers,
)
from perfkit.conf import table
from perfkit.loading import needs
from perfkit.postgres import database_settings
from project.celery import app
from tests.testapp import jobs
from tests.testapp.admin import BoxedAdmin
from tests.testapp.caching import Item
from tests.testapp.imported import Boxed, Parcel, Ware
from tests.testapp.large import Tome

LOCMEM = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
HERE = "tests.test_checks"


class OwnLocMemCache(LocMemCache):
    """What a project writes that adds something to a supported back end."""


class WithoutDjangoRedis:
    """An import system like that of an environment without the package."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "django_redis":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def no_class() -> None:
    """What CACHES cannot use."""


def found(*, deploy: bool = False, databases: list[str] | None = None) -> list[checks.CheckMessage]:
    tags = [TAG, *([checks.Tags.database] if databases else [])]
    return checks.run_checks(tags=tags, include_deployment_checks=deploy, databases=databases)


def deployed() -> list[checks.CheckMessage]:
    """Return what is found with --deploy, but for the open page of metrics, which the demo has on Django 6.1."""
    return [each for each in found(deploy=True) if each.id != "perfkit.W703"]


def only(messages: list[checks.CheckMessage]) -> checks.CheckMessage:
    (message,) = messages
    return message


def cached_in(backend: str, **cache: Any) -> override_settings:
    return override_settings(CACHES={"default": {"BACKEND": backend, **cache}}, PERFKIT={})


def python(code: str, **variables: str) -> str:
    """Run `code` in a fresh interpreter, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def _tasks_go_to_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the demo's tasks be sent, and not to where the cache is, as on a site that is deployed."""
    monkeypatch.setitem(app.conf, "task_always_eager", False)
    monkeypatch.setitem(app.conf, "broker_url", "redis://127.0.0.1:1/0")


def test_it_finds_nothing_in_the_settings_of_the_tests() -> None:
    assert [message for message in found() if message.is_serious(checks.WARNING)] == []


@pytest.mark.parametrize("identity", FINDINGS)
def test_it_has_a_test_for_each_id(identity: str) -> None:
    here = Path(__file__)
    tests = here.read_text("utf-8")
    of_celery = (here.parent / "tasks" / "test_auditing.py").read_text("utf-8")
    assert f'== "{identity}"' in tests or f'("{identity}", ' in tests or f'"{identity}"' in of_celery


class TestSettings:
    @override_settings(PERFKIT=["CACHE_ENABLED"])
    def test_it_finds_that_the_setting_is_no_dict(self) -> None:
        message = only(found())
        assert message.id == "perfkit.E001"
        assert message.msg == "PERFKIT must be a dict, not list."

    @override_settings(PERFKIT={"CACHE_DEFAULT_TLL": 60})
    def test_it_names_the_nearest_right_key(self) -> None:
        message = only(found())
        assert message.id == "perfkit.E002"
        assert message.msg == "PERFKIT has no option 'CACHE_DEFAULT_TLL'."
        assert message.hint == "Did you mean 'CACHE_DEFAULT_TTL'?"

    @override_settings(PERFKIT={"cache_enabled": False})
    def test_it_names_the_right_key_of_one_in_small_letters(self) -> None:
        assert only(found()).hint == "Did you mean 'CACHE_ENABLED'?"

    @override_settings(PERFKIT={5: 60})
    def test_it_lists_the_options_where_no_key_is_near(self) -> None:
        message = only(found())
        assert message.id == "perfkit.E002"
        assert all(name in message.hint for name in table())

    @override_settings(PERFKIT={"CACHE_DEFAULT_TTL": "60"})
    def test_it_finds_a_value_of_the_wrong_type(self) -> None:
        message = only(found())
        assert message.id == "perfkit.E003"
        assert message.msg == "PERFKIT['CACHE_DEFAULT_TTL'] must be int, not str."
        assert message.hint.endswith("The default is 1800.")

    @override_settings(PERFKIT={"CACHE_DEFAULT_TTL": 0})
    def test_it_finds_a_value_out_of_range(self) -> None:
        message = only(found())
        assert (message.id, message.msg) == (
            "perfkit.E003",
            "PERFKIT['CACHE_DEFAULT_TTL'] must be at least 1, not 0.",
        )

    @override_settings(PERFKIT={"CACHE_OUTAGE_WRITES": "hope"})
    def test_it_finds_a_value_that_is_no_choice(self) -> None:
        message = only(found())
        assert message.id == "perfkit.E003"
        assert "'bounded', 'wait', 'refuse'" in message.msg

    @override_settings(PERFKIT={"CACHE_ALIAS": 1, "CACHE_ENABLED": "no", "TTL": 1})
    def test_it_finds_all_that_is_wrong_at_once(self) -> None:
        assert sorted(message.id for message in found()) == ["perfkit.E002", "perfkit.E003", "perfkit.E003"]

    @override_settings(PERFKIT={"CACHE_DEFAULT_TTL": 0})
    def test_it_stops_manage_py(self) -> None:
        with pytest.raises(SystemCheckError, match=r"perfkit\.E003"):
            call_command("check", tags=[TAG])


class TestCache:
    @override_settings(PERFKIT={"CACHE_ALIAS": "defautl"})
    def test_it_finds_an_alias_that_caches_does_not_have(self) -> None:
        message = only(found())
        assert message.id == "perfkit.E004"
        assert message.hint == "Did you mean 'default'?"

    @pytest.mark.parametrize("backend", [*SUPPORTED_BACKENDS, f"{HERE}.OwnLocMemCache"])
    def test_it_takes_each_supported_back_end_and_a_subclass(self, backend: str) -> None:
        with cached_in(backend):
            assert found() == []

    @pytest.mark.parametrize(
        "backend",
        [
            "django.core.cache.backends.db.DatabaseCache",
            "django.core.cache.backends.redis.RedisCache",
            f"{HERE}.no_class",
            f"{HERE}.Missing",
            "there.is.no.such.Module",
            "",
        ],
    )
    def test_it_refuses_any_other_back_end_and_says_what_to_use(self, backend: str) -> None:
        with cached_in(backend):
            message = only(found())
        assert message.id == "perfkit.E005"
        assert backend in message.msg
        assert all(supported in message.hint for supported in SUPPORTED_BACKENDS)

    def test_it_finds_that_django_redis_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in [name for name in sys.modules if name.partition(".")[0] == "django_redis"]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setattr(sys, "meta_path", [WithoutDjangoRedis(), *sys.meta_path])
        with cached_in("django_redis.cache.RedisCache"):
            message = only(found())
        assert message.id == "perfkit.E006"
        assert "django-perfkit[redis]" in message.hint

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"CLIENT_CLASS": "django_redis.client.ShardClient"}, "ShardClient"),
            ({"REDIS_CLIENT_CLASS": "redis.cluster.RedisCluster"}, "REDIS_CLIENT_CLASS"),
            ({"REDIS_CLIENT_CLASS": "redis.asyncio.Redis"}, "redis.asyncio.Redis"),
            ({"REDIS_CLIENT_CLASS": "there.is.no.such.Class"}, "cannot be imported"),
        ],
    )
    def test_it_refuses_ways_to_servers_on_which_it_cannot_keep_its_promise(
        self, options: dict[str, str], told: str
    ) -> None:
        with cached_in("django_redis.cache.RedisCache", OPTIONS=options):
            message = only(found())
        assert message.id == "perfkit.E008"
        assert told in message.msg

    @pytest.mark.parametrize(
        "options",
        [
            {"CONNECTION_FACTORY": "perfkit.caching.ClusterConnectionFactory"},
            {"CLIENT_CLASS": "django_redis.client.SentinelClient", "SENTINELS": [("localhost", 26379)]},
            {"CLIENT_CLASS": "django_redis.client.HerdClient"},
        ],
    )
    def test_it_takes_clusters_sentinels_and_single_servers(self, options: dict[str, Any]) -> None:
        with cached_in("django_redis.cache.RedisCache", OPTIONS=options):
            assert found() == []

    @override_settings(
        PERFKIT={"CACHE_ENABLED": False},
        CACHES={"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "x"}},
    )
    def test_it_does_not_mind_the_back_end_where_caching_is_off(self) -> None:
        assert found() == []


class TestDeployedCache:
    @override_settings(CACHES=LOCMEM, PERFKIT={}, DEBUG=False)
    def test_it_warns_of_cached_models_on_the_store_of_one_process(self) -> None:
        message = only(deployed())
        assert message.id == "perfkit.W002"
        assert isinstance(message, checks.Warning)
        assert "flights.Airline" in message.msg

    @override_settings(CACHES=LOCMEM, PERFKIT={}, DEBUG=False)
    def test_it_is_silent_before_deployment(self) -> None:
        assert found() == []

    @override_settings(CACHES=LOCMEM, PERFKIT={}, DEBUG=True)
    def test_it_is_silent_in_development(self) -> None:
        assert deployed() == []

    @pytest.mark.parametrize("mode", ["header", "raise"])
    def test_it_warns_of_a_guard_for_development(self, mode: str) -> None:
        with override_settings(PERFKIT={"CACHE_ENABLED": False, "N_PLUS_ONE_MODE": mode}, DEBUG=False):
            message = only(deployed())
            assert message.id == "perfkit.W301"
            assert isinstance(message, checks.Warning)
            assert repr(mode) in message.msg
            assert found() == []
        with override_settings(PERFKIT={"CACHE_ENABLED": False, "N_PLUS_ONE_MODE": mode}, DEBUG=True):
            assert deployed() == []
        with override_settings(PERFKIT={"CACHE_ENABLED": False, "N_PLUS_ONE_MODE": "log"}, DEBUG=False):
            assert deployed() == []

    @override_settings(CACHES=LOCMEM, PERFKIT={"CACHE_ENABLED": False}, DEBUG=False)
    def test_it_is_silent_where_caching_is_off(self) -> None:
        assert deployed() == []

    def test_it_is_silent_on_redis(self) -> None:
        with cached_in("django_redis.cache.RedisCache"):
            assert deployed() == []

    def test_it_leaves_a_wrong_back_end_to_the_other_check(self) -> None:
        with cached_in("there.is.no.such.Module"):
            assert only(deployed()).id == "perfkit.E005"


class TestDatabases:
    def test_it_warns_of_a_database_it_does_not_know(self) -> None:
        out = python(
            """
            from django.conf import settings
            settings.configure(
                INSTALLED_APPS=["perfkit"],
                DATABASES={"default": {}, "old": {"ENGINE": "tests.testapp.other_vendor", "NAME": "x"}},
            )
            import django
            django.setup()
            from django.core import checks
            [message] = checks.run_checks(tags=["perfkit"])
            assert message.id == "perfkit.W001"
            print(message.msg)
            """
        )
        assert out == "DATABASES['old'] is other; perfkit knows PostgreSQL and SQLite only.\n"


@pytest.fixture
def relations(transactional_db: None) -> Iterator[Callable[[str], list[checks.CheckMessage]]]:
    """A function that makes relations, and says what is found then in their database."""
    made: list[str] = []

    def make(sql: str) -> list[checks.CheckMessage]:
        with connection.cursor() as cursor:
            for each in sql.split(";"):
                cursor.execute(each)
                made.append(" ".join(re.match(r"\s*CREATE (\w+(?: VIEW| TABLE)?) (\w+)", each).groups()))
        return found(databases=["default"])

    yield make
    with connection.cursor() as cursor:
        for each in reversed(made):
            cursor.execute(f"DROP {each}{' CASCADE' if connection.vendor == 'postgresql' else ''}")


SUM = (
    "CREATE VIEW testapp_readingsum AS SELECT place, sum(value) AS total FROM testapp_reading GROUP BY place"
)


class TestRelations:
    def test_it_warns_of_a_view_that_nobody_says_anything_of(self, relations: Any) -> None:
        message = only(relations(SUM))
        assert message.id == "perfkit.W003"
        assert message.msg.startswith("testapp.ReadingSum (testapp_readingsum on 'default') is a view: ")
        assert message.msg.endswith("too, so it is not cached.")
        if connection.vendor == "postgresql":
            assert "as testapp_reading too" in message.msg
        assert "CachedManager(tables=[…])" in message.hint

    def test_it_is_silent_where_databases_are_not_asked_for(self, relations: Any) -> None:
        relations(SUM)
        assert found() == []
        assert [each for each in checks.run_checks() if each.id == "perfkit.W003"] == []

    def test_it_is_silent_of_a_view_whose_tables_are_named(self, relations: Any) -> None:
        assert relations("CREATE VIEW testapp_readingview AS SELECT * FROM testapp_reading") == []

    @pytest.mark.postgres
    def test_it_warns_of_a_table_behind_a_view_that_is_not_named(self, relations: Any) -> None:
        message = only(
            relations(
                "CREATE VIEW testapp_readingview AS"
                " SELECT r.* FROM testapp_reading r JOIN testapp_item i ON i.id = r.id"
            )
        )
        assert message.id == "perfkit.W003"
        assert message.msg == (
            "testapp.ReadingView (testapp_readingview on 'default') is a view: "
            "its rows can be written as testapp_item too, and that is not seen."
        )

    @pytest.mark.postgres
    def test_it_warns_of_a_view_through_which_a_cached_table_can_be_written(self, relations: Any) -> None:
        message = only(relations("CREATE VIEW testapp_parted_high AS SELECT id, name FROM testapp_item"))
        assert message.id == "perfkit.W003"
        assert message.msg == (
            "testapp.Item (testapp_item on 'default') is a table: "
            "its rows can be written as testapp_parted_high too, and that is not seen."
        )

    @pytest.mark.postgres
    def test_it_warns_of_partitions_that_are_not_named(self, relations: Any) -> None:
        message = only(
            relations(
                "CREATE TABLE testapp_parted (id int, name text) PARTITION BY LIST (id);"
                "CREATE TABLE testapp_parted_low PARTITION OF testapp_parted FOR VALUES IN (1);"
                "CREATE TABLE rest_of_it PARTITION OF testapp_parted DEFAULT"
            )
        )
        assert message.id == "perfkit.W003"
        assert message.msg == (
            "testapp.Parted (testapp_parted on 'default') is a partitioned table: "
            "its rows can be written as rest_of_it too, and that is not seen."
        )

    @pytest.mark.postgres
    def test_it_warns_of_a_foreign_table(self, relations: Any) -> None:
        message = only(
            relations(
                "CREATE EXTENSION file_fdw;"
                "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;"
                "CREATE FOREIGN TABLE testapp_readingsum (place text, total int) SERVER files"
                " OPTIONS (program 'echo a,1', format 'csv')"
            )
        )
        assert message.id == "perfkit.W004"
        assert "testapp.ReadingSum" in message.msg
        assert "tables=[]" in message.hint

    @override_settings(PERFKIT={"CACHE_ENABLED": False})
    def test_it_is_silent_where_caching_is_off(self, relations: Any) -> None:
        assert relations(SUM) == []

    def test_it_leaves_wrong_settings_to_the_other_check(self, relations: Any) -> None:
        relations(SUM)
        with override_settings(PERFKIT={"CACHE_MODELS": 5}):
            assert only(found(databases=["default"])).id == "perfkit.E003"


class TestModels:
    @override_settings(PERFKIT={"CACHE_MODELS": ["flights.Airprot", "flights.Airport"]})
    def test_it_names_the_nearest_model(self) -> None:
        message = only(found())
        assert message.id == "perfkit.E007"
        assert message.msg == "PERFKIT['CACHE_MODELS'] names 'flights.Airprot', which is no model."
        assert message.hint == "Did you mean 'flights.Airport'?"

    @pytest.mark.parametrize("label", ["Airport", "", "a.b.c", "*", ".*", "flihgts.*", "flights*"])
    def test_it_takes_no_word_for_a_label(self, label: str) -> None:
        with override_settings(PERFKIT={"CACHE_MODELS": [label]}):
            assert only(found()).id == "perfkit.E007"

    @override_settings(PERFKIT={"CACHE_MODELS": 5})
    def test_it_leaves_a_wrong_value_to_the_check_of_settings(self) -> None:
        assert only(found()).id == "perfkit.E003"


class TestManager:
    def test_it_warns_of_a_model_whose_rows_cannot_be_cached(self) -> None:
        out = python(
            """
            from django.conf import settings
            settings.configure(INSTALLED_APPS=["perfkit"])
            import django
            django.setup()
            from django.core import checks
            from django.db import models
            from perfkit.caching import CachedManager
            class Note(models.Model):
                code = models.CharField(max_length=9, primary_key=True, db_collation="C")
                objects = CachedManager()
                class Meta:
                    app_label = "perfkit"
            [message] = checks.run_checks(tags=["models"])
            assert message.id == "perfkit.W101"
            print(message.msg)
            """
        )
        assert out == (
            "The rows of perfkit.Note cannot be cached by their keys: its primary key is not a plain integer, "
            "text or UUID column without a collation.\n"
        )

    def test_it_refuses_one_as_the_base_manager(self) -> None:
        out = python(
            """
            from django.conf import settings
            settings.configure(INSTALLED_APPS=["perfkit"])
            import django
            django.setup()
            from django.core import checks
            from django.db import models
            from perfkit.caching import CachedManager
            class Note(models.Model):
                objects = CachedManager()
                class Meta:
                    app_label = "perfkit"
                    base_manager_name = "objects"
            [message] = checks.run_checks(tags=["models"])
            assert message.id == "perfkit.E101"
            print(message.msg)
            """
        )
        assert out.startswith("perfkit.Note.objects is the base manager")

    def test_it_refuses_to_divide_by_what_is_no_column(self) -> None:
        out = python(
            """
            import django
            from django.conf import settings
            settings.configure(INSTALLED_APPS=["perfkit"], DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
            django.setup()
            from django.core import checks
            from django.db import models
            from perfkit.caching import CachedManager
            class Note(models.Model):
                place = models.CharField(max_length=8)
                objects = CachedManager(by=["plaec", "place"])
                class Meta:
                    app_label = "perfkit"
            [message] = checks.run_checks(tags=["models"])
            assert message.id == "perfkit.E102"
            print(message.msg)
            """
        )
        assert out == (
            "perfkit.Note.objects divides its lists by 'plaec', which is not a field of it; "
            "did you mean 'place'?.\n"
        )


class TestPresets:
    def test_it_names_the_class_and_the_path_of_each_wrong_preset(self) -> None:
        out = python(
            """
            import django
            from django.conf import settings
            settings.configure(INSTALLED_APPS=["perfkit"], DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
            django.setup()
            from django.core import checks
            from django.db import models
            from perfkit.loading import Presets, RelatedCount, RelatedRows, preset
            class NoteQuerySet(models.QuerySet):
                right = preset("above__above", "notes", n=RelatedCount("notes"))
                wrong = preset(right, "abve")
                doubly = preset(above=RelatedCount("notes"))
            class NoteManager(models.Manager):
                late = preset(RelatedRows("notes", order_by="created"))
            class Note(models.Model):
                above = models.ForeignKey("self", models.CASCADE, related_name="notes")
                objects = NoteQuerySet.as_manager()
                others = NoteManager()
                class Meta:
                    app_label = "perfkit"
            class NotePresets(Presets):
                model = Note
                below = preset("notes__abvoe")
            class NoPresets(Presets):
                full = preset("notes")
            class Empty(Presets):
                pass
            for message in checks.run_checks(tags=["perfkit"]):
                assert message.id == "perfkit.E301"
                print(message.msg.partition(" Choices")[0])
            """
        )
        assert out == (
            "NotePresets.below: perfkit.Note has no relation 'abvoe' (in the path 'notes__abvoe'). "
            "Did you mean 'above'?\n"
            "NoPresets: NoPresets has no model: write `model = …` in its body.\n"
            "NoteQuerySet.doubly: The annotation 'above' conflicts with a field on the model.\n"
            "NoteQuerySet.wrong: perfkit.Note has no relation 'abve'. Did you mean 'above'?\n"
            "NoteManager.late: Cannot resolve keyword 'created' into field.\n"
        )


ROUTES = """
from typing import Annotated, Literal
from perfkit.api import Filters, Search, Sorting
urlpatterns = []
class NoteSorting(Sorting, model=Note):
    sort_by: Literal["title", "made"] = "made"
class NoteFilters(Filters, model=Note):
    pk: int | None = None
    search: Annotated[str | None, Search("title")] = None
class SmallFilters(NoteFilters, unindexed="allow"):
    pass
Made = Filters.for_model(Note, {"titled": "title"}, name="Made")
def made():
    class Local(NoteFilters):
        pass
    return Local, Filters.for_model(Note, {"other": "title"})
local = made()
"""


class TestLists:
    def test_it_names_what_is_sorted_or_filtered_by_without_an_index(self) -> None:
        out = python(
            f"""
            import sys, types
            import django
            from django.conf import settings
            settings.configure(
                INSTALLED_APPS=["perfkit"],
                ROOT_URLCONF="routes",
                DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
            )
            django.setup()
            from django.core import checks
            from django.db import models
            class Note(models.Model):
                title = models.CharField(max_length=80)
                made = models.DateTimeField(db_index=True)
                class Meta:
                    app_label = "perfkit"
            routes = sys.modules["routes"] = types.ModuleType("routes")
            routes.Note = Note
            exec({ROUTES!r}, vars(routes))
            for message in checks.run_checks(tags=["perfkit"]):
                print(message.id)
                print(message.msg, message.hint)
            """
        )
        elsewhere = 'Where the table stays small, or has an index by other means: unindexed="allow".'
        made_id, made, filter_id, filtered, sort_id, sorted_by = out.splitlines()
        assert made_id == "perfkit.W402"
        assert made.startswith("Made offers 'titled', and no declared index finds rows by title. ")
        assert filter_id == "perfkit.W402"
        assert sort_id == "perfkit.W401"
        assert filtered == (
            "NoteFilters offers 'search', and no declared index finds rows by title__ilike_contains. "
            f'Declare GinIndex(fields=["title"], opclasses=["gin_trgm_ops"], name=…). {elsewhere}'
        )
        assert sorted_by == (
            "NoteSorting offers 'title', and no declared index sorts by title. "
            f'Declare models.Index(fields=["title"], name=…). {elsewhere}'
        )

    @pytest.mark.postgres
    @pytest.mark.django_db
    def test_it_names_indexes_that_the_database_does_not_have(self) -> None:
        assert [each for each in found(databases=["default"]) if each.id == "perfkit.W403"] == []
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX flight_number_id")
            cursor.execute(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'airport_name_trigrams'::regclass"
            )
        messages = [each for each in found(databases=["default"]) if each.id == "perfkit.W403"]
        problems = sorted(each.msg.partition(" relies on the index ")[2] for each in messages)
        assert problems == [
            "airport_name_trigrams of flights_airport on 'default', which is not valid, so no query uses it.",
            "flight_number_id of flights_flight on 'default', which is not there.",
        ]
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE flights_flight RENAME TO elsewhere")
        assert "flights_flight" not in str([each.msg for each in found(databases=["default"])])

    def test_it_finds_nothing_in_the_demo(self) -> None:
        assert [each for each in found() if each.id.startswith("perfkit.W4")] == []

    @pytest.mark.postgres
    @pytest.mark.django_db
    def test_it_names_a_migration_that_would_block_writes(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE orders_order AS SELECT n FROM generate_series(1, 9999) n")
        MigrationRecorder(connection).record_applied("orders", "0001_initial")
        with override_settings(
            INSTALLED_APPS=[*settings.INSTALLED_APPS, "tests.indexing.orders"],
            MIGRATION_MODULES={"orders": "tests.indexing.orders.blocking.migrations"},
            PERFKIT={"INDEX_WARNING_BYTES": 10_000},
        ):
            first, *_ = [each for each in found(databases=["default"]) if "orders" in each.msg]
        assert first.id == "perfkit.W406"
        assert "would block writes to orders_order" in first.msg


class TestStart:
    def test_it_starts_and_passes_in_a_project_that_has_only_perfkit(self) -> None:
        out = python(
            """
            from django.conf import settings
            settings.configure(INSTALLED_APPS=["perfkit"], SECRET_KEY="x" * 60)
            import django
            django.setup()
            from django.core.management import call_command
            call_command("check", tags=["perfkit"], deploy=True)
            """
        )
        assert "no issues" in out

    def test_it_costs_no_query_and_less_than_djangos_own_start(self, tmp_path: Path) -> None:
        # Without DATABASES any query raises. Calls are counted, for they are the same on a busy machine. Both have
        # bytecode of their own, which the first run of each writes.
        code = """
            from django.conf import settings
            settings.configure(
                INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", *MORE]
            )
            import itertools, sys
            calls = itertools.count()
            sys.setprofile(lambda *event: next(calls))
            import django
            django.setup()
            sys.setprofile(None)
            print(next(calls))
            """
        keeps = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
        alone, together = (
            [int(python(code.replace("MORE", repr(apps)), **keeps)) for _ in range(2)][-1]
            for apps in ([], ["perfkit"])
        )
        assert together - alone < alone


def found_in_admin(model: type[models.Model] = Ware, **options: Any) -> list[checks.CheckMessage]:
    kind = type("WareAdmin", (ImportExportMixin, admin.ModelAdmin), options)
    return kind(model, admin.site).check()


def test_it_finds_nothing_in_a_right_admin() -> None:
    assert found_in_admin() == []
    assert (
        found_in_admin(import_fields=["sku", "bin"], export_fields=["id", "photo"], import_keys=[["sku"]])
        == []
    )


def test_it_names_what_is_no_field_of_an_admin() -> None:
    problem = only(found_in_admin(import_fields=["skuu"]))
    assert problem.id == "perfkit.E201"
    assert problem.msg == "WareAdmin.import_fields names 'skuu', which is no field of testapp.Ware."
    assert problem.hint == "Did you mean 'sku'?"
    assert only(found_in_admin(export_fields=["bin__code"])).id == "perfkit.E201"


def test_it_names_keys_of_an_admin_that_are_not_unique() -> None:
    problem = only(found_in_admin(import_keys=[["name"]]))
    assert problem.id == "perfkit.E202"
    assert problem.msg == "WareAdmin.import_keys has ['name'], which is no unique constraint of testapp.Ware."
    assert only(found_in_admin(import_keys=["sku"])).id == "perfkit.E202"


def test_it_names_what_names_no_row_of_a_relation() -> None:
    problem = only(found_in_admin(import_relation_keys={"bin": ["is_open"]}))
    assert problem.id == "perfkit.E203"
    assert "gives 'bin' by ['is_open'], which may not name one row." in problem.msg
    assert problem.hint == "Name, in a list, unique fields of the other model that are never NULL: none."
    for keys in ({"bin": "code"}, {"binn": ["code"]}, {"name": ["code"]}):
        assert only(found_in_admin(import_relation_keys=keys)).id == "perfkit.E203"


def test_it_names_files_that_no_cell_can_hold() -> None:
    problem = only(found_in_admin(import_fields=["sku", "photo"]))
    assert problem.msg == "WareAdmin.import_fields names 'photo', which no cell can hold."


def test_it_names_relations_to_many_that_no_cell_can_hold() -> None:
    assert found_in_admin(Parcel, import_fields=["code", "stickers"]) == []
    for name in ("parts", "makers"):
        problem = only(found_in_admin(Parcel, import_fields=["code", name]))
        assert (problem.id, "relations to many" in problem.hint) == ("perfkit.E201", True)
    assert found_in_admin(Parcel, import_relation_keys={"stickers": ["name"]}) == []


def test_it_warns_of_an_admin_that_offers_no_import() -> None:
    class StrictForm(forms.ModelForm):
        def clean(self) -> None:
            raise forms.ValidationError("Never.")

    problem = only(found_in_admin(form=StrictForm))
    assert problem.id == "perfkit.W201"
    assert problem.msg.startswith("WareAdmin offers no import: its form has rules of its own")
    assert found_in_admin(form=StrictForm, import_fields=["sku"]) == []
    (problem,) = BoxedAdmin(Boxed, admin.site).check()
    assert problem.id == "perfkit.W201"
    assert "spread over several tables" in problem.msg


@pytest.mark.postgres
@pytest.mark.django_db
def test_it_finds_triggers_that_are_not_as_they_should_be(django_assert_num_queries: Any) -> None:
    """And does not miss those that nobody has asked for."""
    with django_assert_num_queries(1):
        assert check_triggers(databases=["default"]) == []
    list(install_triggers([Item]))
    assert check_triggers(databases=["default"]) == []
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER perfkit_outside_delete ON testapp_item")
    message = only([each for each in found(databases=["default"]) if each.id == "perfkit.W005"])
    assert "The triggers of public.testapp_item on 'default'" in message.msg
    assert message.msg.endswith(": no trigger for DELETE.")
    assert message.hint is not None
    assert "perfkit_triggers install" in message.hint
    assert message.id == "perfkit.W005"


@pytest.mark.parametrize("name", ["CACHE_RESPONSES_ALLOW", "CACHE_RESPONSES_DENY", "RATE_LIMIT_EXEMPT"])
def test_it_finds_paths_that_are_no_regular_expressions(name: str) -> None:
    with override_settings(PERFKIT={name: ["/api/", "/(", 5]}):
        assert only(found()).id == "perfkit.E003"
    with override_settings(PERFKIT={name: ["/api/", "/("]}):
        message = only(found())
        assert message.id == "perfkit.E009"
        assert f"PERFKIT['{name}'] holds '/('" in message.msg


def test_it_warns_of_a_response_cache_that_is_asked_too_early() -> None:
    own = "perfkit.caching.responses.middleware.ResponseCacheMiddleware"
    session = "django.contrib.sessions.middleware.SessionMiddleware"
    common = "django.middleware.common.CommonMiddleware"
    with override_settings(MIDDLEWARE=[session, common, own]):
        assert found() == []
    with override_settings(MIDDLEWARE=[own, common, session]):
        message = only(found())
        assert message.id == "perfkit.W006"
        assert session in message.msg
    compression = "perfkit.caching.responses.compression.CompressionMiddleware"
    with override_settings(MIDDLEWARE=[session, own, compression]):
        message = only(found())
        assert message.id == "perfkit.W006"
        assert compression in message.msg


class TestConnections:
    def found_in(self, **entry: Any) -> list[checks.CheckMessage]:
        handler = type(connections)({"default": {"ENGINE": "django.db.backends.postgresql", **entry}})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("perfkit.checks.connections", handler)
            return check_connections()

    @pytest.mark.parametrize("mode", ["development", "production", "pgbouncer"])
    def test_what_the_preset_makes_is_fine(self, mode: Any) -> None:
        assert self.found_in(**database_settings("postgres://a@b/c", mode=mode)) == []

    @pytest.mark.parametrize("seconds", [60, None])
    def test_a_pool_with_lasting_connections_is_an_error(self, seconds: int | None) -> None:
        message = only(self.found_in(CONN_MAX_AGE=seconds, CONN_HEALTH_CHECKS=True, OPTIONS={"pool": True}))
        assert message.id == "perfkit.E501"
        assert "'default'" in message.msg

    def test_a_pool_that_is_not_checked_is_warned_of(self) -> None:
        assert only(self.found_in(OPTIONS={"pool": {"max_size": 2}})).id == "perfkit.W501"

    @pytest.mark.parametrize("threshold", [0, 5])
    def test_prepared_statements_behind_a_declared_pooler_are_warned_of(self, threshold: int) -> None:
        declared = {"DISABLE_SERVER_SIDE_CURSORS": True}
        found = self.found_in(**declared, OPTIONS={"prepare_threshold": threshold})
        assert only(found).id == "perfkit.W502"
        assert self.found_in(**declared, OPTIONS={"prepare_threshold": None}) == []

    def test_without_a_pool_there_is_nothing_to_say(self) -> None:
        assert self.found_in(CONN_MAX_AGE=600, OPTIONS={"prepare_threshold": 5}) == []


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestPoolers:
    @pytest.fixture
    def set_options(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """A function that changes the OPTIONS of the database, whose connection stays open."""
        connection.ensure_connection()
        settings = connection.settings_dict

        def set_options(**changed: Any) -> None:
            monkeypatch.setitem(settings, "OPTIONS", {**settings["OPTIONS"], **changed})

        return set_options

    def found(self) -> list[checks.CheckMessage]:
        return check_poolers(databases=["default"])

    def test_straight_to_the_server_all_is_fine(self) -> None:
        assert self.found() == []
        assert check_poolers(databases=None) == []

    @pytest.mark.pgbouncer
    def test_a_pooler_that_is_not_declared_is_found(
        self, pgbouncer: int, set_options: Callable[..., None]
    ) -> None:
        set_options(prepare_threshold=5)
        assert "uses prepared statements" in only(self.found()).msg
        connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = False  # the fixture puts it back
        message = only(self.found())
        assert message.id == "perfkit.W503"
        assert "server-side cursors and prepared statements" in message.msg
        set_options(prepare_threshold=None)
        assert "uses server-side cursors" in only(self.found()).msg
        connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = True
        assert self.found() == []

    def test_a_pool_larger_than_the_server_is_found(
        self, set_options: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_options(pool={"max_size": 10})
        assert self.found() == []
        set_options(pool={"max_size": 100_000})
        assert only(self.found()).id == "perfkit.W504"
        monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
        assert self.found() == [], "the pooler's limit is another one"
        connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's


class TestJobs:
    def test_a_back_end_that_cannot_be_loaded_is_an_error(self) -> None:
        assert jobs.tell.name == "tests.testapp.jobs.tell", "there are jobs"
        with override_settings(PERFKIT={"JOB_BACKEND": "tests.nowhere.Backend"}):
            message = only(found())
        assert message.id == "perfkit.E602"
        assert "PERFKIT['JOB_BACKEND'] 'tests.nowhere.Backend' cannot be loaded" in message.msg
        with override_settings(PERFKIT={"JOB_BACKEND": f"{HERE}.OwnLocMemCache"}):
            assert only(found()).id == "perfkit.E602"

    def test_settings_that_are_no_settings_are_told_once(self) -> None:
        with override_settings(PERFKIT=["JOB_BACKEND"]):
            assert only(found()).id == "perfkit.E001"
        with override_settings(PERFKIT={"JOB_BACKEND": 5}):
            assert only(found()).id == "perfkit.E003"


LIMITS = "perfkit.api.RateLimitMiddleware"
LOGIN = "django.contrib.auth.middleware.AuthenticationMiddleware"


@override_settings(MIDDLEWARE=[LIMITS])
def test_it_finds_a_rate_that_is_none() -> None:
    with override_settings(PERFKIT={"RATE_LIMIT_RATES": ["5/hour", "often"]}):
        message = only(found())
        assert message.id == "perfkit.E003"
        assert "PERFKIT['RATE_LIMIT_RATES'] cannot be read: 'often' is no rate" in message.msg


def test_it_warns_of_limits_that_each_process_counts_alone() -> None:
    dummy = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    for caches, middleware, debug, enabled, is_found in (
        (LOCMEM, [LIMITS], False, True, True),
        (dummy, [LIMITS], False, True, True),
        (LOCMEM, ["perfkit.api.limiting.middleware.RateLimitMiddleware"], False, True, True),
        (LOCMEM, [], False, True, False),
        (LOCMEM, [LIMITS], True, True, False),
        (LOCMEM, [LIMITS], False, False, False),
    ):
        options = {"CACHE_ENABLED": False, "RATE_LIMIT_ENABLED": enabled}
        with override_settings(CACHES=caches, MIDDLEWARE=middleware, DEBUG=debug, PERFKIT=options):
            assert found() == []
            messages = deployed()
            assert bool(messages) == is_found
            if is_found:
                assert only(messages).id == "perfkit.W404"


def test_it_warns_of_a_limit_of_users_where_nobody_is_known_yet() -> None:
    for middleware, by, is_found in (
        ([LIMITS, LOGIN], "user", True),
        ([LOGIN, LIMITS], "user", False),
        ([LIMITS, LOGIN], "address", False),
        ([LOGIN], "user", False),
    ):
        with override_settings(MIDDLEWARE=middleware, PERFKIT={"RATE_LIMIT_BY": by}):
            messages = found()
            assert bool(messages) == is_found
            if is_found:
                assert only(messages).id == "perfkit.W405"


def test_a_limit_needs_a_back_end_that_perfkit_speaks_to() -> None:
    file = {
        "default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "/nowhere"}
    }
    with override_settings(CACHES=file, MIDDLEWARE=[LIMITS], PERFKIT={}):
        assert only(found()).id == "perfkit.E005"


def problems_of_list(**members: Any) -> list[checks.CheckMessage]:
    kind = type("LongTomeAdmin", (LargeTableAdmin, admin.ModelAdmin), members)
    return kind(Tome, admin.site).check()


def test_it_names_a_column_that_needs_what_is_not_there() -> None:
    def hall(self: Any, tome: Tome) -> str:
        return ""

    (problem,) = problems_of_list(list_display=["hall"], hall=needs("rack__hal")(hall))
    assert problem.id == "perfkit.E204"
    assert "Did you mean 'hall'?" in problem.msg
    assert problems_of_list(list_display=["hall"], hall=needs("rack__hall")(hall)) == []


@pytest.mark.postgres
def test_it_warns_of_a_search_without_an_index() -> None:
    (problem,) = problems_of_list(search_fields=["title", "code__startswith", "@title"])
    assert problem.id == "perfkit.W202"
    assert problem.msg == "LongTomeAdmin searches by what no declared index serves: title (containing)."
    assert problem.hint.startswith("Add GinIndex(")
    assert problems_of_list(search_fields=["=nickname", "code__startswith"]) == []
    assert problems_of_list(search_fields=["title"], get_search_results=lambda *args: None) == []


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite's")
def test_it_does_not_warn_of_a_search_elsewhere() -> None:
    assert problems_of_list(search_fields=["title"]) == []


EFFECT = "tests.testapp.jobs.leave_effect"


class TestSchedules:
    @pytest.mark.parametrize(
        ("entry", "problem"),
        [
            ({"job": "perfkit.claen_up", "every": 60}, "Did you mean 'perfkit.clean_up'?"),
            ({"job": EFFECT, "every": 60}, "missing a required argument: 'number'"),
        ],
    )
    def test_it_finds_one_that_cannot_enqueue_its_job(self, entry: Any, problem: str) -> None:
        with override_settings(PERFKIT={"SCHEDULES": {"one": entry}}):
            message = only(found())
        assert message.id == "perfkit.E611"
        assert message.msg.startswith("PERFKIT['SCHEDULES']['one']: ")
        assert problem in message.msg

    def test_it_says_nothing_of_a_good_one(self) -> None:
        entry = {"job": EFFECT, "cron": "* * * * *", "args": [7]}
        with override_settings(PERFKIT={"SCHEDULES": {"one": entry}}):
            assert found() == []

    def test_it_leaves_a_wrong_entry_to_the_check_of_settings(self) -> None:
        with override_settings(PERFKIT={"SCHEDULES": {"one": {"job": EFFECT}}}):
            message = only(found())
        assert message.id == "perfkit.E003"
        assert "'one': it needs either 'every' or 'cron'." in message.msg


class TestMail:
    @pytest.fixture
    def send_by(self, settings: Any) -> Callable[[str], None]:
        """Leave mails to workers, which are to send them by a back end."""

        def send_by(path: str) -> None:
            name = path
            if django.VERSION >= (6, 1):
                settings.MAILERS = {"default": {"BACKEND": JOB_EMAIL_BACKEND}, "workers": {"BACKEND": path}}
                name = "workers"
            else:
                settings.EMAIL_BACKEND = JOB_EMAIL_BACKEND
            settings.PERFKIT = {"MAIL_BACKEND": name}

        return send_by

    @pytest.mark.parametrize("path", [JOB_EMAIL_BACKEND, "no.such.Backend"])
    def test_it_finds_what_cannot_send_mails(self, send_by: Callable[[str], None], path: str) -> None:
        send_by(path)
        assert only(found()).id == "perfkit.E612"

    def test_it_says_nothing_of_one_that_can(self, send_by: Callable[[str], None]) -> None:
        send_by("django.core.mail.backends.console.EmailBackend")
        assert found() == []

    @pytest.mark.skipif(django.VERSION < (6, 1), reason="Django has MAILERS from 6.1 on")
    def test_it_finds_a_name_that_is_none_of_the_mailers(self, settings: Any) -> None:
        settings.MAILERS = {"default": {"BACKEND": JOB_EMAIL_BACKEND}}
        settings.PERFKIT = {}
        assert "none. Add one that sends mails, and name that." in only(found()).msg


class WithoutRoutes:
    """URLs of a site that has none."""

    urlpatterns = ()


class TestDeployedMonitoring:
    """What everybody may read of a site that is deployed."""

    @pytest.fixture(autouse=True)
    def _deployed(self, settings: Any) -> None:
        settings.DEBUG = False
        settings.PERFKIT = {}
        settings.CACHES = LOCMEM

    @staticmethod
    def ids() -> list[str]:
        return [each.id for each in found(deploy=True) if each.id in {"perfkit.W703", "perfkit.W704"}]

    @pytest.mark.urls("tests.monitoring.prometheus.test_views")
    def test_it_finds_an_open_page_of_metrics(self, settings: Any) -> None:
        finding = next(each for each in found(deploy=True) if each.id == "perfkit.W703")
        assert "/own" in finding.msg
        assert "METRICS_TOKEN" in str(finding.hint)
        assert "perfkit.W703" not in [each.id for each in found()], "only where it is about to be deployed"
        settings.DEBUG = True
        assert self.ids() == []

    @pytest.mark.urls("tests.monitoring.prometheus.test_views")
    def test_a_token_or_a_login_keeps_others_out(self, settings: Any) -> None:
        settings.PERFKIT = {"METRICS_TOKEN": "secret"}
        assert self.ids() == []
        settings.PERFKIT = {}
        settings.MIDDLEWARE = [
            *settings.MIDDLEWARE,
            "django.contrib.auth.middleware.LoginRequiredMiddleware",
        ]
        assert self.ids() == []

    @pytest.mark.parametrize("within", [False, True])
    def test_it_follows_includes_and_trusts_what_the_project_puts_around_it(
        self, settings: Any, within: bool
    ) -> None:
        from perfkit.monitoring.prometheus import metrics_view

        def guarded(request: HttpRequest) -> HttpResponseBase:
            return metrics_view(request)

        class Routes:
            urlpatterns = (path("in/", include([path("side", guarded if within else metrics_view)])),)

        settings.ROOT_URLCONF = Routes
        assert self.ids() == ([] if within else ["perfkit.W703"])

    @pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0"])
    def test_it_finds_that_all_are_shown_how_servers_stand(self, settings: Any, everybody: str) -> None:
        settings.ROOT_URLCONF = "tests.monitoring.health.site"
        settings.PERFKIT = {"HEALTH_ADDRESSES": ["10.0.0.0/8", everybody]}
        finding = next(each for each in found(deploy=True) if each.id == "perfkit.W704")
        assert everybody in finding.msg
        assert "10.0.0.0/8" not in finding.msg
        settings.PERFKIT = {"HEALTH_ADDRESSES": ["10.0.0.0/8"]}
        assert self.ids() == []
        settings.PERFKIT = {"HEALTH_ADDRESSES": [everybody]}
        settings.ROOT_URLCONF = WithoutRoutes
        assert "perfkit.W704" not in self.ids()


@pytest.mark.skipif(not settings.HAS_PROMETHEUS, reason="django-prometheus does not support this Django")
class TestMetrics:
    def test_the_page_of_django_prometheus_is_right_by_default(self) -> None:
        assert found() == []

    def test_it_finds_that_the_page_shows_files_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/nowhere")
        assert only(found()).id == "perfkit.W701"

    @override_settings(PERFKIT={"METRICS_TOKEN": "secret"})
    def test_it_finds_that_the_page_asks_for_no_token(self) -> None:
        finding = only(found())
        assert finding.id == "perfkit.W702"
        assert "secret" not in f"{finding.msg}{finding.hint}"

    @pytest.mark.urls("tests.monitoring.prometheus.test_views")
    def test_perfkits_own_page_is_right_with_both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/nowhere")
        with override_settings(PERFKIT={"METRICS_TOKEN": "secret"}):
            assert found() == []
