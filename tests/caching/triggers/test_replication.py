"""Rows that a subscription brings: replication fires triggers of rows alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from environ import Env

from perfkit.caching.databases import tag_scope
from perfkit.caching.tags import value_tag
from perfkit.caching.triggers import install_triggers, remove_triggers, trigger_states
from perfkit.models import PendingInvalidation
from project.services.postgres import PostgresServer
from tests.caching.conftest import wait_until
from tests.caching.triggers.conftest import dsn, rows_of, some, told, whole
from tests.testapp.models import Airfield, Booking, Shelf

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

MODELS = (PendingInvalidation, Shelf, Booking, Airfield)


@pytest.fixture
def subscriber(transactional_db: None) -> Iterator[str]:
    """Django's connection leads to a database of a server that replicates from another one of it, by that DSN."""
    with tempfile.TemporaryDirectory(prefix="perfkit-replication-") as top:
        Path(top).chmod(0o755)
        server = PostgresServer(Path(top), is_durable=False)
        settings = dict(connection.settings_dict)
        try:
            with psycopg.connect(server.start(), autocommit=True) as first:
                first.execute("ALTER SYSTEM SET wal_level = 'logical'")
            server.stop()
            url = server.start()
            with psycopg.connect(url, autocommit=True) as first:
                first.execute("CREATE DATABASE publisher")
            connection.close()
            connection.settings_dict.update({**Env.db_url_config(url), "OPTIONS": {}})
            publisher = dsn(dbname="publisher")
            with connection.schema_editor() as editor:
                for model in MODELS:
                    editor.create_model(model)
            with connection.schema_editor(collect_sql=True) as editor:
                for model in MODELS[1:]:
                    editor.create_model(model)
                statements = [*editor.collected_sql, *map(str, editor.deferred_sql)]
            with psycopg.connect(publisher, autocommit=True) as other:
                for statement in statements:
                    other.execute(statement)
                other.execute("CREATE PUBLICATION here FOR TABLE testapp_booking, testapp_airfield")
                other.execute("SELECT pg_create_logical_replication_slot('there', 'pgoutput')")
            yield publisher
        finally:
            connection.close()
            connection.settings_dict.update(settings)
            server.remove()


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_it_tells_of_what_a_subscription_brings(subscriber: str) -> None:
    source = psycopg.conninfo.make_conninfo(subscriber).replace("'", "''")
    execute(f"CREATE SUBSCRIPTION there CONNECTION '{source}' PUBLICATION here WITH (create_slot = false)")
    try:
        wait_until(is_synchronised, seconds=30)  # what copies the tables holds locks on them
        installed = install_triggers([Booking, Airfield], lock_timeout_seconds=20)
        assert [change.what for change in installed] == ["installed"] * 2
        assert [problem for state in trigger_states([Booking, Airfield]) for problem in state.problems] == []
        with psycopg.connect(subscriber, autocommit=True) as publisher:
            replicate(publisher)
    finally:
        execute("ALTER SUBSCRIPTION there DISABLE")
        execute("ALTER SUBSCRIPTION there SET (slot_name = NONE)")
        execute("DROP SUBSCRIPTION there")
    [problem, *_] = [problem for state in trigger_states([Booking]) for problem in state.problems]
    assert problem == "the trigger perfkit_outside_row is one too many"
    list(install_triggers([Booking], lock_timeout_seconds=20))
    assert [problem for state in trigger_states([Booking]) for problem in state.problems] == []
    list(remove_triggers(lock_timeout_seconds=20))


def replicate(publisher: psycopg.Connection) -> None:
    """Write at the source, and look at what is told here."""

    def arrived(sql: str) -> list[set[str]]:
        PendingInvalidation.objects.all().delete()
        publisher.execute(sql)
        wait_until(PendingInvalidation.objects.exists, seconds=30)
        return told()

    assert arrived("INSERT INTO testapp_airfield VALUES ('A', 'x'), ('B', 'x')") == [some("testapp_airfield")]
    assert arrived("UPDATE testapp_airfield SET code = 'C' WHERE code = 'A'") == [
        rows_of("testapp_airfield", "A", "C")
    ]
    assert arrived("DELETE FROM testapp_airfield WHERE code = 'C'") == [rows_of("testapp_airfield", "C")]
    assert arrived("TRUNCATE testapp_airfield") == [whole("testapp_airfield")]
    insert = (
        "INSERT INTO testapp_booking (name, zone, is_paid) "
        "SELECT 'x', 'north', true FROM generate_series(1, {})"
    )
    [tags] = arrived(insert.format(1))
    assert value_tag(tag_scope(connection), "testapp_booking", "zone", "north") in tags
    [tags] = arrived("UPDATE testapp_booking SET zone = 'south'")
    assert tags >= {
        value_tag(tag_scope(connection), "testapp_booking", "zone", zone) for zone in ("north", "south")
    }
    assert arrived(insert.format(300))[-1] == whole("testapp_booking")
    assert Booking.plain.count() == 301


def is_synchronised() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel")
        row: Any = cursor.fetchone()
    return bool(row[0])
