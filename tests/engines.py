"""Engines for the conformance suite: the real starter model, our own HTTP interface before it, tiny weights."""

import asyncio
import inspect
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from serving import catalogue
from serving.accounts import Opening
from serving.config import Config
from serving.engines import Engine, load_engine
from serving.failures import to_failure
from serving.fleet import Fleet, ModelSpec
from serving.openai_app import Models, build
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Failure
from tests import tiny_model

TOKEN = "t" * 32
SLOTS, CONTEXT = 2, 256
PATIENCE_S = 300
"""Seconds that an answer may take on a busy machine: a whole context of the starter model took 34 at a load of 10."""


@asynccontextmanager
async def engine(name: str, folder: Path) -> AsyncGenerator[Engine]:
    """Load an engine; skipped where it can't be had on this machine."""
    opened = {"llama_cpp": llama_cpp, "openai": over_http, "transformers": transformers}[name]
    async with opened(folder) as engine:
        yield engine


@asynccontextmanager
async def llama_cpp(folder: Path) -> AsyncGenerator[Engine]:
    catalogue.pull(folder, "smollm2-135m")
    spec = ModelSpec(engine="llama_cpp", name="smollm2-135m", model="smollm2-135m", slots=SLOTS, context_tokens=CONTEXT)
    engine = await asyncio.to_thread(load_engine, spec, folder)
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def transformers(folder: Path) -> AsyncGenerator[Engine]:
    pytest.importorskip("transformers", reason="make transformers")
    path = await asyncio.to_thread(tiny_model.make, folder / "tiny")
    engine = await asyncio.to_thread(load_engine, tiny_model.spec(path, slots=SLOTS, context_tokens=CONTEXT), folder)
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def over_http(folder: Path) -> AsyncGenerator[Engine]:
    """The engine `openai` → our HTTP interface → our router → llama.cpp."""
    async with llama_cpp(folder) as behind, served(behind, folder) as url:
        spec = ModelSpec(
            engine="openai", name="served", model="default", base_url=url, api_key=TOKEN, slots=SLOTS,
            context_tokens=CONTEXT, requests_per_second=1000, request_timeout_s=PATIENCE_S,
        )  # fmt: skip
        engine = load_engine(spec, folder)
        try:
            yield engine
        finally:
            await engine.close()


class LocalDoor:
    """Models of this process in place of Ray's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.apps: dict[str, str] = {}

    async def open(
        self, model: str, request: ChatRequest, timeout_s: float, traceparent: str | None
    ) -> AsyncGenerator[ChatChunk | Failure]:
        chunks = self._engine.stream(request)
        try:
            async for chunk in chunks:
                yield chunk
        except Exception as error:
            yield to_failure(error)  # pyright: ignore[reportArgumentType] - whatever it is
        finally:
            await chunks.aclose()

    def app(self, model: str) -> str:
        return model

    async def call(self, app: str, method: str, *arguments: object) -> object:
        result = getattr(self._engine, method)(*arguments)
        return await result if inspect.isawaitable(result) else result


@asynccontextmanager
async def served(
    engine: Engine, folder: Path, fleet: Fleet | None = None, accounts: Opening | None = None, **settings: object
) -> AsyncGenerator[str]:
    """Serve an engine over our HTTP interface, without Ray; gives the address."""
    (folder / "token").write_text(TOKEN)
    fleet = fleet or Fleet.model_validate(
        {"models": {"smollm2-135m": {"engine": "x", **settings}, "e": {"engine": "y", "capabilities": ["embed"]}}}
    )
    models = Models(fleet.table(), PATIENCE_S, accounts)
    models._door = LocalDoor(engine)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue] - Ray's is not here
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(build(Config(home=folder), models), log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn tells it by nothing else
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            await task


def ask(text: str = "Tell me about the sea.", **options: Any) -> ChatRequest:
    told: dict[str, Any] = {"max_tokens": 24, "temperature": 0.0} | options
    return ChatRequest(messages=(ChatMessage(role="user", content=text),), **told)


async def collect(engine: Engine, request: ChatRequest) -> list[ChatChunk]:
    return [chunk async for chunk in engine.stream(request)]


def text_of(chunks: Sequence[ChatChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)
