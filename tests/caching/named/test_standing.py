"""How a thread stands is the same object exactly as long as nothing has changed."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import override_settings
from django.utils import timezone, translation

from perfkit.caching import cached, token_scope
from perfkit.caching.named.contexts import current_context
from perfkit.caching.named.standing import current_standing
from tests.testapp.models import Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


@cached("standing:name:{pk}")
def name_of(pk: int) -> str:
    return str(Item.objects.get(pk=pk).name)


@pytest.fixture(autouse=True)
def _opened() -> None:
    connection.ensure_connection()


def test_it_is_the_same_while_nothing_changes() -> None:
    standing = current_standing()
    assert standing is not None
    assert standing.context == current_context()
    assert Item.objects.count() == 0
    with transaction.atomic():
        Item.objects.create(name="a")
    assert current_standing() is standing


@contextmanager
def _begun() -> Any:
    connection.cursor().execute("BEGIN")
    yield
    connection.cursor().execute("ROLLBACK")


@contextmanager
def _without_autocommit() -> Any:
    transaction.set_autocommit(False)
    yield
    transaction.rollback()
    transaction.set_autocommit(True)


@pytest.mark.parametrize("state", [transaction.atomic, _begun, _without_autocommit])
def test_it_is_none_in_a_transaction(state: Callable[[], AbstractContextManager[None]]) -> None:
    standing = current_standing()
    with state():
        assert current_standing() is None
    assert current_standing() is standing
    assert standing is not None


def test_it_is_none_in_a_session_of_its_own_until_that_ends() -> None:
    connection.cursor().execute("SET search_path TO public")
    assert current_standing() is None
    connection.close()
    connection.ensure_connection()
    assert current_standing() is not None


@pytest.mark.parametrize(
    "other",
    [
        lambda: translation.override("de"),
        lambda: timezone.override("Asia/Tokyo"),
        lambda: timezone.override("Europe/Berlin"),
    ],
)
def test_it_is_another_elsewhere(other: Callable[[], AbstractContextManager[None]]) -> None:
    standing = current_standing()
    with other():
        elsewhere = current_standing()
        assert elsewhere is not None
        assert elsewhere is not standing
        assert elsewhere.context == current_context() != standing.context  # type: ignore[union-attr]  # asked above
        assert current_standing() is elsewhere
    again = current_standing()
    assert again is not None
    assert again.context == current_context()


@pytest.mark.parametrize("other", [{"LANGUAGE_CODE": "de"}, {"TIME_ZONE": "Asia/Tokyo"}, {"USE_TZ": False}])
def test_it_is_another_under_other_settings(other: dict[str, Any]) -> None:
    standing = current_standing()
    with override_settings(**other):
        elsewhere = current_standing()
        assert elsewhere is not None
        assert elsewhere.context == current_context() != standing.context  # type: ignore[union-attr]  # it stands
        with translation.override("fr"):
            assert current_context()[1] == "fr"
        with translation.override("it"):
            assert current_context()[1] == "it"
    again = current_standing()
    assert again is not None
    assert again.context == standing.context  # type: ignore[union-attr]  # it stands


def test_another_connection_is_another_way_to_stand() -> None:
    standing = current_standing()
    connection.close()
    closed = current_standing()
    assert closed is not standing
    connection.ensure_connection()
    assert current_standing() not in {standing, closed}


def test_other_settings_of_a_closed_connection_are_another_database(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    standing = current_standing()
    assert standing is not None
    monkeypatch.setitem(connection.settings_dict, "NAME", "another")
    another = current_standing()
    assert another is not None
    assert another.context != standing.context


def test_a_database_that_is_added_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    standing = current_standing()
    monkeypatch.setitem(connections.settings, "added", {**connections.settings["default"], "NAME": "added"})
    try:
        added = current_standing()
        assert added is not None
        assert added.context != standing.context  # type: ignore[union-attr]  # it stands
    finally:
        if hasattr(connections._connections, "added"):  # type: ignore[attr-defined]  # asgiref's
            delattr(connections._connections, "added")  # type: ignore[attr-defined]  # likewise


def test_it_is_none_in_the_transaction_of_a_connection_that_was_handed_over() -> None:
    found = []
    item = Item.plain.create(name="old")
    with token_scope(), transaction.atomic():
        assert [name_of(item.pk), name_of(item.pk)] == ["old", "old"]
        Item.objects.filter(pk=item.pk).update(name="new")
        connection.inc_thread_sharing()
        handed_over = connections["default"]

        def ask() -> None:
            connections["default"] = handed_over
            found.extend([current_standing(), name_of(item.pk), name_of(item.pk)])

        thread = threading.Thread(target=contextvars.copy_context().run, args=(ask,))
        thread.start()
        thread.join()
        connection.dec_thread_sharing()
    assert found == [None, "new", "new"]


def test_each_thread_has_its_own() -> None:
    found = []

    def ask() -> None:
        found.append(current_standing())
        connections.close_all()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found[0] is not None
    assert found[0] is not current_standing()
