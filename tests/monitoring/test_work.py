from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from asgiref.sync import async_to_sync, markcoroutinefunction

from perfkit.monitoring import timed
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
