"""Asking the model aloud: its words are heard as they come (`deltas` shows them), and a loop ends the generation."""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

from integrations.errors import InvalidInput
from integrations.telemetry import current_traceparent, span
from orchestration.ops.answering.repetition import end_at_sentence, loop_start
from orchestration.ops.answering.values import Heard, Spent
from serving.client import Models
from serving.schema import ChatRequest, Origin

_log = logging.getLogger("runbell.assistant")
Hear = Callable[[str], None]
"""Takes each piece of text as it is generated."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the model has answered, tidied, and what it took; `read` characters of the question reached it."""

    text: str
    spent: Spent
    read: int


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
