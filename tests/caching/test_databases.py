from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

from perfkit.caching.databases import entry_scope, is_watchable, tag_scope
from perfkit.caching.writes import attach, tracker_of


def to(**settings: Any) -> BaseDatabaseWrapper:
    """Return a connection, never opened, to another database than that of the tests."""
    return type(connections["default"])({**connection.settings_dict, **settings}, alias="other")


def test_two_ways_to_one_database_have_one_scope_of_tags() -> None:
    assert tag_scope(to(NAME="shop", HOST="10.0.0.1", PORT="6432")) == tag_scope(
        to(NAME="shop", HOST="db", PORT="")
    )


def test_databases_of_other_names_have_scopes_of_their_own() -> None:
    assert tag_scope(to(NAME="shop")) != tag_scope(to(NAME="test_shop"))
    assert entry_scope(to(NAME="shop")) != entry_scope(to(NAME="test_shop"))


def test_databases_of_one_name_never_share_entries() -> None:
    assert entry_scope(to(NAME="shop", HOST="one")) != entry_scope(to(NAME="shop", HOST="two"))


def test_it_watches_the_databases_of_the_demo() -> None:
    assert is_watchable(connections["default"])


@pytest.mark.parametrize("engine", ["tests.testapp.other_vendor"])
def test_it_leaves_other_databases_alone(engine: str) -> None:
    other = load_backend(engine).DatabaseWrapper(
        {**connection.settings_dict, "ENGINE": engine}, alias="other"
    )

    attach(connection=other)

    assert not is_watchable(other)
    assert tracker_of(other) is None
    assert other.execute_wrappers == []
