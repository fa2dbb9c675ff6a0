"""A cached manager against a plain one, under random writes of two connections."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.caching.actors import WritersMachine, actors, execute
from tests.testapp.models import Item

KEYS = (1, 2, 3)

keys = st.sampled_from(KEYS)
counts = st.integers(0, 3)


def found(manager: Any, key: int) -> tuple[str, int] | None:
    try:
        item = manager.get(pk=key)
    except Item.DoesNotExist:
        return None
    return item.name, item.count


class CachedAgainstPlain(WritersMachine):
    def teardown(self) -> None:
        super().teardown()
        Item.plain.all().delete()

    @rule(actor=actors, key=keys, count=counts)
    def save(self, actor: int, key: int, count: int) -> None:
        self.write(actor, lambda name: Item(id=key, name=name, count=count).save())

    @rule(actor=actors, key=keys, count=counts)
    def save_what_was_read(self, actor: int, key: int, count: int) -> None:
        def save(name: str) -> None:
            for item in Item.plain.filter(pk=key):
                item.name, item.count = name, count
                item.save(update_fields=["name"] if count else None)

        self.write(actor, save)

    @rule(actor=actors, key=keys)
    def update(self, actor: int, key: int) -> None:
        self.write(actor, lambda name: Item.plain.filter(pk=key).update(name=name))

    @rule(actor=actors, count=counts)
    def update_some(self, actor: int, count: int) -> None:
        self.write(actor, lambda name: Item.plain.filter(count__gte=count).update(name=name))

    @rule(actor=actors, some=st.lists(keys, unique=True))
    def bulk_update(self, actor: int, some: list[int]) -> None:
        self.write(
            actor, lambda name: Item.plain.bulk_update([Item(id=key, name=name) for key in some], ["name"])
        )

    @rule(actor=actors, some=st.lists(keys, unique=True, min_size=1))
    def upsert(self, actor: int, some: list[int]) -> None:
        self.write(
            actor,
            lambda name: Item.plain.bulk_create(
                [Item(id=key, name=name) for key in some],
                update_conflicts=True,
                update_fields=["name"],
                unique_fields=["id"],
            ),
        )

    @rule(actor=actors, key=keys)
    def raw(self, actor: int, key: int) -> None:
        self.write(actor, lambda name: execute("update testapp_item set name = %s where id = %s", name, key))

    @rule(actor=actors, key=keys)
    def delete(self, actor: int, key: int) -> None:
        self.write(actor, lambda _: Item.plain.filter(pk=key).delete())

    @rule(actor=actors, key=keys)
    def delete_instance(self, actor: int, key: int) -> None:
        self.write(actor, lambda _: Item(id=key).delete())

    @invariant()
    def it_reads_what_the_database_holds(self) -> None:
        for actor in self.actors:
            for key in KEYS:
                assert actor.do(lambda key=key: found(Item.objects, key)) == actor.do(
                    lambda key=key: found(Item.plain, key)
                )


@pytest.mark.django_db(transaction=True)
def test_it_cannot_be_told_from_a_plain_manager() -> None:
    run_state_machine_as_test(
        CachedAgainstPlain,
        settings=settings(
            max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
