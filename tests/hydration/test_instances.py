from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import Model
from django.db.models.signals import post_init, pre_init
from hypothesis import given
from hypothesis import strategies as st

from perfkit.hydration import instance_builder
from perfkit.hydration.eligibility import has_plain_columns, is_untouched
from tests.hydration.comparison import models_initialised, portrait
from tests.testapp.bulk import Car, Everything
from tests.testapp.caching import Item, Loud, Sample
from tests.testapp.hydration import Square
from tests.testapp.loading import Book, Publisher

NAMES = {model: tuple(field.attname for field in model._meta.concrete_fields)
         for model in (Book, Car, Everything, Item, Loud, Publisher, Sample, Square)}  # fmt: skip


@pytest.mark.parametrize("model", [Book, Car, Everything, Item, Sample, Square])
@given(data=st.data())
def test_it_builds_what_from_db_builds(model: type[Model], data: st.DataObject) -> None:
    keys = {field.attname for field in model._meta.pk_fields}
    chosen = data.draw(st.sets(st.sampled_from(NAMES[model]))) | keys
    names = tuple(name for name in NAMES[model] if name in chosen)
    values = data.draw(
        st.lists(st.none() | st.integers() | st.text(), min_size=len(names), max_size=len(names))
    )

    ours = instance_builder(model, names)("other", values)

    djangos = model.from_db("other", names, values)
    assert portrait(ours) == portrait(djangos)
    assert portrait(pickle.loads(pickle.dumps(ours))) == portrait(pickle.loads(pickle.dumps(djangos)))  # noqa: S301


def test_it_builds_without_djangos_constructor() -> None:
    build = instance_builder(Item, NAMES[Item])

    assert models_initialised(lambda: build("default", (1, "item", 3))) == []


def test_it_shares_nothing_between_instances() -> None:
    build = instance_builder(Book, NAMES[Book])
    first, second = build("default", (1, "a", 1, None)), build("default", (2, "b", 1, None))

    first.publisher = Publisher(pk=5)

    assert second._state is not first._state
    assert second._state.fields_cache == {}
    assert second.publisher_id == 1


@pytest.mark.parametrize("names", [("name", "id", "count"), ("id", "name", "name"), ("id", "nothing")])
def test_it_leaves_names_in_another_order_to_django(names: tuple[str, ...]) -> None:
    values = list(range(1, len(names) + 1))

    assert not has_plain_columns(Item, names)
    assert portrait(outcome(lambda: instance_builder(Item, names)("default", values))) == portrait(
        outcome(lambda: Item.from_db("default", names, values))
    )


def outcome(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except StopIteration as error:
        return type(error)


@pytest.mark.parametrize("signal", [pre_init, post_init], ids=["pre_init", "post_init"])
@pytest.mark.parametrize("sender", [Item, None, "testapp.Item"], ids=["its own", "of all", "named"])
def test_it_tells_a_receiver_that_is_connected_later(signal: Any, sender: Any) -> None:
    build = instance_builder(Item, NAMES[Item])
    build("default", (1, "item", 3))
    told: list[Any] = []

    def listen(sender: type[Model], **_: Any) -> None:
        told.append(sender)

    signal.connect(listen, sender=sender)
    try:
        build("default", (2, "item", 3))
        assert told == [Item]
    finally:
        signal.disconnect(listen, sender=sender)
    build("default", (3, "item", 3))
    assert told == [Item]


@pytest.mark.parametrize("signal", [pre_init, post_init], ids=["pre_init", "post_init"])
def test_a_receiver_of_another_model_changes_nothing(signal: Any) -> None:
    def listen(**_: Any) -> None:
        raise AssertionError

    signal.connect(listen, sender=Publisher)
    try:
        assert is_untouched(Item)
        assert not is_untouched(Publisher)
    finally:
        signal.disconnect(listen, sender=Publisher)
    assert is_untouched(Publisher)


@pytest.mark.parametrize("owner", [Item, Model])
@pytest.mark.parametrize("hook", ["__init__", "__setattr__", "from_db"])
def test_it_uses_a_hook_that_is_patched_later(
    monkeypatch: pytest.MonkeyPatch, owner: type[Model], hook: str
) -> None:
    build = instance_builder(Item, NAMES[Item])
    build("default", (1, "item", 3))
    called: list[str] = []
    original = Item.from_db.__func__ if hook == "from_db" else getattr(Item, hook)

    def patched(first: Any, *args: Any, **kwargs: Any) -> Any:
        called.append(hook)
        return original(first, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, hook, classmethod(patched) if hook == "from_db" else patched)
        built = build("default", (2, "item", 3))

    assert called
    assert (built.pk, built._state.db) == (2, "default")
    called.clear()
    build("default", (3, "item", 3))
    assert not called


def test_it_uses_a_models_own_from_db() -> None:
    assert instance_builder(Loud, NAMES[Loud])("default", (1, "loud")).was_loaded  # type: ignore[attr-defined]
