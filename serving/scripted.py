"""Models for tests: they say what they are told to."""

import math
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence

from integrations.errors import Unavailable
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Decision, ModelInfo, Usage

Script = str | Exception
"""An answer, or the error to raise in its place."""


class ScriptedModels:
    """Models for tests: say what they are told to, one word per chunk, and remember what they were asked.

    `answers` are used up in order, then `fallback` answers (by default it repeats the question).
    `delay_s` passes before each chunk; `gate`, when given, must be set before each chunk may leave.
    Vectors count words and character pairs, so like texts lie near each other, in every process alike.
    """

    def __init__(
        self,
        answers: Sequence[Script] = (),
        *,
        fallback: Callable[[ChatRequest], Script] | None = None,
        delay_s: float = 0.0,
        gate: threading.Event | None = None,
        strong: bool = False,
    ) -> None:
        self.requests: list[ChatRequest] = []
        self.traceparents: list[str | None] = []
        self.closed_early = 0
        self._answers = list(answers)
        self._fallback = fallback or _repeat
        self._delay_s = delay_s
        self._gate = gate
        self._lock = threading.Lock()
        context = 8192 if strong else 2048
        self._info = ModelInfo(
            name="scripted", engine="scripted", context_tokens=context, strong=strong, constrains=True
        )

    def stream(
        self, request: ChatRequest, *, timeout_s: float = 120.0, traceparent: str | None = None
    ) -> Iterator[ChatChunk]:
        """Yield the next scripted answer word by word, or raise the scripted error."""
        with self._lock:
            self.requests.append(request)
            self.traceparents.append(traceparent)
            script = self._answers.pop(0) if self._answers else self._fallback(request)
        return self._speak(request, script, time.monotonic() + timeout_s)

    def _speak(self, request: ChatRequest, script: Script, deadline: float) -> Iterator[ChatChunk]:
        began, first = time.monotonic(), None
        words = [] if isinstance(script, Exception) else re.findall(r"\s*\S+\s*?", script)
        try:
            for word in words[: request.max_tokens]:
                self._wait(deadline)
                first = first or time.monotonic()
                yield ChatChunk(text=word)
            self._wait(deadline)
            if isinstance(script, Exception):
                raise script
        except GeneratorExit:
            with self._lock:
                self.closed_early += 1
            raise
        now = time.monotonic()
        usage = Usage(
            tokens_in=self.count_tokens(request.messages),
            tokens_out=min(len(words), request.max_tokens),
            first_token_ms=None if first is None else (first - began) * 1000,
            total_ms=(now - began) * 1000,
        )
        finish = "length" if len(words) > request.max_tokens else "stop"
        yield ChatChunk(finish_reason=finish, usage=usage, decision=_DECISION)

    def _wait(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if self._gate is not None and not self._gate.wait(max(left, 0)):
            raise Unavailable("The model did not answer in time.")
        if self._delay_s > max(deadline - time.monotonic(), 0):
            raise Unavailable("The model did not answer in time.")
        time.sleep(self._delay_s)

    def embed(self, texts: Sequence[str], *, traceparent: str | None = None) -> list[list[float]]:  # noqa: ARG002 - the protocol's
        """Return 384 counts of hashed words and character pairs per text, as a unit vector."""
        return [_count(text) for text in texts]

    def unknown_share(self, texts: Sequence[str]) -> list[float]:
        """Return the share of characters beyond U+2E80: Chinese, Japanese and Korean."""
        return [sum(char >= "\u2e80" for char in text) / max(1, len(text)) for text in texts]

    def embedder(self) -> str:
        """Tell that the vectors are scripted."""
        return "scripted"

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count words."""
        return sum(len(message.content.split()) for message in messages)

    def describe(self) -> ModelInfo:
        """Tell that these are scripted models."""
        return self._info


_DECISION = Decision(route="default", model="scripted", reason="scripted")


def _repeat(request: ChatRequest) -> str:
    return f"You said: {request.messages[-1].content}"


def _count(text: str) -> list[float]:
    folded = text.casefold()
    parts = re.findall(r"\w+", folded) + [folded[i : i + 2] for i in range(len(folded) - 1)]
    counts = [0.0] * 384
    for part in parts or [""]:
        counts[zlib.crc32(part.encode()) % 384] += 1
    norm = math.sqrt(sum(count * count for count in counts))
    return [count / norm for count in counts]
