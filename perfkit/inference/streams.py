"""Drives the steps of a prompt, in a thread or on an event loop; see Note [Steps of a prompt] in `model_cache`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final

from asgiref.sync import sync_to_async

from perfkit.inference.adapters import ModelAdapter
from perfkit.inference.answers import ModelAnswer
from perfkit.inference.prompts import Prompt
from perfkit.signals import Doing, work

ENDED: Final[Any] = object()


class AbandonedError(BaseException):
    """Nobody reads on. In the place of GeneratorExit, on which a generator may not yield steps any more."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Do:
    """Call something short that may ask the cache server."""

    act: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """Have the adapter answer."""

    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Open:
    """Have the adapter begin a stream."""

    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Next:
    """Have the next piece of a stream, ENDED where there is none."""

    pieces: Any


@dataclass(frozen=True, slots=True)
class Close:
    """End a stream."""

    pieces: Any


@dataclass(frozen=True, slots=True)
class Piece:
    """Give a piece of text to who reads."""

    text: str


Step = Pause | Do | Ask | Open | Next | Close | Piece
Steps = Generator[Step, Any, ModelAnswer]


def perform(step: Step, adapter: ModelAdapter) -> Any:
    """Do what a step says."""
    match step:
        case Pause(seconds):
            return time.sleep(seconds)
        case Do(act):
            return act()
        case Ask(prompt):
            return adapter.complete(prompt)
        case Open(prompt):
            return adapter.stream(prompt)
        case Next(pieces):
            return next(pieces, ENDED)
        case Close(pieces):
            return pieces.close() if hasattr(pieces, "close") else None
    raise TypeError(step)


async def aperform(step: Step, adapter: ModelAdapter) -> Any:
    """Do what a step says, and wait on the event loop."""
    match step:
        case Pause(seconds):
            return await asyncio.sleep(seconds)
        case Do(act):
            return await sync_to_async(act)()
        case Ask(prompt):
            return await adapter.acomplete(prompt)
        case Open(prompt):
            return adapter.astream(prompt)
        case Next(pieces):
            return await anext(pieces, ENDED)
        case Close(pieces):
            return await pieces.aclose() if hasattr(pieces, "aclose") else None
    raise TypeError(step)


def _end(doing: Doing, answer: ModelAnswer) -> None:
    """Tell what an answer came to; never what it says."""
    doing.tell(is_cached=answer.is_cached)
    if answer.usage is not None:
        doing.tell(input_tokens=answer.usage.input_tokens, output_tokens=answer.usage.output_tokens)
    doing.end()


class _Told:
    """Where the answer is put. Nothing may point to the stream itself, so that a forgotten one ends at once."""

    __slots__ = ("answer",)

    def __init__(self) -> None:
        self.answer: ModelAnswer | None = None


class ModelStream(Iterator[str]):
    """The text of an answer in pieces."""

    def __init__(self, steps: Steps, adapter: ModelAdapter, model: str) -> None:
        self._told = _Told()
        self._pieces = self._driven(steps, adapter, self._told, model)

    @property
    def answer(self) -> ModelAnswer | None:
        """The whole answer, once the last piece was read."""
        return self._told.answer

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """Read no further; what was begun is not kept."""
        self._pieces.close()

    @staticmethod
    def _driven(steps: Steps, adapter: ModelAdapter, told: _Told, model: str) -> Generator[str, None, None]:
        doing = work.begin("model", model, adapter=adapter.name)
        result: Any = None
        error: BaseException | None = None
        while True:
            try:
                step = steps.send(result) if error is None else steps.throw(error)
            except StopIteration as end:
                told.answer = end.value
                _end(doing, end.value)
                return
            except AbandonedError:
                doing.tell(is_abandoned=True)
                doing.end()
                return
            except BaseException as problem:
                doing.end(problem)
                raise
            result, error = None, None
            try:
                if isinstance(step, Piece):
                    yield step.text
                else:
                    with doing.current():
                        result = perform(step, adapter)
            except GeneratorExit:
                error = AbandonedError()
            except BaseException as problem:  # noqa: BLE001  # the steps clean up, and raise it again
                error = problem


class AsyncModelStream(AsyncIterator[str]):
    """The text of an answer in pieces, for `async for`."""

    def __init__(self, steps: Steps, adapter: ModelAdapter, model: str) -> None:
        self._told = _Told()
        self._pieces = self._driven(steps, adapter, self._told, model)

    @property
    def answer(self) -> ModelAnswer | None:
        """The whole answer, once the last piece was read."""
        return self._told.answer

    async def __anext__(self) -> str:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Read no further; what was begun is not kept."""
        await self._pieces.aclose()

    @staticmethod
    async def _driven(steps: Steps, adapter: ModelAdapter, told: _Told, model: str) -> Any:
        doing = work.begin("model", model, adapter=adapter.name)
        result: Any = None
        error: BaseException | None = None
        while True:
            try:
                step = steps.send(result) if error is None else steps.throw(error)
            except StopIteration as end:
                told.answer = end.value
                _end(doing, end.value)
                return
            except AbandonedError:
                doing.tell(is_abandoned=True)
                doing.end()
                return
            except BaseException as problem:
                doing.end(problem)
                raise
            result, error = None, None
            try:
                if isinstance(step, Piece):
                    yield step.text
                else:
                    with doing.current():
                        result = await aperform(step, adapter)
            except GeneratorExit:
                error = AbandonedError()
            except BaseException as problem:  # noqa: BLE001  # the steps clean up, and raise it again
                error = problem
