"""Asking the model aloud: tokens go to the live view as they come, and a loop ends the generation."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from integrations.database import Database
from integrations.errors import InvalidInput, RunbellError
from integrations.telemetry import current_traceparent, span
from orchestration.ops.answering.repetition import end_at_sentence, loop_start
from orchestration.ops.answering.values import Heard, Spent
from serving.client import Models
from serving.schema import ChatRequest, Origin

BATCH_S = 0.05
_log = logging.getLogger("runbell.assistant")
Hear = Callable[[str], None]
"""Takes each piece of text as it is generated."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the model has answered, tidied, and what it took; `read` characters of the question reached it."""

    text: str
    spent: Spent
    read: int


class Deltas:
    """Publishes text as deltas from a thread of its own: the first at once, then every 50 ms at most.

    A live view is never worth a failed answer: when the database refuses a delta it is logged and dropped.
    With `again`, an earlier attempt has said something, which is taken back.
    """

    def __init__(self, database: Database, heard: Heard, *, again: bool = False) -> None:
        self._database = database
        self._heard = heard
        self._said = ""
        self._pending = ""
        self._taken_back = again
        self._closed = False
        self._woken = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="deltas", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._woken:
            self._closed = True
            self._woken.notify()
        self._thread.join(timeout=5)

    def say(self, text: str) -> None:
        """Show this text soon; never blocks."""
        with self._woken:
            self._said += text
            self._pending += text
            self._woken.notify()

    def finish(self, text: str) -> None:
        """Show the whole text: what is missing is added, and what differs is taken back first."""
        with self._woken:
            if text.startswith(self._said):
                self._pending += text[len(self._said) :]
            else:
                self._taken_back, self._pending = True, text
            self._said = text
            self._woken.notify()

    def _run(self) -> None:
        first = True
        while self._publish_next(first=first):
            first = False
            with self._woken:
                self._woken.wait_for(lambda: self._closed, timeout=BATCH_S)

    def _publish_next(self, *, first: bool) -> bool:
        """Wait for text, publish all there is, and return whether more may come."""
        with self._woken:
            self._woken.wait_for(lambda: self._pending or self._taken_back or self._closed)
            text, self._pending = self._pending, ""
            reset, self._taken_back = self._taken_back, False
            closed = self._closed
        try:
            if reset:
                self._publish({"type": "reset"})
            if text:
                self._publish({"type": "delta", "text": text})
            if text and first:
                self._database.inbox.stamp(self._heard.message_id, "first_token_at")
        except RunbellError as error:
            _log.warning("a delta was dropped: %s", error, extra={"message_id": self._heard.message_id})
        return not closed

    def _publish(self, body: dict[str, object]) -> None:
        self._database.progress.publish(self._heard.message_id, self._heard.address, body)


def ask(models: Models, request: ChatRequest, heard: Heard, *, timeout_s: float, hear: Hear | None = None) -> Said:
    """Ask the model, handing on its text as it comes. Raises what `Models.stream` raises.

    Where the prompt does not fit after all, the question is halved, at most three times.
    """
    for _ in range(3):
        try:
            return _ask(models, request, heard, timeout_s, hear)
        except InvalidInput as error:
            last = request.messages[-1]
            if len(last.content) < 200:
                raise
            _log.info("prompt too long, halving it: %s", error, extra={"message_id": heard.message_id})
            half = last.model_copy(update={"content": last.content[: len(last.content) // 2]})
            request = request.model_copy(update={"messages": (*request.messages[:-1], half)})
    return _ask(models, request, heard, timeout_s, hear)


def _ask(models: Models, request: ChatRequest, heard: Heard, timeout_s: float, hear: Hear | None) -> Said:
    request = _for_whom(request, heard)
    name = request.model or models.describe().name
    parent = None if current_traceparent() else heard.traceparent
    began, text, finish = time.monotonic(), "", None
    spent = Spent(model=name)
    free = request.json_schema is None
    with span("model", traceparent=parent, model=name, message_id=heard.message_id) as current:
        chunks = models.stream(request, timeout_s=timeout_s, traceparent=current_traceparent())
        with closing(chunks) as chunks:  # pyright: ignore[reportArgumentType] - every implementation is a generator
            for chunk in chunks:
                if chunk.text and spent.first_token_ms is None:
                    spent = replace(spent, first_token_ms=_ms(began))
                text += chunk.text
                finish = chunk.finish_reason or finish
                if chunk.decision:
                    spent = replace(spent, model=chunk.decision.model, why=chunk.decision.sentence())
                if chunk.usage:
                    spent = replace(spent, tokens_in=chunk.usage.tokens_in, tokens_out=chunk.usage.tokens_out)
                if free and (start := loop_start(text, len(chunk.text))) is not None:
                    text, finish = text[:start], "length"
                    break
                if hear:
                    hear(chunk.text)
        spent = replace(spent, total_ms=_ms(began), tokens_out=spent.tokens_out or len(text) // 4)
        current.set_attribute("tokens_in", spent.tokens_in)
        current.set_attribute("tokens_out", spent.tokens_out)
    if free:
        text = end_at_sentence(text) if finish == "length" else text.strip()
    return Said(text, spent, len(request.messages[-1].content))


def _for_whom(request: ChatRequest, heard: Heard) -> ChatRequest:
    """Say whose message it is: policy, order and price go by that."""
    origin = Origin(
        tenant=heard.address.tenant, principal_id=heard.principal_id, message_id=heard.message_id, op="think"
    )
    # Whoever chose a model chose who words the answers: commands are chosen by the one that is known to be able to.
    model = request.model or (heard.model if request.json_schema is None else None)
    told = {"origin": origin, "language": request.language or heard.language, "model": model}
    return request.model_copy(update=told)


def _ms(since: float) -> float:
    return round((time.monotonic() - since) * 1000, 1)
