"""What speaks to a model: the class that adapters derive from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

from asgiref.sync import sync_to_async

from perfkit.inference.answers import ModelAnswer
from perfkit.inference.prompts import Prompt

_ENDED: Final[Any] = object()


class ModelAdapter(ABC):
    """Asks one server of models. `complete` is all that an adapter must have.

    What it raises decides what happens next: a `ModelUnavailableError` with a status of 429 or 5xx, or without one
    and with the problem `"cannot be reached"`, is tried again; every other error ends the call. Never put texts of
    the prompt, nor a key, into an error.

    Attributes:
        name: Tells its answers from those of other adapters; part of every key, so it holds no secret.
    """

    name: str

    @abstractmethod
    def complete(self, prompt: Prompt) -> ModelAnswer:
        """Ask, and return the answer.

        Raises:
            ModelUnavailableError: The server cannot be reached or does not answer now.
            ModelRefusedError: It does not take the request.
            ModelAnswerError: What it answers is of no use.
        """

    def stream(self, prompt: Prompt) -> Iterator[str | ModelAnswer]:
        """Ask, and yield the text in pieces as they come, then the whole answer; a stream without that was cut.

        Unless it is overridden, the text is one piece.
        """
        answer = self.complete(prompt)
        yield answer.text
        yield answer

    async def acomplete(self, prompt: Prompt) -> ModelAnswer:
        """Do what `complete` does, unless it is overridden in a thread."""
        return await sync_to_async(self.complete, thread_sensitive=False)(prompt)

    async def astream(self, prompt: Prompt) -> AsyncIterator[str | ModelAnswer]:
        """Do what `stream` does, unless it is overridden in threads."""
        pieces = self.stream(prompt)
        step: Callable[..., Awaitable[Any]] = sync_to_async(next, thread_sensitive=False)
        try:
            while (piece := await step(pieces, _ENDED)) is not _ENDED:
                yield piece
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                await sync_to_async(close, thread_sensitive=False)()
