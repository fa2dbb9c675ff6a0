"""What the cache does in a project's own tests, as docs/how-to/testing.md says: these are Django's own classes."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import connection, transaction
from django.test import TestCase

from perfkit.signals import cache_read
from tests.testapp.models import Item, Volume

KEEPS_SNAPSHOT = connection.vendor == "sqlite"


def outcomes(*reads: Any) -> list[str]:
    """Return what `cache_read` tells of each read."""
    told: list[str] = []

    def listen(outcome: str, reason: str, **_: Any) -> None:
        told.append(f"{outcome} {reason}".strip())

    cache_read.connect(listen)
    try:
        for read in reads:
            read()
    finally:
        cache_read.disconnect(listen)
    return told


class TestOneThatHasWritten(TestCase):
    item: ClassVar[Item]

    @classmethod
    def setUpTestData(cls) -> None:
        cls.item = Item.plain.create(name="old")

    def test_it_reads_the_database(self) -> None:
        for name in ("one", "two"):
            Item.plain.filter(pk=self.item.pk).update(name=name)
            with self.assertNumQueries(2):
                assert Item.objects.get(pk=self.item.pk).name == name
                assert Item.objects.get(name=name).pk == self.item.pk

    def test_it_does_so_after_a_rollback_to_a_savepoint(self) -> None:
        with transaction.atomic():
            Item.plain.filter(pk=self.item.pk).update(name="new")
            transaction.set_rollback(True)
        assert outcomes(lambda: Item.objects.get(pk=self.item.pk)) == ["bypass written in this transaction"]

    def test_it_stores_nothing_of_other_tables(self) -> None:
        reason = "snapshot" if KEEPS_SNAPSHOT else "transaction has written"
        assert outcomes(Volume.objects.count, Volume.objects.count) == [f"bypass {reason}"] * 2


class TestOneThatHasNotWritten(TestCase):
    def test_it_is_cached_on_postgresql_and_not_on_sqlite(self) -> None:
        told = outcomes(Item.objects.count, Item.objects.count)
        assert told == (["bypass snapshot"] * 2 if KEEPS_SNAPSHOT else ["miss", "hit"])
