"""A TCP proxy that can be cut: the network between one process and the cache server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from project.services.state import LOOPBACK

CHUNK_BYTES: Final = 65_536


class Proxy:
    """Listens on a loopback port of its own, and passes on to another one what it is told.

    While cut, connections break and new ones are closed at once.
    While muted, everything is taken and nothing passed on; what was sent meanwhile arrives later, as on a network
    that loses packets and repeats them.
    While deafened, the server hears everything and its answers are held back.

    Args:
        target_port: Where the server listens.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._requests, self._answers = asyncio.Event(), asyncio.Event()
        self._pass_all_on()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connected, LOOPBACK, 0), self._loop
        )
        self._server = listening.result()
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Break all connections, and any that is made."""
        self._do(self._cut)

    def drop(self) -> None:
        """Break all connections that there are."""
        self._do(self._drop)

    def mute(self) -> None:
        """Pass nothing on."""
        self._do(self._hold_all_back)

    def deafen(self) -> None:
        """Pass on what the clients say, and none of the answers."""
        self._do(self._answers.clear)

    def heal(self) -> None:
        """Pass everything on again, and first what came in the meantime."""
        self._do(self._heal)

    def _do(self, change: Callable[[], None]) -> None:
        """Have the loop's thread change something, and wait until it has."""

        async def run() -> None:
            change()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _cut(self) -> None:
        self._is_cut = True
        self._drop()

    def _drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _heal(self) -> None:
        self._is_cut = False
        self._pass_all_on()

    def _hold_all_back(self) -> None:
        self._requests.clear()
        self._answers.clear()

    def _pass_all_on(self) -> None:
        self._requests.set()
        self._answers.set()

    async def _end(self) -> None:
        self._server.close()
        self._cut()
        self._pass_all_on()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    async def _connected(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self._is_cut:
            client.transport.abort()
            return
        try:
            server_reader, server = await asyncio.open_connection(LOOPBACK, self._target_port)
        except OSError:  # the server is down, and so is this connection
            client.transport.abort()
            return
        self._writers |= {client, server}
        try:
            await asyncio.gather(
                self._pass(client_reader, server, self._requests),
                self._pass(server_reader, client, self._answers),
            )
        finally:
            self._writers -= {client, server}
            client.transport.abort()
            server.transport.abort()

    async def _pass(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, may_pass: asyncio.Event
    ) -> None:
        """Pass on what comes from one side, and its end."""
        try:
            while data := await source.read(CHUNK_BYTES):
                await may_pass.wait()
                target.write(data)
                await target.drain()
            await may_pass.wait()
            if target.can_write_eof():
                target.write_eof()
        except OSError:  # one side is gone: so is the other
            target.transport.abort()
