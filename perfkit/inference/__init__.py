"""Answers of language models: kept by what was asked, asked for once by all processes, counted and paid for once.

The names below load what they need when they are first asked for.
httpx is loaded by `OpenAICompatibleAdapter` alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from perfkit.inference.adapters import ModelAdapter
    from perfkit.inference.answers import ModelAnswer, TokenUsage
    from perfkit.inference.deterministic import LocalDeterministicAdapter
    from perfkit.inference.model_cache import ModelCache
    from perfkit.inference.openai_compatible import OpenAICompatibleAdapter
    from perfkit.inference.prompts import Prompt
    from perfkit.inference.retries import CallRetries
    from perfkit.inference.spending import ModelPrices, ModelStatistics
    from perfkit.inference.streams import AsyncModelStream, ModelStream

__all__ = [
    "AsyncModelStream",
    "CallRetries",
    "LocalDeterministicAdapter",
    "ModelAdapter",
    "ModelAnswer",
    "ModelCache",
    "ModelPrices",
    "ModelStatistics",
    "ModelStream",
    "OpenAICompatibleAdapter",
    "Prompt",
    "TokenUsage",
]

_MODULES: Final = {
    "AsyncModelStream": "streams",
    "CallRetries": "retries",
    "LocalDeterministicAdapter": "deterministic",
    "ModelAdapter": "adapters",
    "ModelAnswer": "answers",
    "ModelCache": "model_cache",
    "ModelPrices": "spending",
    "ModelStatistics": "spending",
    "ModelStream": "streams",
    "OpenAICompatibleAdapter": "openai_compatible",
    "Prompt": "prompts",
    "TokenUsage": "answers",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'perfkit.inference' has no attribute {name!r}")
    return getattr(import_module(f"perfkit.inference.{module}"), name)
