"""What is recorded while a named value is made: tokens from before, of what it was really made of."""

from __future__ import annotations

import pytest
from django.db import connection

from perfkit.caching import cached, token_scope
from perfkit.caching.databases import tag_scope
from perfkit.caching.store import current_store
from perfkit.caching.tags import any_write_tag, row_tag
from tests.testapp.models import Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


@cached(ttl=600)
def names() -> list[str]:
    return [item.name for item in Item.objects.order_by("pk")]


def test_a_value_made_of_what_its_request_knew_from_before_is_not_kept() -> None:
    """Another process writes after the request has asked; within it the old rows are shown, and to nobody else."""
    item = Item.plain.create(name="old")
    with token_scope():
        names()  # learns which tables it reads
    with token_scope():
        assert [row.name for row in Item.objects.order_by("pk")] == ["old"]
        assert [row.name for row in Item.objects.order_by("pk")] == ["old"]
        names.invalidate()
        written_by_another_process(item, "new")
        assert names() == ["old"], "the request began before the write"
    assert names() == ["new"]


def written_by_another_process(item: Item, name: str) -> None:
    """Write a row, and void what depends on it, with no word to the scopes of this process."""
    connection.ensure_connection()
    driver = connection.connection
    driver.execute(f"UPDATE testapp_item SET name = '{name}' WHERE id = {item.pk}")
    if connection.vendor == "sqlite":
        driver.commit()
    scope = tag_scope(connection)
    store = current_store()
    assert store is not None
    store.void([any_write_tag(scope, "testapp_item"), row_tag(scope, "testapp_item", item.pk)])
