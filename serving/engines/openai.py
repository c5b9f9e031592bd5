"""Any OpenAI-compatible endpoint over HTTP: vLLM, llama-server, Ray Serve LLM, OpenAI, others.

Streams server-sent events; https://platform.openai.com/docs/api-reference/chat-streaming.
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import httpx
from pydantic import BaseModel, ValidationError

from integrations.errors import InvalidInput, Misconfigured, RateLimited, Unavailable
from serving.config import Serving, reveal
from serving.constraint import check_answer, check_schema
from serving.schema import ChatChunk, ChatMessage, ChatRequest, ModelInfo, Usage

MAX_LINE_BYTES = 1 << 20
MAX_PROBLEM_BYTES = 65_536
MAX_PAUSE_S = 3600.0
CONNECT_S = 10.0


class _Delta(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Event(BaseModel):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: Any = None


def load(config: Serving, home: Path) -> "OpenAI":  # noqa: ARG001 - every engine is loaded alike
    """Check the settings; the endpoint itself is first asked with the first request."""
    if config.base_url is None or not config.base_url.startswith(("http://", "https://")):
        raise Misconfigured("The engine openai needs serving.base_url, such as https://api.openai.com/v1.")
    return OpenAI(config, config.base_url, reveal(config.api_key, "serving.api_key"))


class OpenAI:
    """One model of one endpoint; at most `slots` requests are under way, the rest wait."""

    def __init__(self, config: Serving, base_url: str, api_key: str | None) -> None:
        self._info = ModelInfo(
            name=config.model,
            engine="openai",
            context_tokens=config.context_tokens,
            strong=config.strong,
            constrains=True,
        )
        self._timeout_s = config.request_timeout_s
        self._slots = asyncio.Semaphore(config.slots)
        # Redirects are not followed: the key would go along.
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(config.request_timeout_s, connect=CONNECT_S),
        )

    def describe(self) -> ModelInfo:
        """Tell which model the endpoint is asked for."""
        return self._info

    def check(self) -> None:
        """Nothing hangs here that a new process would cure: every request has a time-out."""

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Estimate: 3 characters a token, a Chinese character one, 4 tokens around each message."""
        text = "".join(message.content for message in messages)
        wide = sum(char >= "\u2e80" for char in text)
        return wide + (len(text) - wide + 2) // 3 + 4 * len(messages)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk]:
        """Yield what the endpoint streams; leaving closes the connection, which stops it there too."""
        began, first, text = time.monotonic(), None, list[str]()
        finish: str | None = None
        used = _Usage()
        body = _body(request, self._info.name)
        async with self._slots, contextlib.aclosing(self._events(body)) as events:
            async for event in events:
                used = event.usage or used
                for choice in event.choices[:1]:
                    finish = choice.finish_reason or finish
                    if choice.delta.content:
                        first = first or time.monotonic()
                        text.append(choice.delta.content)
                        yield ChatChunk(text=choice.delta.content)
        if finish is None:
            raise Unavailable("The model's endpoint broke off in the middle of its answer.")
        if finish == "content_filter":
            raise InvalidInput("The model's endpoint refuses this content.", field="messages")
        if request.json_schema is not None and finish == "stop":
            check_answer(request.json_schema, "".join(text))
        usage = Usage(
            tokens_in=used.prompt_tokens,
            tokens_out=used.completion_tokens,
            first_token_ms=None if first is None else (first - began) * 1000,
            total_ms=(time.monotonic() - began) * 1000,
        )
        yield ChatChunk(finish_reason="length" if finish == "length" else "stop", usage=usage)

    async def _events(self, body: dict[str, Any]) -> AsyncGenerator[_Event]:
        try:
            async with self._client.stream("POST", "chat/completions", json=body) as response:
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


def _body(request: ChatRequest, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": [message.model_dump() for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.stop:
        body["stop"] = list(request.stop)
    if request.json_schema is not None:
        check_schema(request.json_schema)
        schema = {"name": "answer", "strict": True, "schema": request.json_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


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


def _event(data: bytes) -> _Event:
    try:
        event = _Event.model_validate_json(data)
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
        raise Misconfigured(f"The model's endpoint refuses the key (serving.api_key): {message}")
    if status == 404:
        raise Misconfigured(f"The endpoint has no such model or path (serving.model, serving.base_url): {message}")
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
    """Return the seconds of `Retry-After`; its other form, a date, is not used by these endpoints."""
    try:
        return min(max(float(response.headers.get("retry-after", "")), 0.0), MAX_PAUSE_S)
    except ValueError:
        return 5.0
