"""What the network does to a write: answers that are lost, words that are said twice, a DONE that is not heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from project.services.state import LOOPBACK
from tests.caching.conftest import wait_until
from tests.caching.processes import Process
from tests.plugins.valkey import DisposableValkey
from tests.soak.proxy import Proxy
from tests.testapp.models import Item

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres, pytest.mark.redis]


@pytest.fixture
def server(valkey_server: Callable[[], DisposableValkey]) -> DisposableValkey:
    return valkey_server()


@pytest.fixture
def proxy(server: DisposableValkey) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def pk() -> int:
    return Item.plain.create(name="old").pk


def test_a_done_that_is_said_again_after_another_write_brings_nothing_back(
    pk: int, server: DisposableValkey, proxy: Proxy, start: Callable[..., Process]
) -> None:
    """The answer to it is lost with its connection; meanwhile others have read, written and committed."""
    reader, other = (start(redis_url=server.url) for _ in range(2))
    writer = start(redis_url=f"redis://{LOOPBACK}:{proxy.port}/0")
    writer.call("update", pk, "first")  # from now on the server knows all scripts
    writer.call("stop", "before done")
    writer.start("update", pk, "second")
    writer.wait_at("before done")
    proxy.deafen()
    writer.go()
    wait_until(lambda: reader.call("get", pk) == ["second", "hit"])  # DONE was heard
    assert other.call("update", pk, "third") == ""
    proxy.drop()
    proxy.heal()
    assert writer.answer() == ""
    assert reader.call("get", pk)[0] == "third"
