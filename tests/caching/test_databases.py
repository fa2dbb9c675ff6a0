from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

from perfkit.caching.databases import entry_scope, is_watchable, tag_scope
from perfkit.caching.named.recording import Recording
from perfkit.caching.recorder import recorded_by
from perfkit.caching.store.local import LocalStore
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


ASK_TWO_PROCESSES = """
import os, sys
from django.conf import settings
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}})
from django.db import connection
from perfkit.caching.databases import entry_scope
if os.fork():
    os.wait()
print(entry_scope(connection), flush=True)
"""


@pytest.mark.parametrize(
    ("database", "is_shared"),
    [("file:memorydb_default?mode=memory&cache=shared", False), ("shop.sqlite3", True)],
)
def test_a_database_in_memory_shares_entries_with_no_other_process(database: str, is_shared: bool) -> None:
    command = [sys.executable, "-c", ASK_TWO_PROCESSES, database]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert len(told) == 2
    assert (told[0] == told[1]) is is_shared


def test_it_watches_the_databases_of_the_demo() -> None:
    assert is_watchable(connections["default"])


@pytest.mark.parametrize("engine", ["tests.testapp.other_vendor"])
def test_it_only_notes_that_other_databases_are_read(engine: str) -> None:
    other = load_backend(engine).DatabaseWrapper(
        {**connection.settings_dict, "ENGINE": engine}, alias="other"
    )

    attach(connection=other)

    assert not is_watchable(other)
    assert tracker_of(other) is None
    [wrapper] = other.execute_wrappers
    asked = Recording(LocalStore(), {})
    with recorded_by(asked):
        assert wrapper(lambda *statement: statement, "SELECT 1", None, False, {}) == (
            "SELECT 1",
            None,
            False,
            {},
        )
    assert asked.refusal == "driver"
