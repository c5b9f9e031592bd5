"""Threads that ask models without a pause, as ops do, and remember how each request went."""

import threading
import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from benchmarks.load import Figures
from integrations.errors import RunbellError, Unavailable
from serving.schema import ChatMessage, ChatRequest

if TYPE_CHECKING:
    from serving.client import ServeModels

PATIENCE_S = 60.0


class Callers:
    """Ask until the block ends; a request that hangs then ends the benchmark."""

    def __init__(self, models: "ServeModels", threads: int, *, model: str | None = None) -> None:
        self._models = models
        self._request = ChatRequest(messages=(ChatMessage(role="user", content="who?"),), model=model)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(threads)]
        self._began = time.perf_counter()
        self._took: list[float] = []
        self._failed: list[Exception] = []
        self.by_name: Counter[str] = Counter()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if error is not None:
            return
        for thread in self._threads:
            thread.join(PATIENCE_S + 5)
        if any(thread.is_alive() for thread in self._threads):
            raise SystemExit("a request hangs")

    @property
    def answered(self) -> int:
        """How many answers have come."""
        return len(self._took)

    def forget(self) -> None:
        """Count from now on."""
        with self._lock:
            self._began, self._took, self._failed = time.perf_counter(), [], []

    def shown(self) -> dict[str, Any]:
        """Return counts and milliseconds; `unclear` are errors that say neither what broke nor how far it was."""
        with self._lock:
            seconds = time.perf_counter() - self._began
            figures = Figures(seconds=seconds, accepted=len(self._took), latencies=list(self._took))
            failed = list(self._failed)
        clear = [error for error in failed if isinstance(error, Unavailable) and "said" in str(error)]
        return {
            **figures.shown(),
            "requests": len(self._took) + len(failed),
            "failed": len(failed),
            "unclear": len(failed) - len(clear),
            "reasons": sorted({str(error)[:160] for error in failed})[:3],
        }

    def _ask(self) -> None:
        while not self._stop.is_set():
            began, said = time.perf_counter(), ""
            try:
                for chunk in self._models.stream(self._request, timeout_s=PATIENCE_S):
                    said += chunk.text
            except RunbellError as error:
                with self._lock:
                    self._failed.append(error)
                continue
            with self._lock:
                self._took.append(time.perf_counter() - began)
                self.by_name[said.partition("-")[0]] += 1
