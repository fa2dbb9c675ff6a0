from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from asgiref.sync import async_to_sync, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import ResolverMatch

from perfkit.monitoring import metrics, timed
from perfkit.monitoring.figures import NamedTiming
from perfkit.monitoring.work import MOST_NAMES, current_work
from perfkit.monitoring.work import measured as measured_work
from tests.monitoring.conftest import Measured


def found(measured: Measured) -> dict[str, NamedTiming]:
    return {each.name: each for each in measured.summary().timed}


class TestTimed:
    def test_a_block_is_a_run(self, measured: Measured) -> None:
        for _ in range(3):
            with timed("block"):
                pass
        assert found(measured)["block"].timing.count == 3
        assert found(measured)["block"].second == 0

    def test_what_raises_is_counted_and_raised(self, measured: Measured) -> None:
        @timed("raising")
        def raising() -> None:
            raise ValueError("secret")

        for _ in range(2):
            with pytest.raises(ValueError, match="secret"):
                raising()
        assert (found(measured)["raising"].timing.count, found(measured)["raising"].second) == (2, 2)

    def test_each_level_within_itself_is_a_run(self, measured: Measured) -> None:
        @timed("recursive")
        def factorial(number: int) -> int:
            return number * factorial(number - 1) if number else 1

        assert factorial(5) == 120
        assert found(measured)["recursive"].timing.count == 6

    def test_one_object_holds_blocks_within_each_other(self, measured: Measured) -> None:
        one = timed("nested")
        with one, one:
            pass
        assert found(measured)["nested"].timing.count == 2

    def test_a_coroutine_is_measured_until_it_is_done(self, measured: Measured) -> None:
        @timed("coroutine")
        async def wait(seconds: float) -> float:
            await asyncio.sleep(seconds)
            return seconds

        async def all_at_once() -> list[float]:
            return await asyncio.gather(*(wait(0.05) for _ in range(4)))

        assert async_to_sync(all_at_once)() == [0.05] * 4
        timing = found(measured)["coroutine"].timing
        assert timing.count == 4
        assert timing.total_seconds >= 4 * 0.05

    def test_a_function_that_is_marked_as_one_is_awaited(self, measured: Measured) -> None:
        def marked() -> asyncio.Future[None]:
            return asyncio.ensure_future(asyncio.sleep(0.05))

        wrapped = timed("marked")(markcoroutinefunction(marked))

        async def run() -> None:
            await wrapped()

        async_to_sync(run)()
        assert found(measured)["marked"].timing.total_seconds >= 0.05

    def test_a_generator_is_one_run_from_first_value_to_end(self, measured: Measured) -> None:
        @timed("generator")
        def numbers(most: int) -> Iterator[int]:
            sent = 0
            for number in range(most):
                sent = yield number + (sent or 0)  # type: ignore[misc]
            return "ended"  # type: ignore[return-value]

        assert list(numbers(3)) == [0, 1, 2]
        sent = numbers(3)
        assert (next(sent), sent.send(10)) == (0, 11)  # type: ignore[attr-defined]
        sent.close()  # type: ignore[attr-defined]
        never = numbers(3)
        del never
        assert (found(measured)["generator"].timing.count, found(measured)["generator"].second) == (2, 0)

    def test_a_generator_that_raises_has_failed(self, measured: Measured) -> None:
        @timed("broken")
        def broken() -> Iterator[int]:
            yield 1
            raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011  # its own
            list(broken())
        assert (found(measured)["broken"].timing.count, found(measured)["broken"].second) == (1, 1)

    def test_an_async_generator_is_closed_with_its_wrapper(self, measured: Measured) -> None:
        closed = []

        @timed("async generator")
        async def numbers() -> AsyncIterator[int]:
            try:
                for number in range(10):
                    yield number
            finally:
                closed.append(True)

        async def read() -> list[int]:
            values = numbers()
            first = [await anext(values)]
            await values.aclose()  # type: ignore[attr-defined]
            return first + [number async for number in numbers()]

        assert async_to_sync(read)() == [0, *range(10)]
        assert closed == [True, True]
        one = found(measured)["async generator"]
        assert (one.timing.count, one.second) == (2, 0)

    def test_threads_count_for_themselves(self, measured: Measured) -> None:
        @timed("threads")
        def run() -> None:
            pass

        def run_often() -> None:
            for _ in range(2_000):
                run()

        threads = [threading.Thread(target=run_often) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found(measured)["threads"].timing.count == 10_000

    def test_names_without_end_are_bounded(self, measured: Measured) -> None:
        with measured_work() as work:
            for number in range(MOST_NAMES * 2):
                with timed(f"name {number}"):
                    pass
        assert len(work.timings) == MOST_NAMES

    def test_the_function_stays_what_it_was(self) -> None:
        @timed("named")
        def documented() -> None:
            """Do it."""

        assert (documented.__name__, documented.__doc__) == ("documented", "Do it.")

    def test_with_metrics_off_it_runs_all_the_same(self) -> None:
        with timed("off"):
            pass
        assert timed("off")(lambda: 7)() == 7


class TestMeasured:
    def test_work_within_work_is_put_back(self) -> None:
        with measured_work("outer") as outer:
            with measured_work("inner"):
                assert current_work() is not outer
            assert current_work() is outer
        assert current_work() is None

    def test_times_of_one_name_add_up(self) -> None:
        with measured_work() as work:
            for _ in range(2):
                with timed("part"):
                    pass
        assert list(work.timings) == ["part"]
        assert work.timings["part"] > 0


class TestBackground:
    """What a request has begun and left running."""

    @staticmethod
    async def _left_running(request: HttpRequest, going_on: asyncio.Event) -> asyncio.Task[tuple[str, str]]:
        left: list[asyncio.Task[tuple[str, str]]] = []

        async def later() -> tuple[str, str]:
            await going_on.wait()
            done = current_work()
            assert done is not None
            return done.name, done.method

        async def view(_: HttpRequest) -> HttpResponse:
            left.append(asyncio.create_task(later()))
            return HttpResponse()

        handler = cast("Callable[[HttpRequest], Awaitable[HttpResponse]]", metrics(view))
        await handler(request)
        return left[0]

    def test_it_does_not_keep_the_request_and_knows_its_name(self, measured: Measured) -> None:
        async def main() -> tuple[bool, tuple[str, str]]:
            going_on = asyncio.Event()
            request = RequestFactory().post("/x")
            request.resolver_match = ResolverMatch(lambda: None, (), {}, route="x/<pk>")
            known = weakref.ref(request)
            task = await self._left_running(request, going_on)
            del request
            gc.collect()
            is_kept = known() is not None
            going_on.set()
            return is_kept, await task

        assert asyncio.run(main()) == (False, ("/x/<pk>", "POST"))


CONNECTS_MEANWHILE = """
import sys, threading, time
from django.conf import settings
settings.configure(INSTALLED_APPS=["perfkit"], DATABASES={"default": {
    "ENGINE": "django.db.backends.sqlite3", "NAME": "%s"}})
import django; django.setup()
from django.db import connection
from perfkit.monitoring import installing, recording
slowly = threading.Event()
install = recording.install
def slow():
    slowly.set()
    time.sleep(0.5)  # what is imported takes its time
    install()
recording.install = slow
measured = []
def work(waits):
    if waits:
        slowly.wait(10)
    connection.cursor().execute("SELECT 1")
    from perfkit.monitoring import statements
    measured.append(statements.measure in connection.execute_wrappers)
threads = [threading.Thread(target=work, args=(waits,)) for waits in (False, True, True)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(20)
print(measured)
"""


def test_connections_that_are_opened_while_it_begins_are_measured(tmp_path: Path) -> None:
    code = CONNECTS_MEANWHILE % (tmp_path / "db.sqlite3")
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "[True, True, True]"
