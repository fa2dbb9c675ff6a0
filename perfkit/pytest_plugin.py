"""The guard in pytest: the marker and the fixture `no_n_plus_one`.

pytest finds it by itself where perfkit is installed. It loads nothing of Django before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from perfkit.loading.guard.watch import Watch

MARKER = "no_n_plus_one(*, threshold=None, allow=()): fail the test where it sends queries in a loop."


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def no_n_plus_one() -> Callable[..., AbstractContextManager[Watch]]:
    """Return `perfkit.loading.no_n_plus_one`, for a part of the test: what comes before may fill tables in a loop.

    Example:
        def test_the_list(client, no_n_plus_one):
            make_flights(10)
            with no_n_plus_one():
                client.get("/flights/")
    """
    from perfkit.loading import no_n_plus_one as guard  # Django is set up by now

    return guard


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Watch a test that has the marker; its fixtures may do what they like."""
    marker = item.get_closest_marker("no_n_plus_one")
    if marker is None:
        return (yield)
    from perfkit.loading import allow_n_plus_one
    from perfkit.loading import no_n_plus_one as guard

    allow = marker.kwargs.get("allow", ())
    with ExitStack() as stack:
        stack.enter_context(guard(threshold=marker.kwargs.get("threshold")))
        if allow:
            stack.enter_context(allow_n_plus_one(*([allow] if isinstance(allow, str) else allow)))
        return (yield)
