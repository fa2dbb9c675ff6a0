from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable

import pytest
import redis
from django.conf import LazySettings
from hypothesis import given
from hypothesis import strategies as st

from perfkit.caching.store import StoreError, current_store
from perfkit.caching.store.packing import Words, packed
from perfkit.caching.store.redis import RedisStore
from perfkit.caching.tokens import is_in_flight, new_writer
from project.services.state import LOOPBACK
from tests.caching.conftest import wait_until
from tests.caching.store.conftest import opened
from tests.plugins.valkey import DisposableValkey

pytestmark = pytest.mark.redis

TAGS = [f"r:default:t:{number}" for number in range(300)]


ONLY_FROM_OUTSIDE = {"evalsha", "eval", "ping", "script|load"}
"""Commands that our scripts do not call, so that the server's counters tell of round trips."""


@pytest.mark.parametrize(
    ("act", "command"),
    [
        (lambda store: store.read("e:1", TAGS), "evalsha"),
        (lambda store: store.take(TAGS), "evalsha"),
        (lambda store: store.mark(TAGS, writer="0a"), "evalsha"),
        (lambda store: store.done(TAGS, writer="0a"), "evalsha"),
        (lambda store: store.void(TAGS), "evalsha"),
    ],
    ids=["read", "take", "mark", "done", "void"],
)
def test_it_needs_one_command_for_any_number_of_tags(
    store: RedisStore, client: redis.Redis, act: Callable[[RedisStore], object], command: str
) -> None:
    act(store)  # the first time opens the connection and loads the script
    client.config_resetstat()
    act(store)
    told = client.info("commandstats")
    counted = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in told.items()}
    assert {name: calls for name, calls in counted.items() if name in ONLY_FROM_OUTSIDE} == {command: 1}


@given(st.lists(st.text() | st.binary() | st.integers(), min_size=1))
def test_it_writes_commands_down_as_redis_py_does(command: list[str | bytes | int]) -> None:
    command = ["EVALSHA", *command]
    assert packed(*command) == b"".join(redis.Connection().pack_command(*command))
    for place in range(len(command) + 1):
        before, after = Words.of(*command[:place]), Words.of(*command[place:])
        assert packed(before, after) == packed(*command[:place], after) == packed(*command)


def test_it_needs_one_command_to_fill(store: RedisStore, client: redis.Redis) -> None:
    store.fill({"e:1": b"x"}, ttl_seconds=9)
    client.config_resetstat()
    store.fill({"e:1": b"x"}, ttl_seconds=9)
    told = client.info("commandstats")
    assert {name: stat["calls"] for name, stat in told.items() if "config" not in name} == {"cmdstat_set": 1}


def test_it_keeps_prefixes_apart(client: redis.Redis, store: RedisStore) -> None:
    other = opened(client, prefix="tes")
    starred = opened(client, prefix="t*t")
    [token] = store.take(["r:1"])
    store.fill({"e:1": b"entry"}, ttl_seconds=60)
    assert other.tokens(["r:1"]) == (None,)
    assert other.read("e:1", ["r:1"]).entry is None
    other.take(["r:1"])
    other.clear()
    starred.clear()
    assert store.read("e:1", ["r:1"]) == (b"entry", (token,))
    other.close()
    starred.close()


def test_it_clears_only_what_is_its_own(client: redis.Redis, store: RedisStore) -> None:
    client.set("testament", "kept")
    client.set("session", "kept")
    store.take(TAGS)
    store.clear()
    assert sorted(client.keys()) == [b"session", b"testament"]


def test_it_gives_every_key_an_end(client: redis.Redis, store: RedisStore) -> None:
    store.take(["r:1"])
    store.mark(["r:2"], writer="0a")
    store.void(["r:3"])
    store.fill({"e:1": b"entry", "e:2": b"entry"}, ttl_seconds=60)
    store.fill({"e:3": b"entry"}, ttl_seconds=60)
    store.done(["r:4"], writer="0a")
    keys = client.keys()
    assert len(keys) == 7
    assert all(client.pttl(key) > 0 for key in keys)


@pytest.mark.parametrize("act", ["take", "mark", "done", "void"])
@pytest.mark.parametrize("kind", ["list", "hash", "set"])
def test_it_takes_a_token_of_a_foreign_type_for_none(
    client: redis.Redis, store: RedisStore, act: str, kind: str
) -> None:
    store.take(["r:1"])
    [key] = client.keys()
    client.delete(key)
    {
        "list": lambda: client.lpush(key, "x"),
        "hash": lambda: client.hset(key, "x", "y"),
        "set": lambda: client.sadd(key, "x"),
    }[kind]()
    assert store.tokens(["r:1"]) == (None,)
    arguments = {"writer": "0a"} if act in {"mark", "done"} else {}
    getattr(store, act)(["r:1"], **arguments)
    [token] = store.tokens(["r:1"])
    assert token is not None
    assert is_in_flight(token) == (act == "mark")


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"w",
        b"wzz",
        b"w@",
        b"w0a@",
        b"w@5",
        b"w0a@-1",
        b"w0a@99999999999999999999999",
        b"\xff\xfe",
        b"g" * 9,
    ],
)
def test_it_recovers_from_a_token_that_nobody_of_us_wrote(
    client: redis.Redis, store: RedisStore, token: bytes
) -> None:
    store.take(["r:1"])
    [key] = client.keys()
    client.set(key, token)
    assert store.read("e:1", ["r:1"]).tokens == (token,)
    writer = new_writer()
    store.mark(["r:1"], writer=writer)
    assert is_in_flight(store.take(["r:1"])[0])
    store.done(["r:1"], writer=writer)
    assert store.take(["r:1"]) != (token,)


def test_it_survives_a_flush_of_the_scripts(client: redis.Redis, store: RedisStore) -> None:
    store.take(["r:1"])
    client.script_flush()
    store.mark(["r:1"], writer="0a")
    assert is_in_flight(store.take(["r:1"])[0])


def test_it_says_so_where_no_server_answers() -> None:
    with socket.socket() as unused:
        unused.bind((LOOPBACK, 0))
        with redis.Redis(host=LOOPBACK, port=unused.getsockname()[1]) as client:
            store = opened(client)
            for act in (
                lambda: store.read("e:1", ["r:1"]),
                lambda: store.take(["r:1"]),
                lambda: store.fill({"e:1": b"x"}, ttl_seconds=1),
                lambda: store.mark(["r:1"], writer="0a"),
                lambda: store.done(["r:1"], writer="0a"),
                lambda: store.void(["r:1"]),
                store.clear,
            ):
                with pytest.raises(StoreError):
                    act()


def test_it_asks_its_connections_to_give_up_soon(client: redis.Redis) -> None:
    store = opened(client, timeout_seconds=0.05)
    store.take(["r:1"])
    [connection] = store._server._idle
    assert connection.socket_timeout == connection.socket_connect_timeout == 0.05
    assert connection.retry.get_retries() == 0
    store.close()


class TestRestart:
    """A server that comes back is another one, whatever it remembers."""

    def test_it_trusts_nothing_that_a_restarted_server_remembers(
        self, valkey_server: Callable[[], DisposableValkey]
    ) -> None:
        server = valkey_server()
        client = redis.Redis.from_url(server.url)
        store = opened(client)
        tokens = store.take(["r:1"])
        store.fill({"e:1": b"entry"}, ttl_seconds=60)
        remembered = {key: client.dump(key) for key in client.scan_iter()}
        server.kill()
        with pytest.raises(StoreError):
            store.read("e:1", ["r:1"])
        server.start()
        for key, value in remembered.items():
            client.restore(key, 0, value)
        assert store.tokens(["r:1"]) == (None,)
        assert store.read("e:1", ["r:1"]).entry is None
        assert store.take(["r:1"]) != tokens
        client.close()
        store.close()

    def test_it_goes_on_at_once_though_the_server_changed_between_two_commands(
        self, valkey_server: Callable[[], DisposableValkey]
    ) -> None:
        """The connection breaks unnoticed; the next command opens another and meets the new server."""
        server = valkey_server()
        client = redis.Redis.from_url(server.url)
        store = opened(client)
        store.take(["r:1"])
        server.stop()
        server.start()
        [token] = store.take(["r:1"])
        assert token.startswith(b"g")
        client.close()
        store.close()


class Switch:
    """A port behind which the server can be exchanged, as a virtual address does; open connections stay."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.connections: list[socket.socket] = []
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection((LOOPBACK, self.target))
            self.connections += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, sink)).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            sink.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                connection.close()
        self._thread.join()


def test_it_leaves_the_old_server_with_every_connection_once_it_has_met_another(
    valkey_server: Callable[[], DisposableValkey],
) -> None:
    old, new = valkey_server(), valkey_server()
    switch = Switch(old.port)
    client = redis.Redis(host=LOOPBACK, port=switch.port)
    store = opened(client)
    met = store._server
    store.take(["r:1"])
    first, second = met._taken(), met._taken()
    second.connect()
    met._idle.extend([first, second])
    switch.target = new.port
    second.disconnect()
    store.take(["r:1"])  # over the broken connection: meets the new server
    with redis.Redis.from_url(old.url) as direct:
        direct.config_resetstat()
        busy = store._server._taken()  # so that the next command takes another connection
        store.mark(["r:1"], writer="0a")
        store._server._idle.append(busy)
        assert "cmdstat_evalsha" not in direct.info("commandstats")
    with redis.Redis.from_url(new.url) as direct:
        assert any(is_in_flight(direct.get(key)) for key in direct.scan_iter())
    store.close()
    client.close()
    switch.close()


def test_a_store_that_is_forgotten_closes_its_connections(
    server_url: str, client: redis.Redis, settings: LazySettings
) -> None:
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": server_url}}
    others = connected(client)
    store = current_store()
    assert store is not None
    store.tokens(TAGS)
    its_own = connected(client) - others
    assert its_own
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_KEY_PREFIX": "another"}
    wait_until(lambda: its_own.isdisjoint(connected(client)))
    assert current_store() is not store


def connected(client: redis.Redis) -> set[str]:
    """Return the connections that the server has, by their numbers."""
    return {each["id"] for each in client.client_list()}


def test_a_child_that_c_code_forked_does_not_use_its_parents_connection(store: RedisStore) -> None:
    """As servers do that embed Python: no hook of `os.fork` runs."""
    store.take(TAGS[:1])
    parents = store._server._idle[-1]
    assert parents.is_connected
    child = ctypes.PyDLL(None).fork()
    if not child:
        os._exit(store._server._taken() is parents)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
