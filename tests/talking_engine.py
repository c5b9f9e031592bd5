"""An engine that says its own name, a word at a time, as slowly as it is told to; and an embedder beside it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from integrations.errors import Misconfigured
from serving.fleet import ModelSpec
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Embedding, ModelInfo, Usage


def load(config: ModelSpec, home: Path) -> "Talking":
    if config.options.get("broken"):
        raise Misconfigured(f"{config.name} has no weights. Run: nothing helps")
    return Talking(config)


def load_embedder(name: str, home: Path) -> "Constant":
    return Constant(name)


class Talking:
    def __init__(self, config: ModelSpec) -> None:
        self._config = config
        self._slots = asyncio.Semaphore(config.slots)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk]:
        if request.messages[-1].content == "exhaust":
            raise MemoryError
        async with self._slots:
            words = int(str(self._config.options.get("words", 5)))
            for number in range(words):
                await asyncio.sleep(float(str(self._config.options.get("delay_s", 0.01))))
                yield ChatChunk(text=f"{self._config.name}-{number} ")
            yield ChatChunk(finish_reason="stop", usage=Usage(tokens_in=1, tokens_out=words, total_ms=1))

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return len(messages)

    def describe(self) -> ModelInfo:
        return ModelInfo(name=self._config.name, engine="talking", context_tokens=self._config.context_tokens)

    def check(self) -> None: ...

    async def close(self) -> None: ...


class Constant:
    def __init__(self, name: str) -> None:
        self.name = name

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        return [Embedding(vector=(1.0, 0.0), tokens=1, unknown_share=0) for _ in texts]

    def unknown_share(self, texts: Sequence[str]) -> list[float]:
        return [0.0 for _ in texts]
