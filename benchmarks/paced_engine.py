"""An engine that speaks numbered words at a given pace, and an embedder beside it: for measuring what is around them.

Chosen in models.yaml by `engine: benchmarks.paced_engine`; `options.per_s` is the pace of one answer. Its words begin
with `options.name`, else with the last word of what was asked, so that answers can't be taken for each other. An answer
has as many words as the request allows, `options.words` at most.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from serving.fleet import ModelSpec
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Embedding, ModelInfo, Usage

DIMENSIONS = 384


def load(config: ModelSpec, home: Path) -> "Paced":  # noqa: ARG001 - every engine is loaded alike
    """Return it; nothing is loaded."""
    return Paced(config)


class Paced:
    """Speaks by the clock: what is late is made up for."""

    def __init__(self, config: ModelSpec) -> None:
        self._config = config
        self._gap_s = 1 / float(str(config.options.get("per_s", 100)))
        self._most = int(str(config.options.get("words", 100)))
        self._name = config.options.get("name")

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk]:
        """Yield a word at a time."""
        began = time.monotonic()
        name = str(self._name or request.messages[-1].content.split()[-1])
        words = min(self._most, request.max_tokens)
        for number in range(words):
            await asyncio.sleep(max(0.0, began + (number + 1) * self._gap_s - time.monotonic()))
            yield ChatChunk(text=f"{name}-{number} ")
        took_ms = (time.monotonic() - began) * 1000
        usage = Usage(tokens_in=1, tokens_out=words, first_token_ms=self._gap_s * 1000, total_ms=took_ms)
        yield ChatChunk(finish_reason="stop", usage=usage)

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count words."""
        return sum(len(message.content.split()) for message in messages)

    def describe(self) -> ModelInfo:
        """Tell what is there."""
        return ModelInfo(name=self._config.name, engine="paced", context_tokens=self._config.context_tokens)

    def check(self) -> None:
        """Never hang."""

    async def close(self) -> None:
        """Nothing is held."""


def load_embedder(name: str, home: Path) -> "Unlike":  # noqa: ARG001 - every embedder is loaded alike
    """Return it; nothing is loaded."""
    return Unlike(name)


class Unlike:
    """Vectors of which no two are alike: nothing that is said comes near a command or a memory."""

    def __init__(self, name: str) -> None:
        self.name = name

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """Return one vector per text."""
        return [Embedding(vector=_vector(text), tokens=1, unknown_share=0.0) for text in texts]

    def unknown_share(self, texts: Sequence[str]) -> list[float]:
        """Nothing is unknown."""
        return [0.0 for _ in texts]


def _vector(text: str) -> tuple[float, ...]:
    chance = random.Random(text)
    numbers = [chance.gauss(0, 1) for _ in range(DIMENSIONS)]
    norm = sum(number * number for number in numbers) ** 0.5
    return tuple(number / norm for number in numbers)
