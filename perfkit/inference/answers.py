"""What a model has answered, and whether that may be kept. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

COMPLETE: Final = frozenset({"stop", "tool_calls"})
"""Reasons to finish that leave a whole answer; others say that it was cut, or held back."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens that a call took, as the model's server counts them."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """One answer.

    Attributes:
        text: What the model says; empty where it only calls tools.
        finish_reason: Why it has stopped: `"stop"` and `"tool_calls"` are whole answers, `"length"` is a cut one.
        model: That has answered, as its server names it.
        usage: None where the server does not say.
        tool_calls: As the server sends them.
        is_cached: Whether nobody was asked for this one.
    """

    text: str = field(repr=False)
    finish_reason: str
    model: str = ""
    usage: TokenUsage | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    is_cached: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether it came to its end by itself, and so may be kept."""
        return self.finish_reason in COMPLETE

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        usage = None if self.usage is None else [self.usage.input_tokens, self.usage.output_tokens]
        return {
            "text": self.text,
            "finish_reason": self.finish_reason,
            "model": self.model,
            "usage": usage,
            "tool_calls": [dict(call) for call in self.tool_calls],
        }

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Return what `plain` was made of, as one that was kept."""
        usage = plain["usage"]
        return cls(
            plain["text"],
            plain["finish_reason"],
            plain["model"],
            None if usage is None else TokenUsage(*usage),
            tuple(plain["tool_calls"]),
            is_cached=True,
        )

    def named(self, model: str) -> Self:
        """Return it with the name of the model that was asked, where the server has told none."""
        return self if self.model else replace(self, model=model)
