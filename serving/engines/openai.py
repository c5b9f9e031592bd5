"""Any OpenAI-compatible endpoint over HTTP: vLLM, llama-server, Ray Serve LLM, OpenAI, others.

Streams server-sent events; https://platform.openai.com/docs/api-reference/chat-streaming. What fails before its first
event is tried with the endpoint's next key or address (`endpoint_access`); afterwards never: it was paid for and said.
"""

import asyncio
import contextlib
import json
import math
import re
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal, NoReturn

import httpx
from pydantic import ValidationError

from integrations.errors import InvalidInput, Misconfigured, RateLimited, RunbellError, Unavailable
from serving.config import reveal
from serving.constraint import check_answer, check_schema
from serving.engines.endpoint_access import Access, Key
from serving.engines.endpoint_events import Event, UsageTold
from serving.fleet import ModelSpec
from serving.prompt_size import estimate, tokens, whole
from serving.schema import ChatChunk, ChatMessage, ChatRequest, ModelInfo, OneTool, Usage

MAX_LINE_BYTES = 1 << 20
MAX_PROBLEM_BYTES = 65_536
MAX_PAUSE_S = 3600.0
CONNECT_S = 10.0


class Refused(Misconfigured):
    """The endpoint does not take this key."""


def load(config: ModelSpec, home: Path) -> "OpenAI":  # noqa: ARG001 - every engine is loaded alike
    """Check the settings; the endpoint itself is first asked with the first request."""
    urls = _several(config.base_url)
    if not urls or not all(url.startswith(("http://", "https://")) for url in urls):
        raise Misconfigured("The engine openai needs base_url, such as https://api.openai.com/v1.")
    secrets = [reveal(key, "api_key") for key in _several(config.api_key)]
    return OpenAI(config, Access(urls, secrets, config.requests_per_second))


class OpenAI:
    """One model of one endpoint; at most `slots` requests are under way, the rest wait."""

    def __init__(self, config: ModelSpec, access: Access) -> None:
        self._info = ModelInfo(
            name=config.model,
            engine="openai",
            context_tokens=config.context_tokens,
            strong=config.strong,
            constrains=True,
        )
        self._model = config.model or config.name
        self._access = access
        self._timeout_s = config.timeout_s
        self._slots = asyncio.Semaphore(config.slots)
        # Redirects are not followed: the key would go along.
        timeout = httpx.Timeout(self._timeout_s, connect=min(CONNECT_S, self._timeout_s))
        self._client = httpx.AsyncClient(timeout=timeout)

    def describe(self) -> ModelInfo:
        """Tell which model the endpoint is asked for."""
        return self._info

    def check(self) -> None:
        """Nothing hangs here that a new process would cure: every request has a time-out."""

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Estimate: nobody here has the endpoint's tokenizer."""
        return estimate(messages)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk]:
        """Yield what the endpoint streams; leaving closes the connection, which stops it there too."""
        began, first, text = time.monotonic(), None, list[str]()
        finish: str | None = None
        used: UsageTold | None = None
        body = _body(request, self._model)
        async with self._slots, contextlib.aclosing(self._events(body)) as events:
            async for event in events:
                used = event.usage or used
                for choice in event.choices[:1]:
                    finish = choice.finish_reason or finish
                    piece, calls = choice.delta.content or "", choice.delta.tool_calls or ()
                    if piece or calls:
                        first = first or time.monotonic()
                        text.append(piece)
                        yield ChatChunk(text=piece, tool_calls=tuple(call.plain() for call in calls))
        if finish is None:
            raise Unavailable("The model's endpoint broke off in the middle of its answer.")
        if finish == "content_filter":
            raise InvalidInput("The model's endpoint refuses this content.", field="messages")
        if request.json_schema is not None and finish == "stop":
            check_answer(request.json_schema, "".join(text))
        # Whoever counts nothing has read and written all the same.
        used = used or UsageTold(prompt_tokens=whole(request), completion_tokens=tokens("".join(text)))
        usage = Usage(
            tokens_in=used.prompt_tokens,
            tokens_out=used.completion_tokens,
            tokens_cached=(used.prompt_tokens_details and used.prompt_tokens_details.cached_tokens) or 0,
            first_token_ms=None if first is None else (first - began) * 1000,
            total_ms=(time.monotonic() - began) * 1000,
        )
        ends: dict[str, Literal["length", "tool_calls"]] = {"length": "length", "tool_calls": "tool_calls"}
        yield ChatChunk(finish_reason=ends.get(finish, "stop"), usage=usage)

    async def _events(self, body: dict[str, Any]) -> AsyncGenerator[Event]:
        """Yield events of the first key and address that deliver any."""
        patience_at = time.monotonic() + self._timeout_s
        last: RunbellError = Unavailable("The model's endpoint was not asked.")
        for _ in range(self._access.tries):
            key, wait_s = self._access.key(patience_at - time.monotonic())
            await asyncio.sleep(wait_s)
            url, begun = self._access.urls()[0], False
            try:
                async with contextlib.aclosing(self._ask(url, key, body)) as events:
                    async for event in events:
                        begun = True
                        yield event
            except (RateLimited, Misconfigured, Unavailable) as error:
                last = error
                if begun or not self._may_go_on(error, url, key):
                    raise
            else:
                self._access.up(url)
                return
        raise last

    def _may_go_on(self, error: RunbellError, url: str, key: Key) -> bool:
        """Set aside what failed; return whether another key or address may do."""
        if isinstance(error, RateLimited):
            self._access.rest(key, error.after)
        elif isinstance(error, Refused):
            self._access.refuse(key)
        elif isinstance(error, Unavailable):
            self._access.down(url)
        else:
            return False
        return self._access.tries > 2

    async def _ask(self, url: str, key: Key, body: dict[str, Any]) -> AsyncGenerator[Event]:
        headers = {"Authorization": f"Bearer {key.secret}"} if key.secret else {}
        path = f"{url.rstrip('/')}/chat/completions"
        try:
            async with self._client.stream("POST", path, json=body, headers=headers) as response:
                if response.status_code != 200:
                    await _refuse(response)
                async for line in _lines(response):
                    data = line.removeprefix(b"data:").strip()
                    if data == b"[DONE]":
                        return
                    if line.startswith(b"data:"):
                        yield _event(data)
        except httpx.TimeoutException as error:
            raise Unavailable(f"The model's endpoint was silent for {self._timeout_s:g} s.") from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"The model's endpoint can't be reached: {reason}") from error


def _several(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value or ()


def _turn(message: ChatMessage) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return turn | ({"tool_call_id": message.tool_call_id} if message.tool_call_id else {})


def _body(request: ChatRequest, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": [_turn(message) for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        body |= _tools(request)
    if request.stop:
        body["stop"] = list(request.stop)
    if request.json_schema is not None:
        check_schema(request.json_schema)
        schema = {"name": "answer", "strict": True, "schema": request.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _tools(request: ChatRequest) -> dict[str, Any]:
    """Return tools, and whether they must be called; what is the default is left out, since not all know it."""
    told: dict[str, Any] = {"tools": [{"type": "function", "function": tool.model_dump()} for tool in request.tools]}
    if isinstance(request.tool_choice, OneTool):
        told["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice.name}}
    elif request.tool_choice != "auto":
        told["tool_choice"] = request.tool_choice
    return told if request.parallel_tool_calls else told | {"parallel_tool_calls": False}


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes]:
    """Split at line ends before decoding (a character may lie across two packets), with a bound."""
    rest = b""
    async for piece in response.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r")
        if len(rest) > MAX_LINE_BYTES:
            raise Unavailable("The model's endpoint sends something that is no event stream.")
    if rest:
        yield rest


def _event(data: bytes) -> Event:
    try:
        event = Event.model_validate_json(data)
    except ValidationError as error:
        raise Unavailable("The model's endpoint sends something that is no chat completion.") from error
    if event.error is not None:
        raise Unavailable(f"The model's endpoint failed: {_message(event.error)}")
    return event


async def _refuse(response: httpx.Response) -> NoReturn:
    raw = b""
    async for piece in response.aiter_bytes():
        raw += piece
        if len(raw) > MAX_PROBLEM_BYTES:
            break
    try:
        body = json.loads(raw)
    except ValueError:
        body = {}
    error = body.get("error", body) if isinstance(body, dict) else {}
    status, message = response.status_code, _message(error)
    if status in {401, 403}:
        raise Refused(f"The model's endpoint refuses the key (api_key): {message}")
    if status == 404:
        raise Misconfigured(f"The endpoint has no such model or path (model, base_url): {message}")
    if status == 429:
        raise RateLimited(f"The model's endpoint asks for a pause: {message}", after=_pause(response))
    if status in {400, 413, 422}:
        long = re.search(r"context|too (long|large)|maximum.*tokens", message, re.IGNORECASE)
        said = "The prompt is too long for the model" if long else "The model's endpoint refuses the request"
        raise InvalidInput(f"{said}: {message}", field="messages" if long else None)
    raise Unavailable(f"The model's endpoint answered {status}: {message}", after=_pause(response))


def _message(error: object) -> str:
    text = error.get("message") or error.get("detail") if isinstance(error, dict) else error
    return str(text or "no reason given")[:500]


def _pause(response: httpx.Response) -> float:
    """Return the seconds of `Retry-After`, which may also be a date."""
    said = response.headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 5.0
    return min(max(seconds, 0.0), MAX_PAUSE_S) if math.isfinite(seconds) else 5.0
