"""Models that compute what does not change once: vectors of texts, and what the model is."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from orchestration.model_layer import ModelLayer
from serving.client import Models
from serving.schema import ModelInfo

INFO_S = 10.0
"""Seconds for which a changed model may go unnoticed."""
TEXTS = 512
LONGEST = 4_000
V = TypeVar("V")


class Counts:
    """Texts whose vectors were asked for in this process, and how many of them were still known."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.texts = (0, 0)

    def add(self, asked: int, known: int) -> None:
        """Count."""
        with self._lock:
            self.texts = (self.texts[0] + asked, self.texts[1] + known)


VECTORS = Counts()
"""Of this process; its worker's heartbeat tells them."""


class CachingModels(ModelLayer):
    """Models behind a small cache: recall, retrieval and remember ask for the same message's vector. Thread-safe.

    What is asked of the chat model never comes from here.
    """

    def __init__(self, models: Models) -> None:
        super().__init__(models)
        self._vectors = _Recent[list[float]](models.embedder)
        self._unknown = _Recent[float](models.embedder)
        self._info: tuple[float, ModelInfo] | None = None

    def embed(self, texts: Sequence[str], *, traceparent: str | None = None) -> list[list[float]]:
        """Return one unit vector per text; only new texts are computed, in one call."""
        computed = 0

        def compute(new: list[str]) -> list[list[float]]:
            nonlocal computed
            computed = len(new)
            return self._models.embed(new, traceparent=traceparent)

        vectors = self._vectors.all(texts, compute)
        VECTORS.add(len(texts), len(texts) - computed)
        return [list(vector) for vector in vectors]  # what a caller does to its own is not done to others'

    def unknown_share(self, texts: Sequence[str]) -> list[float]:
        """Return per text the share of tokens that the embedder does not know."""
        return self._unknown.all(texts, self._models.unknown_share)

    def describe(self) -> ModelInfo:
        """Tell what the model is; asked anew after INFO_S, and always after a failure."""
        known = self._info
        if known is None or time.monotonic() - known[0] > INFO_S:
            known = self._info = (time.monotonic(), self._models.describe())
        return known[1]


class _Recent(Generic[V]):
    """Results by embedder and text, the latest TEXTS of them."""

    def __init__(self, embedder: Callable[[], str]) -> None:
        self._embedder = embedder
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], V] = OrderedDict()

    def all(self, texts: Sequence[str], compute: Callable[[list[str]], list[V]]) -> list[V]:
        by = self._embedder()
        with self._lock:
            known = {text: self._kept[by, text] for text in texts if (by, text) in self._kept}
        new = list(dict.fromkeys(text for text in texts if text not in known))
        if new:
            known |= dict(zip(new, compute(new), strict=True))
            # Whose they are is not known where the embedder changed meanwhile.
            keep = [text for text in new if len(text) <= LONGEST] if self._embedder() == by else []
            with self._lock:
                self._kept |= {(by, text): known[text] for text in keep}
                while len(self._kept) > TEXTS:
                    self._kept.popitem(last=False)
        return [known[text] for text in texts]
