"""A server of models, and processes that ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from typing import Any

import pytest
from django.conf import settings as django_settings

from perfkit.caching.store import current_store
from perfkit.conf import configured
from tests.caching.conftest import forget_everything
from tests.caching.processes import CONTEXT, way_to_database
from tests.inference import upstream
from tests.inference.upstream import KEY, Upstream

PATIENCE_SECONDS = 40


@pytest.fixture
def server(settings: Any) -> Iterator[Upstream]:
    """A server of models; nothing is kept or counted yet."""
    settings.PERFKIT = {**configured(), "CACHE_TIMEOUT": 5.0}
    forget_everything()
    store = current_store()
    assert store is not None
    store.clear()
    with upstream.running() as server:
        yield server


@pytest.fixture
def adapter(server: Upstream) -> Iterator[Any]:
    from perfkit.inference import OpenAICompatibleAdapter

    adapter = OpenAICompatibleAdapter(server.url, api_key=KEY, timeout=10, most_bytes=100_000)
    yield adapter
    adapter.close()


class Asker:
    """A process that asks models; see `child`."""

    def __init__(self, *, redis_url: str = "", **options: Any) -> None:
        CONTEXT.set_forkserver_preload(["pytest", "tests.caching.processes.child", "tests.inference.child"])
        forkserver.ensure_running()
        from tests.inference.child import run  # imports Django's models

        self._pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(
            target=run,
            args=[theirs],
            kwargs={
                "database": way_to_database(),
                "redis_url": redis_url or django_settings.CACHES["default"]["LOCATION"],
                "options": {"CACHE_TIMEOUT": 10.0, **options},
            },
        )
        self._process.start()
        theirs.close()

    def require_ready(self) -> None:
        assert self.answer() == "ready"

    def start(self, name: str, *args: Any) -> None:
        """Have the process call one of its functions, and do not wait for it."""
        self._pipe.send((name, args))

    def wait_until_it_waits(self) -> None:
        """Return once it waits for another one's call."""
        assert self._told() == "it waits"

    def answer(self) -> Any:
        """Return what the function that was started has returned."""
        told = self._told()
        return self._told() if told == "it waits" else told

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self.end()

    def end(self) -> None:
        """Let it end."""
        self._pipe.close()
        self._process.join(timeout=20)
        assert self._process.exitcode is not None

    def _told(self) -> Any:
        assert self._pipe.poll(PATIENCE_SECONDS), "The process says nothing."
        return self._pipe.recv()


def started(number: int, **options: Any) -> list[Asker]:
    askers = [Asker(**options) for _ in range(number)]
    for asker in askers:
        asker.require_ready()
    return askers


@pytest.fixture(scope="module")
def eight(django_db_setup: None) -> Iterator[list[Asker]]:
    """Eight processes that last for the tests of a module."""
    askers = started(8)
    yield askers
    for asker in askers:
        asker.end()


@pytest.fixture
def askers() -> Iterator[Callable[..., list[Asker]]]:
    """A function that starts processes of the test's own, which it may kill."""
    made: list[Asker] = []

    def start(number: int, **options: Any) -> list[Asker]:
        made.extend(now := started(number, **options))
        return now

    yield start
    for asker in made:
        asker.end()
