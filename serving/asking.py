"""Carrying out a router's choice: ask the first model, and where it fails before its first token, the next.

What was said can't be taken back: after the first token a failure is the request's end, and says so.
"""

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

from integrations.errors import Forbidden, InvalidInput, Misconfigured, RunbellError, TemporaryError, Unavailable
from serving.failures import Lost, to_error, too_slow
from serving.fleet import ModelSpec
from serving.hedging import Race
from serving.router import Choice, Router
from serving.schema import Attempt, ChatChunk, ChatRequest, Failure

GRACE_S = 1.0  # the replica keeps the deadline itself; this is for one that hangs


class Door(Protocol):
    """Where models are asked."""

    def open(
        self, model: str, request: ChatRequest, timeout_s: float, traceparent: str | None
    ) -> AsyncGenerator[ChatChunk | Failure]:
        """Yield what the model's replica says; closing it cancels there. Raises errors of `integrations.errors`."""
        ...


async def ask(
    router: Router, door: Door, request: ChatRequest, timeout_s: float, traceparent: str | None = None
) -> AsyncGenerator[ChatChunk]:
    """Yield an answer; its first and last chunk say which model gives it, and why that one."""
    choice = router.choose(request)
    deadline = time.monotonic() + timeout_s
    left, errors = list(choice.candidates), list[tuple[ModelSpec, RunbellError]]()

    start = functools.partial(_one, router, door, choice, request, deadline, traceparent)
    while left:
        spec, said = left.pop(0), 0
        race = Race(start, spec, left, choice.hedge_after_s)
        try:
            async with aclosing(race.chunks()) as chunks:
                async for chunk in chunks:
                    tells = not said or chunk.finish_reason is not None
                    said += len(chunk.text) + len(chunk.tool_calls)
                    yield _explained(chunk, choice, race.spec, errors + race.beaten) if tells else chunk
        except RunbellError as error:
            spec, errors = race.spec, errors + race.beaten
            left = race.left
            if said:
                raise _broke_off(error, spec, said) from error
            errors.append((spec, error))
            if isinstance(error, Lost) and all(one is not spec for one, _ in errors[:-1]):
                left.append(spec)
            if time.monotonic() >= deadline or not _worth_another(error, spec, left):
                break
        else:
            return
    raise _all_failed(errors)


async def _one(
    router: Router,
    door: Door,
    choice: Choice,
    request: ChatRequest,
    deadline: float,
    traceparent: str | None,
    spec: ModelSpec,
) -> AsyncGenerator[ChatChunk]:
    """Yield one model's answer, and tell the router how it went."""
    began, first_ms = time.monotonic(), None
    allowed = max(deadline - began, 0.0)
    router.begin(spec, request.origin.priority)
    try:
        async with aclosing(door.open(spec.name, request, allowed, traceparent)) as items:
            while True:
                item = await _next(items, deadline + GRACE_S, allowed)
                if isinstance(item, Failure):
                    raise to_error(item)
                if first_ms is None:
                    first_ms = (time.monotonic() - began) * 1000
                if item.finish_reason is not None:
                    router.succeeded(choice, spec, first_ms)
                yield item
                if item.finish_reason is not None:
                    return
    except RunbellError as error:
        router.failed(choice, spec, error)
        raise
    finally:
        router.ended(spec, request.origin.priority)


async def _next(items: AsyncGenerator[ChatChunk | Failure], deadline: float, allowed: float) -> ChatChunk | Failure:
    try:
        async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
            return await anext(items)
    except StopAsyncIteration as error:
        raise Lost("The model broke off in the middle of its answer.") from error
    except TimeoutError as error:
        raise too_slow(allowed) from error


def _worth_another(error: RunbellError, spec: ModelSpec, left: Sequence[ModelSpec]) -> bool:
    """Whether the next model may do what this one could not; a longer context may hold what was too long."""
    if isinstance(error, InvalidInput):
        longer = any(other.context_tokens > spec.context_tokens for other in left)
        return error.field == "messages" and longer
    return isinstance(error, TemporaryError | Misconfigured)


def _explained(
    chunk: ChatChunk, choice: Choice, spec: ModelSpec, errors: Sequence[tuple[ModelSpec, RunbellError]]
) -> ChatChunk:
    failed = [Attempt(model=one.name, reason=str(error)) for one, error in errors]
    return chunk.model_copy(update={"decision": choice.decision(spec, failed, chunk.usage)})


def _broke_off(error: RunbellError, spec: ModelSpec, said: int) -> RunbellError:
    if isinstance(error, InvalidInput | Forbidden):
        return error
    return Unavailable(f"{error} {spec.name} had said {said} characters.")


def _all_failed(errors: Sequence[tuple[ModelSpec, RunbellError]]) -> RunbellError:
    """Return the first error that time may mend, else the first; it tells of the others."""
    names = list(dict.fromkeys(spec.name for spec, _ in errors))
    if len(names) == 1:
        return errors[-1][1]
    text = " ".join(f"{spec.name}: {error}" for spec, error in errors)
    for _, error in errors:
        if isinstance(error, TemporaryError):
            return type(error)(text, after=error.after) if not isinstance(error, Lost) else Unavailable(text)
    return Misconfigured(text) if isinstance(errors[0][1], Misconfigured) else InvalidInput(text, field="messages")
