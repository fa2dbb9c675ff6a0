"""The panel itself: when it looks, and what it shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from inspect import isawaitable
from typing import Any

from asgiref.sync import sync_to_async
from debug_toolbar.panels import Panel
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from perfkit.caching.coherence import breaker
from perfkit.caching.store import current_store
from perfkit.conf import options
from perfkit.errors import SettingsError
from perfkit.loading.guard.scope import watching
from perfkit.loading.guard.watch import LANDMARKS, Watch
from perfkit.monitoring.panel.collecting import Collector, collecting, install, told_finding
from perfkit.monitoring.panel.summary import summary


class PerfkitPanel(Panel):
    """What perfkit did in one request: put it into `DEBUG_TOOLBAR_PANELS`."""

    is_async = True
    title = "perfkit"
    template = "perfkit/panel.html"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._collector = Collector()
        # Where the project's own guard is on, it takes the place of this watch, and tells what it finds.
        self._watch = Watch(threshold=options.N_PLUS_ONE_MIN_QUERIES, gives_way=True)

    @classmethod
    def ready(cls) -> None:
        """Have statements timed; called when Django starts."""
        install()

    @property
    def nav_subtitle(self) -> str:
        """What stands below the title in the list of panels."""
        stats = self._base.get_stats()
        if not stats:
            return ""
        parts = [_told(stats["queries"], "query", "queries")]
        reads = stats["hits"] + stats["misses"] + stats["bypasses"]
        if reads:
            parts.insert(0, f"{stats['hits']} of {_told(reads, 'read', 'reads')} from the cache")
        if stats["findings"]:
            parts.append(f"{len(stats['findings'])} N+1")
        if stats["state"] == "down":
            parts.append("cache server down")
        return ", ".join(parts)

    def process_request(self, request: HttpRequest) -> Any:
        """Have the request answered, and hear what happens meanwhile."""
        with self._looking():
            response = self._base.process_request(request)
        return self._awaited(response) if isawaitable(response) else response

    def generate_stats(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Record what has happened; of a streaming response again when it has ended."""
        self._record()
        streaming: Any = response
        # A file may be sent by the server itself, as long as nobody touches it.
        if response.streaming and getattr(response, "file_to_stream", None) is None:
            follow = self._followed_async if streaming.is_async else self._followed
            streaming.streaming_content = follow(streaming.streaming_content)

    @property
    def _base(self) -> Any:
        return super()  # which has no types

    @contextmanager
    def _looking(self) -> Iterator[None]:
        with ExitStack() as stack:
            enter: Callable[[AbstractContextManager[None]], None] = stack.enter_context
            enter(collecting(self._collector))
            enter(watching(self._watch))
            yield

    async def _awaited(self, response: Awaitable[Any]) -> Any:
        with self._looking():
            return await response

    def _followed(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        try:
            while True:
                with self._looking():
                    part = next(parts, None)
                if part is None:
                    return
                yield part
        finally:
            self._record()

    async def _followed_async(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            while True:
                with self._looking():
                    part = await anext(parts, None)
                if part is None:
                    return
                yield part
        finally:
            await sync_to_async(self._record)()

    def _record(self) -> None:
        stats = summary(self._collector, **self._state())
        stats["findings"] = [*stats["findings"], *map(told_finding, self._watch.findings)]
        self._base.record_stats(stats)

    def _state(self) -> dict[str, str]:
        try:
            is_off = not options.CACHE_ENABLED or current_store() is None
        except SettingsError as error:  # a project that caches nothing may have any back end
            return {"state": "unusable", "problem": str(error)}
        if is_off:
            return {"state": "off"}
        return {"state": "down" if breaker.is_open or self._collector.has_outage else ""}


def _told(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


LANDMARKS.add_end(PerfkitPanel.process_request.__code__)
