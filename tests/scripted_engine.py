"""An engine from outside serving/engines, chosen by its module's name: says what `load` was given as the model."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from integrations.errors import Misconfigured
from serving.fleet import ModelSpec
from serving.schema import ChatChunk, ChatMessage, ChatRequest, ModelInfo, Usage


def load(config: ModelSpec, home: Path) -> "ScriptedEngine":
    if not (home / "there").exists():
        raise Misconfigured(f"{home / 'there'} is missing. Run: touch")
    if config.options.get("large"):
        raise MemoryError
    return ScriptedEngine(config)


class ScriptedEngine:
    def __init__(self, config: ModelSpec) -> None:
        self.config = config
        self.left = 0
        self.closed = False
        self.gate = asyncio.Event()
        self.raises: Exception | None = None
        self.hangs: Exception | None = None

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk]:
        try:
            yield ChatChunk(text="first")
            await self.gate.wait()
            error, self.raises = self.raises, None
            if error:
                raise error
            yield ChatChunk(finish_reason="stop", usage=Usage(tokens_in=1, tokens_out=1, total_ms=1))
        finally:
            self.left += 1

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return len(messages)

    def describe(self) -> ModelInfo:
        return ModelInfo(name=self.config.name, engine="scripted", context_tokens=9)

    def check(self) -> None:
        if self.hangs:
            raise self.hangs

    async def close(self) -> None:
        self.closed = True
