"""Looks into the outbox that are made at the end of a request, so that reads need not."""

from __future__ import annotations

import json
import time

import pytest
from django.core.signals import request_finished
from django.db import connection, transaction
from django.test import Client

from perfkit.caching.coherence import breaker, outbox
from perfkit.caching.early_looks import look_early
from perfkit.caching.outbox import EARLY_SECONDS
from perfkit.caching.silence import LOOK_EVERY_SECONDS
from perfkit.models import PendingInvalidation
from tests.caching.conftest import Outcome, write_unseen
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


class Clock:
    """The time of the outbox, as the test says."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(outbox, "_clock", clock)
    return clock


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The aliases that were looked into."""
    found: list[str] = []
    tell = outbox.tell

    def told(*args: object, **kwargs: object) -> None:
        found.append(connection.alias)
        tell(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(outbox, "tell", told)
    return found


def read(pk: int) -> str:
    return str(Item.objects.get(pk=pk).name)


@pytest.fixture
def item() -> Item:
    return Item.plain.create(name="old")


def test_it_looks_shortly_before_the_next_read_would(item: Item, clock: Clock, looks: list[str]) -> None:
    read(item.pk)
    assert looks == ["default"]
    clock.now += LOOK_EVERY_SECONDS - EARLY_SECONDS - 0.01
    look_early()
    assert looks == ["default"]
    clock.now += 0.02
    look_early()
    assert looks == ["default"] * 2
    look_early()
    clock.now += LOOK_EVERY_SECONDS - 0.01
    read(item.pk)
    assert looks == ["default"] * 2, "the read had not to look"
    clock.now += 0.02
    look_early()
    assert looks == ["default"] * 2, "it is due: a read has to look in any case"
    read(item.pk)
    assert looks == ["default"] * 3


def test_what_it_finds_is_told(item: Item, clock: Clock, reads: list[Outcome]) -> None:
    assert [read(item.pk) for _ in range(2)] == ["old", "old"]
    write_unseen("testapp_item")
    PendingInvalidation.objects.create(
        tags=json.dumps([f"r:{scope()}:testapp_item:{item.pk}"]), writer="other"
    )
    assert read(item.pk) == "old"
    clock.now += LOOK_EVERY_SECONDS - EARLY_SECONDS / 2
    look_early()
    assert read(item.pk) == "new"
    assert not PendingInvalidation.objects.exists()


def scope() -> str:
    from perfkit.caching.databases import tag_scope

    return tag_scope(connection)


@pytest.mark.urls("tests.caching.responses.urls")
def test_a_request_ends_with_it(item: Item, clock: Clock, looks: list[str], client: Client) -> None:
    client.get(f"/item/{item.pk}")
    assert looks == ["default"]
    clock.now += LOOK_EVERY_SECONDS - EARLY_SECONDS / 2
    client.get(f"/item/{item.pk}")
    assert looks == ["default"] * 2


def test_it_leaves_a_connection_as_it_was(item: Item, clock: Clock, looks: list[str]) -> None:
    read(item.pk)
    clock.now += LOOK_EVERY_SECONDS - EARLY_SECONDS / 2
    session = connection.connection
    look_early()
    assert connection.connection is session
    connection.close()
    clock.now += LOOK_EVERY_SECONDS - EARLY_SECONDS / 2
    look_early()
    assert connection.connection is None
    assert looks == ["default"] * 3


def test_a_transaction_is_left_alone(item: Item, clock: Clock, looks: list[str]) -> None:
    read(item.pk)
    clock.now += LOOK_EVERY_SECONDS - EARLY_SECONDS / 2
    with transaction.atomic():
        look_early()
    assert looks == ["default"]


def test_an_outbox_that_cannot_be_read_is_left_to_the_next_read(
    item: Item, clock: Clock, reads: list[Outcome]
) -> None:
    read(item.pk)
    clock.now += LOOK_EVERY_SECONDS - EARLY_SECONDS / 2
    table = PendingInvalidation._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
    try:
        look_early()
        reads.clear()
        assert read(item.pk) == "old"
        assert reads == [("Item", "bypass", "outbox unreadable")]
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE away RENAME TO {table}")
    read(item.pk)
    reads.clear()
    assert read(item.pk) == "old"
    assert [outcome for _, outcome, _ in reads] == ["hit"]


def test_a_server_that_is_away_is_not_asked(
    item: Item, clock: Clock, looks: list[str], server: DisposableValkey
) -> None:
    read(item.pk)
    server.kill()
    read(item.pk)
    assert breaker.is_open
    before = list(looks)
    clock.now += LOOK_EVERY_SECONDS - EARLY_SECONDS / 2
    request_finished.send(sender=object)
    assert looks == before


def test_nobody_looks_where_nothing_was_read(looks: list[str]) -> None:
    request_finished.send(sender=object)
    assert looks == []
