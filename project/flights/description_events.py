"""A description as server-sent events: its pieces as the model writes them, then the whole."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections

from perfkit.errors import UnavailableError
from perfkit.inference import AsyncModelStream, ModelAnswer, ModelStream
from project.flights.descriptions import Figures, description_of

logger = logging.getLogger("project.flights")


def events(stream: ModelStream, figures: Figures) -> Iterator[bytes]:
    """Yield the events of a description: `piece` each time, at last `end` with all of it, or `failed`."""
    try:
        _return_connections()
        for text in stream:
            yield _event("piece", {"text": text})
        yield _ending(stream.answer, figures)
    except UnavailableError as error:
        yield _failure(error, figures)
    finally:
        stream.close()


async def aevents(stream: AsyncModelStream, figures: Figures) -> AsyncIterator[bytes]:
    """Yield the events of a description, as `events` does."""
    try:
        await sync_to_async(_return_connections)()
        async for text in stream:
            yield _event("piece", {"text": text})
        yield _ending(stream.answer, figures)
    except UnavailableError as error:
        yield _failure(error, figures)
    finally:
        await stream.aclose()


def _ending(answer: ModelAnswer | None, figures: Figures) -> bytes:
    assert answer is not None  # noqa: S101  # the stream was read to its end
    return _event("end", description_of(figures, answer))


def _failure(error: UnavailableError, figures: Figures) -> bytes:
    """Return the event that says so; the cause stands in the log."""
    logger.error("The delays of %s were not described: %s", figures["airport"], error)
    again = getattr(error, "retry_after_seconds", None)
    return _event("failed", {"detail": "The model cannot be asked now.", "retry_after_seconds": again})


def _event(name: str, data: Mapping[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _return_connections() -> None:
    """Close the database connections of the request, which nothing needs while the model writes."""
    for each in connections.all(initialized_only=True):
        if not each.in_atomic_block:
            each.close()
