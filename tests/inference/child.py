"""Runs in a process of its own: asks a model as the test says, and tells what came of it."""

from __future__ import annotations

import os
import threading
from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any

import django
from asgiref.sync import async_to_sync

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.conf import settings  # noqa: E402  # the apps come first
from django.core.signals import setting_changed  # noqa: E402
from django.db import connection, connections  # noqa: E402

from perfkit.inference import (  # noqa: E402
    CallRetries,
    ModelCache,
    ModelPrices,
    OpenAICompatibleAdapter,
    flights,
)
from tests.inference.upstream import KEY  # noqa: E402

LEASE_SECONDS = 4.0
PRICES = ModelPrices(Decimal(1), Decimal(10))


def models_of(url: str, **options: Any) -> ModelCache:
    adapter = OpenAICompatibleAdapter(url, api_key=KEY, timeout=30, most_bytes=100_000)
    return ModelCache(
        adapter, **{"cache": True, "prices": PRICES, "retries": CallRetries(backoff_seconds=0.01), **options}
    )


def outcome(models: ModelCache, way: str, prompt: str, **params: Any) -> tuple[str, bool]:
    """Ask in one of the four ways; return the text and whether nobody was asked, or the error's name and text."""

    async def awhole() -> Any:
        return await models.acomplete(prompt, model="m", **params)

    async def astreamed() -> Any:
        stream = models.astream(prompt, model="m", **params)
        _ = [piece async for piece in stream]
        return stream.answer

    def streamed() -> Any:
        stream = models.stream(prompt, model="m", **params)
        _ = list(stream)
        return stream.answer

    ways = {
        "complete": lambda: models.complete(prompt, model="m", **params),
        "acomplete": async_to_sync(awhole),
        "stream": streamed,
        "astream": async_to_sync(astreamed),
    }
    try:
        answer = ways[way]()
    except Exception as error:  # noqa: BLE001  # the test judges it
        return f"{type(error).__name__}: {error}", False
    return answer.text, answer.is_cached


def ask(
    options: dict[str, Any], way: str, prompts: list[str], params: dict[str, Any]
) -> list[tuple[str, bool]]:
    models = models_of(**options)
    return [outcome(models, way, prompt, **params) for prompt in prompts]


def ask_in_threads(
    options: dict[str, Any], prompts: list[str], params: dict[str, Any]
) -> list[tuple[str, bool]]:
    models = models_of(**options)
    told: list[tuple[str, bool]] = []

    def one(prompt: str) -> None:
        told.append(outcome(models, "complete", prompt, **params))
        connections.close_all()

    threads = [threading.Thread(target=one, args=[prompt]) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def run(pipe: Connection, *, database: dict[str, Any], redis_url: str, options: dict[str, Any]) -> None:
    """Do what the test says until it hangs up."""
    connections.close_all()
    connection.settings_dict.update(database)
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": redis_url}}
    settings.PERFKIT = {**settings.PERFKIT, **options}
    for name in ("CACHES", "PERFKIT"):
        setting_changed.send(sender=None, setting=name, value=getattr(settings, name), enter=True)
    flights.LEASE_SECONDS = LEASE_SECONDS  # type: ignore[misc]  # shorter than in earnest
    look, said = flights.Flight.look, threading.Lock()

    def told_look(flight: flights.Flight) -> str:
        if said.acquire(blocking=False):
            pipe.send("it waits")
        return look(flight)

    flights.Flight.look = told_look  # type: ignore[method-assign]
    pipe.send("ready")
    try:
        while True:
            name, args = pipe.recv()
            pipe.send(globals()[name](*args))
            if said.locked():
                said.release()
    except EOFError:
        connections.close_all()
