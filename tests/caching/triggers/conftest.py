"""Tables with triggers, and connections that know nothing of Django."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.db.models import Model

from perfkit.caching.databases import tag_scope
from perfkit.caching.tags import any_write_tag, row_tag, table_tag
from perfkit.caching.triggers import install_triggers, remove_triggers
from perfkit.models import PendingInvalidation


def dsn(**changed: Any) -> str:
    """Return what leads to the test database past Django."""
    connection.ensure_connection()
    info = connection.connection.info
    password = connection.settings_dict["PASSWORD"]
    return psycopg.conninfo.make_conninfo(info.dsn, **{"password": password, **changed})


def told() -> list[set[str]]:
    """Return what waits in the outbox, one set of tags for each row, and empty it."""
    rows = [set(json.loads(each.tags)) for each in PendingInvalidation.objects.order_by("id")]
    PendingInvalidation.objects.all().delete()
    return rows


def whole(*tables: str) -> set[str]:
    """Return the tags of a write to unknown rows of tables."""
    scope = tag_scope(connection)
    return {tag(scope, table) for table in tables for tag in (any_write_tag, table_tag)}


def some(*tables: str) -> set[str]:
    """Return the tags of new rows in tables."""
    scope = tag_scope(connection)
    return {any_write_tag(scope, table) for table in tables}


def rows_of(table: str, *pks: Any) -> set[str]:
    """Return the tags of a write to known rows of a table."""
    scope = tag_scope(connection)
    return {row_tag(scope, table, pk) for pk in pks} | some(table)


@pytest.fixture
def outside(transactional_db: None) -> Iterator[psycopg.Connection]:
    """A connection of somebody who is not Django, in autocommit."""
    with psycopg.connect(dsn(), autocommit=True) as other:
        yield other


@pytest.fixture
def install(transactional_db: None) -> Iterator[Callable[..., list[Any]]]:
    """A function that puts triggers onto tables; they are gone with the test."""

    def install(*models: type[Model], **options: Any) -> list[Any]:
        done = list(install_triggers(models, **{"lock_timeout_seconds": 20, **options}))
        PendingInvalidation.objects.all().delete()
        return done

    yield install
    list(remove_triggers(lock_timeout_seconds=20))
