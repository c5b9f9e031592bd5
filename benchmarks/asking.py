"""Asking one engine many things at once, and what it took: alone, through handles, over HTTP."""

import asyncio
import json
import random
import statistics
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from serving.schema import ChatMessage, ChatRequest


@dataclass(frozen=True)
class Took:
    """One answer: when its first piece came, when it ended, how many tokens it had."""

    first_s: float
    end_s: float
    tokens: int


def requests(count: int, *, words: int, tokens: int, seed: int = 1) -> list[ChatRequest]:
    """Return prompts that share no beginning, so that no cache helps one way more than another."""
    chance = random.Random(seed)
    prompts = [" ".join(f"w{chance.randrange(2_000)}" for _ in range(words)) for _ in range(count)]
    return [
        ChatRequest(messages=(ChatMessage(role="user", content=prompt),), max_tokens=tokens, temperature=0.0)
        for prompt in prompts
    ]


def figures(took: Sequence[Took], wall_s: float) -> dict[str, float]:
    """Return tokens per second over all, and milliseconds to the first token."""
    first = sorted(one.first_s * 1000 for one in took)
    return {
        "tokens_per_s": round(sum(one.tokens for one in took) / wall_s, 1),
        "tokens": sum(one.tokens for one in took),
        "first_ms_p50": round(statistics.median(first), 1),
        "first_ms_p99": round(first[min(len(first) - 1, int(len(first) * 0.99))], 1),
    }


async def alone(stream: Callable[[ChatRequest], AsyncIterator[Any]], asked: Sequence[ChatRequest]) -> dict[str, float]:
    """Ask an engine of this process everything at once."""

    async def one(request: ChatRequest) -> Took:
        began, first, tokens = time.monotonic(), None, 0
        async for chunk in stream(request):
            first = first or time.monotonic()
            tokens = chunk.usage.tokens_out if chunk.usage else tokens
        return Took((first or time.monotonic()) - began, time.monotonic() - began, tokens)

    began = time.monotonic()
    took = await asyncio.gather(*(one(request) for request in asked))
    return figures(took, time.monotonic() - began)


def through(stream: Callable[[ChatRequest], Iterator[Any]], asked: Sequence[ChatRequest]) -> dict[str, float]:
    """Ask from as many threads at once, as ops do."""
    gate = threading.Barrier(len(asked) + 1)

    def one(request: ChatRequest) -> Took:
        chunks = stream(request)
        gate.wait()
        began, first, tokens = time.monotonic(), None, 0
        for chunk in chunks:
            first = first or time.monotonic()
            tokens = chunk.usage.tokens_out if chunk.usage else tokens
        return Took((first or time.monotonic()) - began, time.monotonic() - began, tokens)

    pool = ThreadPoolExecutor(len(asked))
    try:
        futures = [pool.submit(one, request) for request in asked]
        gate.wait()
        began = time.monotonic()
        took = [future.result() for future in futures]
        return figures(took, time.monotonic() - began)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a benchmark that is told to stop waits for no answer


async def over_http(url: str, token: str, model: str, asked: Sequence[ChatRequest]) -> dict[str, float]:
    """Ask the OpenAI-compatible interface everything at once."""
    import httpx

    limits = httpx.Limits(max_connections=len(asked))
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers, timeout=600, limits=limits, trust_env=False) as client:

        async def one(request: ChatRequest) -> Took:
            body = {
                "model": model,
                "messages": [{"role": "user", "content": request.messages[0].content}],
                "max_tokens": request.max_tokens,
                "temperature": 0,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
            began, first, tokens = time.monotonic(), None, 0
            async with client.stream("POST", f"{url}/chat/completions", json=body) as answer:
                answer.raise_for_status()
                async for line in answer.aiter_lines():
                    if not line.startswith("data: {"):
                        continue
                    first = first or time.monotonic()
                    usage = json.loads(line[6:]).get("usage")
                    tokens = usage["completion_tokens"] if usage else tokens
            return Took((first or time.monotonic()) - began, time.monotonic() - began, tokens)

        began = time.monotonic()
        took = await asyncio.gather(*(one(request) for request in asked))
        return figures(took, time.monotonic() - began)
