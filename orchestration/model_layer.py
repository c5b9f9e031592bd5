"""Models that stand before others and pass on what they do not change; each layer overrides what it is for."""

from collections.abc import Iterator, Sequence

from serving.client import Models
from serving.schema import ChatChunk, ChatMessage, ChatRequest, ModelInfo


class ModelLayer:
    """Every call is that of the models behind, with their results and errors. As thread-safe as they are."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def stream(
        self, request: ChatRequest, *, timeout_s: float = 120.0, traceparent: str | None = None
    ) -> Iterator[ChatChunk]:
        """Yield the answer as it is generated."""
        return self._models.stream(request, timeout_s=timeout_s, traceparent=traceparent)

    def embed(self, texts: Sequence[str], *, traceparent: str | None = None) -> list[list[float]]:
        """Return one unit vector per text."""
        return self._models.embed(texts, traceparent=traceparent)

    def unknown_share(self, texts: Sequence[str]) -> list[float]:
        """Return per text the share of tokens that the embedder does not know."""
        return self._models.unknown_share(texts)

    def embedder(self) -> str:
        """Return the name of the model that embeds now."""
        return self._models.embedder()

    def describe(self) -> ModelInfo:
        """Tell what the model is."""
        return self._models.describe()

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Return how much of the context these messages take."""
        return self._models.count_tokens(messages)
