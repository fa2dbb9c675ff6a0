"""A stand-in for development and tests: it asks no model, and answers the same prompt with the same text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from perfkit.inference.adapters import ModelAdapter
from perfkit.inference.answers import ModelAnswer, TokenUsage
from perfkit.inference.prompts import Prompt

SAYS: Final = "Development answer; no model was asked. The prompt was:"


class LocalDeterministicAdapter(ModelAdapter):
    """For development and tests: no model, no network; the answer is made of the prompt's last message.

    Words count as tokens, and `max_tokens` cuts the answer as a model's is cut.
    """

    name = "local-deterministic"

    def complete(self, prompt: Prompt) -> ModelAnswer:
        """Return an answer that says what was asked."""
        words = f"{SAYS} {prompt.messages[-1].get('content') or ''}".split()
        most = prompt.params.get("max_tokens")
        is_cut = isinstance(most, int) and len(words) > most
        said = words[:most] if is_cut else words
        asked = sum(len(str(message.get("content") or "").split()) for message in prompt.messages)
        usage = TokenUsage(asked, len(said))
        return ModelAnswer(" ".join(said), "length" if is_cut else "stop", prompt.model, usage)

    def stream(self, prompt: Prompt) -> Iterator[str | ModelAnswer]:
        """Yield the answer word by word, then as a whole."""
        answer = self.complete(prompt)
        for word, following in pairwise([*answer.text.split(" "), ""]):
            yield f"{word} " if following else word
        yield answer
