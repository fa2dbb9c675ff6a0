"""What holds for every test."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import hypothesis
import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.caching.scope import end_scope
from perfkit.monitoring import slow_queries

# Fixtures, of modules that a plugin imports too early.
from tests.plugins.browser import browser  # noqa: F401
from tests.plugins.hypopg import _hypopg_server, hypopg  # noqa: F401
from tests.plugins.pgbouncer import pgbouncer  # noqa: F401

# Other workers share the processor, so the time of one example says nothing.
# With PERFKIT_EXAMPLES=same there are no new examples, so that a change is refused for its own faults.
hypothesis.settings.register_profile(
    "perfkit", deadline=None, derandomize=os.environ.get("PERFKIT_EXAMPLES") == "same"
)
hypothesis.settings.load_profile("perfkit")


@pytest.fixture(autouse=True)
def _threads_close_databases_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close them too where a thread closes its connections: Django never does, and Python warns of that."""
    close_all = connections.close_all

    def close_really_all() -> None:
        close_all()
        if threading.current_thread() is not threading.main_thread():
            for each in connections.all(initialized_only=True):
                # A live server has lent its connection to its threads.
                if each.connection is not None and each._thread_ident == threading.get_ident():
                    BaseDatabaseWrapper.close(each)

    monkeypatch.setattr(connections, "close_all", close_really_all)


@pytest.fixture(autouse=True)
def _no_pool_outlives_its_test() -> Iterator[None]:
    """Django keeps pools by alias for the whole process: another test's would be taken for this one's."""
    yield
    pools = getattr(connections["default"], "_connection_pools", {})
    left = list(pools)
    for alias in left:
        pools.pop(alias).close()
    assert not left, "a test has left a pool: connection.close_pool() while its OPTIONS name one"


@pytest.fixture(autouse=True)
def _no_scope_outlives_its_test() -> Iterator[None]:
    """End that of a request which a test's client has left open: the next test would be shown what it knows."""
    yield
    end_scope()


@pytest.fixture(autouse=True)
def _lines_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without lines about slow queries: those of a minute would be shared by all tests of the process."""
    for name in ("_lines", "_left_out"):
        monkeypatch.setattr(slow_queries.limit, name, 0)
