"""Models that give an answer again: on routes that ask for it (`cache_s`), for the same person of the same tenant.

They stand behind the ledger, which enters what was answered so, for nothing.

What an answer depends on is in its digest: the request, for whom it is, and the models and rules of now. So nobody is
told what another was told, and nothing is told that would not be answered any more.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from integrations.errors import RunbellError
from orchestration.metering import origin_of
from orchestration.model_layer import ModelLayer
from serving.client import Models
from serving.fleet import Fleet
from serving.schema import ChatChunk, ChatRequest, Decision, Usage

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Answers(Protocol):
    """Where answers are kept: PostgreSQL (`integrations.database`) or Redis (`integrations.redis_answers`)."""

    def get(self, tenant: str, digest: str, now: datetime) -> tuple[str, str] | None:
        """Return an answer's model and text."""
        ...

    def put(self, tenant: str, digest: str, model: str, text: str, expires_at: datetime) -> None:
        """Keep an answer."""
        ...


class RememberingModels(ModelLayer):
    """Models behind the cache of answers. Thread-safe. Where the cache is away they answer without it."""

    def __init__(self, models: Models, answers: Answers, tenant: str, fleet: Callable[[], Fleet]) -> None:
        super().__init__(models)
        self._answers = answers
        self._away = False
        self._tenant = tenant
        self._fleet = fleet

    def stream(
        self, request: ChatRequest, *, timeout_s: float = 120.0, traceparent: str | None = None
    ) -> Iterator[ChatChunk]:
        """Yield the answer that was given before, or ask."""
        fleet = self._fleet()
        route = fleet.all_routes().get(request.model or "default")
        if route is None or route.cache_s is None or request.tools:
            yield from self._models.stream(request, timeout_s=timeout_s, traceparent=traceparent)
            return
        began, (tenant, digest) = time.monotonic(), self._key(request, fleet)
        known = self._if_there(lambda: self._answers.get(tenant, digest, datetime.now(UTC)))
        if known is not None:
            yield from _again(request, known, (time.monotonic() - began) * 1000)
            return
        said, last = "", None
        with closing(self._models.stream(request, timeout_s=timeout_s, traceparent=traceparent)) as chunks:  # pyright: ignore[reportArgumentType] - every implementation is a generator
            for chunk in chunks:
                said, last = said + chunk.text, _looked_up(chunk)
                yield last
        if last is not None and last.finish_reason == "stop" and last.decision is not None and said:
            expires_at = datetime.now(UTC) + timedelta(seconds=route.cache_s)
            model = last.decision.model
            self._if_there(lambda: self._answers.put(tenant, digest, model, said, expires_at))

    def _if_there(self, call: Callable[[], T]) -> T | None:
        """Return what the cache says; None where it is away, which is told once."""
        try:
            found = call()
        except RunbellError as error:
            if not self._away:
                _log.warning("models answer without the cache of answers: %s", error)
            self._away = True
            return None
        if self._away:
            _log.info("the cache of answers is back")
        self._away = False
        return found

    def _key(self, request: ChatRequest, fleet: Fleet) -> tuple[str, str]:
        origin = origin_of(request.origin, self._tenant)
        tenant = origin.tenant or self._tenant
        # What is left of a budget is no part of the question: giving an answer again costs nothing.
        asked = request.model_dump(mode="json", exclude={"origin", "max_price"})
        told = [tenant, origin.principal_id, asked, fleet.digest]
        return tenant, hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _looked_up(chunk: ChatChunk) -> ChatChunk:
    """Return it with the word that the cache was asked in vain."""
    if chunk.decision is None:
        return chunk
    return chunk.model_copy(update={"decision": chunk.decision.model_copy(update={"from_cache": False})})


def _again(request: ChatRequest, known: tuple[str, str], total_ms: float) -> Iterator[ChatChunk]:
    model, text = known
    route = request.model or "default"
    decision = Decision(route=route, model=model, reason="answered before, from the cache", from_cache=True)
    yield ChatChunk(text=text, decision=decision)
    usage = Usage(tokens_in=0, tokens_out=0, first_token_ms=total_ms, total_ms=total_ms)
    yield ChatChunk(finish_reason="stop", usage=usage, decision=decision)
