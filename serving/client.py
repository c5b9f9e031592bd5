"""How ops reach the models: one small protocol; over Ray Serve handles, over HTTP, or scripted in tests."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from serving.schema import ChatChunk, ChatRequest, ModelInfo


class Models(Protocol):
    """Ask models. Safe to share between threads; every call blocks its own thread only."""

    def stream(
        self, request: ChatRequest, *, timeout_s: float = 120.0, traceparent: str | None = None
    ) -> Iterator[ChatChunk]:
        """Yield the answer as it is generated. Closing the iterator stops the generation and frees its slot.

        Raises `Unavailable` (not up, died, too slow), `Overloaded` (queue full) or `InvalidInput` (prompt
        longer than the context, schema that can't be met).
        """
        ...

    def embed(self, texts: Sequence[str], *, traceparent: str | None = None) -> list[list[float]]:
        """Return one unit vector per text. Raises like `stream`."""
        ...

    def unknown_share(self, texts: Sequence[str]) -> list[float]:
        """Return per text the share of tokens the embedder does not know: above 0.3, don't trust its vector."""
        ...

    def describe(self) -> ModelInfo:
        """Tell what `stream` would ask now."""
        ...
