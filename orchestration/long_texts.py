"""Texts longer than a model's context: read in overlapping pieces side by side, then the answers are put together.

For ops, which would meet "the prompt is too long" otherwise. Whose request it is, and how urgent, is as in the op that
asks; leaving (a cancelled run) stops what is under way.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass

from integrations.errors import InvalidInput, TemporaryError
from integrations.memory.chunking import split, weight
from serving.client import Models
from serving.schema import ChatMessage, ChatRequest

AT_ONCE = 4
MOST_PIECES = 64
OVERLAP = 0.1
MARGIN = 32
SAMPLE = 4_000
TRIES = 3
LONGEST_PAUSE_S = 10.0
LOOK_S = 0.2
"""So often a waiting op can be cancelled."""

Tell = Callable[[int, int], None]
"""Hears how many pieces are read, of how many."""


@dataclass(frozen=True)
class Task:
    """What is asked of each piece of a text, and then of the answers together: two system prompts."""

    of_each: str
    of_all: str
    max_tokens: int = 256
    model: str | None = None
    language: str | None = None
    timeout_s: float = 120.0


@dataclass(frozen=True)
class Reading:
    """What came of it; `pieces` is 1 where the text fitted, `characters` is how much was read."""

    text: str
    pieces: int
    characters: int


def read(models: Models, task: Task, text: str, tell: Tell | None = None) -> Reading:
    """Ask about a text of any length. Blocks. At most 64 pieces are read: `Reading.characters` tells how far.

    Raises what `Models.stream` raises, and `InvalidInput` where the context has no room for even a small piece.
    """
    reader = _Reader(models, task, tell or (lambda _done, _of: None))
    whole = reader.cut(task.of_each, text)
    parts = whole[:MOST_PIECES]
    characters = len(text) if len(whole) == len(parts) else sum(map(len, parts))
    prompt, overlap = task.of_each, OVERLAP
    while True:
        answers = reader.ask_all(prompt, _overlapping(parts, overlap))
        if len(answers) == 1:
            return Reading(answers[0], min(len(whole), MOST_PIECES), characters)
        prompt, overlap = task.of_all, 0.0
        fewer = reader.cut(prompt, "\n\n".join(answers))
        if len(fewer) >= len(parts):
            raise _too_small()
        parts = fewer


class _Reader:
    """Asks about pieces, a few at once."""

    def __init__(self, models: Models, task: Task, tell: Tell) -> None:
        self._models = models
        self._task = task
        self._tell = tell
        self._room = models.describe().context_tokens - task.max_tokens - MARGIN

    def cut(self, prompt: str, text: str) -> list[str]:
        """Return pieces that fit with the prompt and with what overlaps, counted by the model's own tokenizer."""
        room = int((self._room - self._count(self._messages(prompt, ""))) * (1 - 2 * OVERLAP))
        if room < MARGIN:
            raise _too_small()
        if len(text) < SAMPLE and self._tokens(text) <= room:
            return [text]
        sample = text[:SAMPLE]
        per_token = weight(sample) / max(self._tokens(sample), 1)
        return list(self._fitting(text, int(room * per_token), room)) or [text]

    def _fitting(self, text: str, limit: int, room: int) -> Iterator[str]:
        if limit < 1:
            raise _too_small()
        for piece in split(text, limit):
            if self._tokens(piece) <= room:
                yield piece
            else:
                yield from self._fitting(piece, min(limit, weight(piece)) // 2, room)

    def _tokens(self, text: str) -> int:
        return self._count((ChatMessage(role="user", content=text),))

    def _count(self, messages: tuple[ChatMessage, ...]) -> int:
        return self._models.count_tokens(messages)

    def _messages(self, prompt: str, text: str) -> tuple[ChatMessage, ...]:
        return (ChatMessage(role="system", content=prompt), ChatMessage(role="user", content=text))

    def ask_all(self, prompt: str, parts: Sequence[str]) -> list[str]:
        """Return the answers in the order of the parts. The first failure ends the others."""
        left = threading.Event()
        pool = ThreadPoolExecutor(min(AT_ONCE, len(parts)), "long-text")
        try:
            # The op's context goes along: metering reads there who asks.
            futures = [pool.submit(copy_context().run, self._ask, prompt, part, left) for part in parts]
            pending = set(futures)
            while pending:
                done, pending = wait(pending, LOOK_S, FIRST_COMPLETED)
                for future in done:
                    future.result()
                if done:
                    self._tell(len(parts) - len(pending), len(parts))
            return [future.result() for future in futures]
        finally:
            left.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, prompt: str, part: str, left: threading.Event) -> str:
        task = self._task
        request = ChatRequest(
            messages=self._messages(prompt, part),
            max_tokens=task.max_tokens,
            temperature=0.0,
            model=task.model,
            language=task.language,
        )
        for tried in range(1, TRIES + 1):
            try:
                return self._listen(request, left)
            except TemporaryError as error:
                if tried == TRIES or left.wait(min(error.after, LONGEST_PAUSE_S)):
                    raise
        raise AssertionError("unreachable")

    def _listen(self, request: ChatRequest, left: threading.Event) -> str:
        said = ""
        with closing(self._models.stream(request, timeout_s=self._task.timeout_s)) as chunks:  # pyright: ignore[reportArgumentType] - every implementation is a generator
            for chunk in chunks:
                if left.is_set():
                    break
                said += chunk.text
        return said.strip()


def _overlapping(parts: Sequence[str], share: float) -> list[str]:
    """Let each part begin with the end of the one before, so that no sentence is cut apart for everybody."""
    before = ["", *parts[:-1]]
    return [f"{_end(last, int(len(part) * share))}{part}" for last, part in zip(before, parts, strict=True)]


def _end(text: str, length: int) -> str:
    end = text[len(text) - length :] if length else ""
    return f"{end.partition(' ')[2] or end}\n" if end else ""


def _too_small() -> InvalidInput:
    return InvalidInput(
        "The model's context is too small to read a longer text in pieces. Set a larger `context_tokens`.",
        field="messages",
    )
