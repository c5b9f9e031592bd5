"""How ops reach the models: one small protocol; over Ray Serve handles, or scripted in tests."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from serving.handles import ServeModels, connect
from serving.schema import ChatChunk, ChatMessage, ChatRequest, ModelInfo
from serving.scripted import ScriptedModels

__all__ = ["Models", "ScriptedModels", "ServeModels", "connect"]


class Models(Protocol):
    """Ask models. Safe to share between threads; every call blocks its own thread only."""

    def stream(
        self, request: ChatRequest, *, timeout_s: float = 120.0, traceparent: str | None = None
    ) -> Iterator[ChatChunk]:
        """Yield the answer as it is generated. Closing the iterator stops the generation and frees its slot.

        Raises `Unavailable` (not up, died, slower than `timeout_s` seconds), `Overloaded` (queue full),
        `RateLimited` (an endpoint asked for a pause), `InvalidInput` (prompt longer than the context, schema
        that can't be met) or `Misconfigured` (model missing or corrupt; the text says what to run).
        """
        ...

    def embed(self, texts: Sequence[str], *, traceparent: str | None = None) -> list[list[float]]:
        """Return one unit vector per text. Raises like `stream`."""
        ...

    def unknown_share(self, texts: Sequence[str]) -> list[float]:
        """Return per text the share of tokens unknown to the embedder: above 0.3, don't trust its vector."""
        ...

    def embedder(self) -> str:
        """Return the name of the model that `embed` asks now: vectors of two can't be compared."""
        ...

    def describe(self) -> ModelInfo:
        """Tell what `stream` would ask now."""
        ...

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Return how much of `ModelInfo.context_tokens` a prompt of these messages takes."""
        ...
