"""Whom the demo asks for texts: the server that the environment names, else a stand-in that asks nobody."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Final

from django.conf import settings

from perfkit.inference import (
    LocalDeterministicAdapter,
    ModelAdapter,
    ModelCache,
    ModelPrices,
    OpenAICompatibleAdapter,
)

LIMIT: Final = "60/minute"
"""Of all that is asked, kept answers included; what answers cost is held by the budget."""

STAND_IN: Final = "development"


def has_model() -> bool:
    """Say whether the environment names a server; without one, answers say that no model was asked."""
    return bool(settings.MODEL_SERVER_URL)


def model_name() -> str:
    """Return the model that is asked."""
    return settings.MODEL_NAME if has_model() else STAND_IN


def models() -> ModelCache:
    """Return the cache of answers, one in each process; tests may name another server."""
    return _models(
        settings.MODEL_SERVER_URL,
        settings.MODEL_SERVER_KEY,
        settings.MODEL_TIMEOUT,
        (settings.MODEL_INPUT_PRICE, settings.MODEL_OUTPUT_PRICE),
        settings.MODEL_DAILY_BUDGET,
    )


@lru_cache(maxsize=4)
def _models(url: str, key: str, timeout: float, prices: tuple[float, float], budget: float) -> ModelCache:
    adapter: ModelAdapter = LocalDeterministicAdapter()
    if url:
        adapter = OpenAICompatibleAdapter(url, api_key=key, timeout=timeout)
    # The stand-in costs nothing.
    input_price, output_price = (Decimal(str(price)) for price in (prices if url else (0, 0)))
    return ModelCache(
        adapter,
        limit=LIMIT,
        prices=ModelPrices(input_per_million=input_price, output_per_million=output_price),
        daily_budget=Decimal(str(budget)),
    )
