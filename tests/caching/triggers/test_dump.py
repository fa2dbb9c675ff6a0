"""A dump takes the triggers along, into a database of any name."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from perfkit.caching.databases import tag_scope
from perfkit.caching.tags import any_write_tag, row_tag
from perfkit.caching.triggers import trigger_states
from tests.caching.triggers.conftest import dsn, told
from tests.testapp.models import Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


@pytest.fixture
def copy_name(outside: psycopg.Connection) -> Iterator[str]:
    """An empty database."""
    name = f"Copy of {connection.settings_dict['NAME']}é"
    outside.execute(f'DROP DATABASE IF EXISTS "{name}"')
    outside.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    yield name
    outside.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def run(program: Path, *arguments: str) -> None:
    environment = {**os.environ, "PGPASSWORD": str(connection.settings_dict["PASSWORD"])}
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=120, env=environment
    )
    # A newer program tells an older server of settings that it does not know.
    errors = [
        line for line in done.stderr.splitlines() if "error:" in line and "transaction_timeout" not in line
    ]
    assert errors == []


def test_it_tells_under_the_name_of_the_database_where_it_is_restored(
    install: Callable[..., Any],
    outside: psycopg.Connection,
    copy_name: str,
    postgres_binaries: Path,
    tmp_path: Path,
) -> None:
    install(Item)
    Item.plain.create(pk=7, name="x")
    told()
    file = tmp_path / "dump"
    run(postgres_binaries / "pg_dump", "-Fc", "-f", str(file), "-d", dsn(password=None))
    run(postgres_binaries / "pg_restore", "-d", dsn(password=None, dbname=copy_name), str(file))
    with psycopg.connect(dsn(dbname=copy_name), autocommit=True) as copy:
        copy.execute("DELETE FROM perfkit_pendinginvalidation")
        copy.execute("UPDATE testapp_item SET name = 'y'")
        rows = copy.execute("SELECT tags FROM perfkit_pendinginvalidation").fetchall()
    original = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = copy_name
    try:
        scope = tag_scope(connection)
        assert [set(json.loads(tags)) for (tags,) in rows] == [
            {any_write_tag(scope, "testapp_item"), row_tag(scope, "testapp_item", 7)}
        ]
        assert [problem for state in trigger_states([Item]) for problem in state.problems] == []
    finally:
        connection.close()
        connection.settings_dict["NAME"] = original
    assert tag_scope(connection) != scope
    assert told() == []


def test_it_tells_of_rows_that_are_restored_into_a_table_with_triggers(
    install: Callable[..., Any], outside: psycopg.Connection, postgres_binaries: Path, tmp_path: Path
) -> None:
    install(Item)
    Item.plain.create(pk=7, name="x")
    file = tmp_path / "dump"
    run(
        postgres_binaries / "pg_dump",
        "-Fc",
        "-a",
        "-t",
        "testapp_item",
        "-f",
        str(file),
        "-d",
        dsn(password=None),
    )
    outside.execute("DELETE FROM testapp_item")
    told()
    run(postgres_binaries / "pg_restore", "-a", "-d", dsn(password=None), str(file))
    assert told() == [{any_write_tag(tag_scope(connection), "testapp_item")}]
    assert Item.plain.get().pk == 7
