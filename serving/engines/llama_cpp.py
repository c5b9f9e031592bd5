"""llama.cpp in this process (package xllamacpp): GGUF files, several generations at once, no network port.

What the library does unasked, and what is done about it, is told where it is done.
"""

import asyncio
import contextlib
import importlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from integrations.errors import InvalidInput, Misconfigured, Unavailable
from serving.constraint import check_answer, check_schema
from serving.engines.text import disarm
from serving.fleet import ModelSpec
from serving.schema import ChatChunk, ChatMessage, ChatRequest, ModelInfo, Usage
from serving.shelf import find, verify

PREFILL_TOKENS = 256  # a prompt advances, and can be cancelled, in steps of this many tokens
STALL_S = 120.0
MAX_THREADS = 16
MAX_SOCKET_PATH = 107

Json = dict[str, Any]


def load(config: ModelSpec, home: Path) -> "LlamaCpp":
    """Check the model's files against their checksums, then load them."""
    model = find(home, config.model, kind="chat", engine="llama_cpp")
    verify(model)
    return LlamaCpp(model.main_file, config, home / "run", model.system)


def try_out(path: str) -> None:
    """Load a file and generate one token, in a process that may die of it; exits with 1 where it is no model."""
    spec = ModelSpec(engine="llama_cpp", name="tried-out", model="tried-out", slots=1, context_tokens=64)
    with tempfile.TemporaryDirectory() as folder:
        try:
            engine = LlamaCpp(Path(path), spec, Path(folder))
        except Misconfigured:  # llama.cpp tells nothing that would help
            sys.exit("it is damaged or not whole, or of a kind that llama.cpp does not know")
        asyncio.run(engine.close())


@dataclass(eq=False)
class _Call:
    stop: threading.Event = field(default_factory=threading.Event)
    heard_at: float = field(default_factory=time.monotonic)


class LlamaCpp:
    """One GGUF model with `slots` contexts; further calls wait in Python, where waiting costs nothing."""

    def __init__(self, path: Path, config: ModelSpec, run: Path, system: str | None = None) -> None:
        self._info = ModelInfo(
            name=config.name,
            engine="llama_cpp",
            context_tokens=config.context_tokens,
            strong=config.strong,
            constrains=True,
        )
        self._system = system
        self._folder = _private_folder(run)
        self._socket = str(self._folder / "http.sock")
        self._server: Any = self._start(path, config)
        self._pool = ThreadPoolExecutor(config.slots, "llama")
        self._slots = asyncio.Semaphore(config.slots)
        self._calls: dict[_Call, Future[None]] = {}
        self._closing = False

    def _start(self, path: Path, config: ModelSpec) -> object:
        native: Any = importlib.import_module("xllamacpp")  # it ships no types

        params = native.CommonParams()
        params.model.path, params.model_alias = str(path), {config.model}
        params.n_parallel, params.n_ctx = config.slots, config.slots * config.context_tokens
        params.n_batch = params.n_ubatch = PREFILL_TOKENS
        threads = min(len(os.sched_getaffinity(0)), MAX_THREADS)
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.cache_ram_mib = 0  # 8 GiB by default
        params.ui = params.endpoint_slots = False
        params.verbosity = 1
        # It always opens an HTTP server without authentication: on a socket that only we can reach.
        params.hostnames = [self._socket]
        try:
            server = native.Server(params)
        except (RuntimeError, ValueError) as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            reason = str(error).rstrip(".")
            raise Misconfigured(
                f"llama.cpp can't load {path}: {reason}. Run: runbell models pull {config.model}"
            ) from error
        # Closing right after loading can hang; once a request went through, the main loop is known to run.
        server.handle_completions({"prompt": "a", "max_tokens": 1})
        return server

    def describe(self) -> ModelInfo:
        """Tell what is loaded."""
        return self._info

    def check(self) -> None:
        """Raise when a call that has a slot was silent for two minutes; prefill reports progress meanwhile."""
        now = time.monotonic()
        if any(now - call.heard_at > STALL_S for call in self._calls):
            raise Unavailable("llama.cpp hangs.")

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Return the exact number, by the model's own template and tokenizer."""
        transport = httpx.AsyncHTTPTransport(uds=self._socket)
        async with httpx.AsyncClient(transport=transport, base_url="http://llama", timeout=30) as client:
            turns = {"messages": _turns(messages, self._system)}
            prompt = (await client.post("/apply-template", json=turns)).raise_for_status().json()
            content = {"content": prompt["prompt"], "add_special": True, "parse_special": True}
            tokens = (await client.post("/tokenize", json=content)).raise_for_status().json()
        return len(tokens["tokens"])

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk]:
        """Yield tokens as they come."""
        began, first, text = time.monotonic(), None, list[str]()
        body, finish, tokens = _body(request, self._system), "stop", dict[str, Any]()
        async with contextlib.aclosing(self._raw(body)) as chunks:
            async for chunk in chunks:
                tokens = chunk.get("usage") or tokens
                for choice in chunk.get("choices", ()):
                    finish = choice.get("finish_reason") or finish
                    if piece := choice["delta"].get("content"):
                        first = first or time.monotonic()
                        text.append(piece)
                        yield ChatChunk(text=piece)
        if request.json_schema is not None and finish == "stop":
            check_answer(request.json_schema, "".join(text))
        cached = (tokens.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        usage = Usage(
            tokens_in=tokens.get("prompt_tokens", 0),
            tokens_out=tokens.get("completion_tokens", 0),
            tokens_cached=cached,
            first_token_ms=None if first is None else (first - began) * 1000,
            total_ms=(time.monotonic() - began) * 1000,
        )
        yield ChatChunk(finish_reason="length" if finish == "length" else "stop", usage=usage)

    async def _raw(self, body: Json) -> AsyncGenerator[Json]:
        await self._slots.acquire()
        if self._closing:
            self._slots.release()
            raise Unavailable("The model is being unloaded.")
        chunks, call = asyncio.Queue[Json | None](), _Call()
        self._begin(call, body, chunks)
        try:
            while (chunk := await chunks.get()) is not None:
                if "error" in chunk:
                    raise _translate(chunk["error"])
                if "prompt_progress" not in chunk:
                    yield chunk
            if call.stop.is_set():
                raise Unavailable("The model is being unloaded.")
        finally:
            call.stop.set()  # the native call returns at its next chunk, and only then its slot is free

    def _begin(self, call: _Call, body: Json, chunks: asyncio.Queue[Json | None]) -> None:
        loop = asyncio.get_running_loop()

        def post(item: Json | None) -> None:
            try:
                loop.call_soon_threadsafe(chunks.put_nowait, item)
            except RuntimeError:  # the event loop is closed: nobody listens any more
                call.stop.set()

        def on_chunk(chunk: Json) -> bool:
            call.heard_at = time.monotonic()
            post(chunk)
            return call.stop.is_set()

        def run() -> None:
            try:
                self._server.handle_chat_completions(body, on_chunk)
                post(None)
            except (ValueError, RuntimeError) as error:
                post({"error": {"type": "invalid_request_error", "message": str(error)}})

        def done(_: object) -> None:
            self._calls.pop(call, None)
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._slots.release)

        self._calls[call] = future = self._pool.submit(run)
        future.add_done_callback(done)

    async def close(self) -> None:
        """Stop every generation, wait until the native calls returned, then free the model."""
        if self._closing:
            return
        self._closing = True
        for call in list(self._calls):
            call.stop.set()
        await asyncio.gather(
            *(asyncio.wrap_future(future) for future in list(self._calls.values())), return_exceptions=True
        )
        self._pool.shutdown(wait=False)
        await asyncio.to_thread(setattr, self, "_server", None)  # the last reference joins the native loop
        shutil.rmtree(self._folder, ignore_errors=True)


def _private_folder(run: Path) -> Path:
    """Make a folder for the socket that only we can enter, and remove those of processes that died."""
    run.mkdir(parents=True, exist_ok=True)
    for stale in run.glob("llama-*"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(int(stale.name.split("-")[1]), 0)
            continue
        shutil.rmtree(stale, ignore_errors=True)
    fits = len(str(run)) < MAX_SOCKET_PATH - len("/llama-1234567-12345678/http.sock")
    return Path(tempfile.mkdtemp(prefix=f"llama-{os.getpid()}-", dir=run if fits else None))


def _body(request: ChatRequest, system: str | None) -> Json:
    body: Json = {
        "messages": _turns(request.messages, system),
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stop": list(request.stop),
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,  # without it a prefill can't be cancelled
    }
    if request.json_schema is not None:
        check_schema(request.json_schema)
        body["grammar"] = _grammar(request.json_schema)
    return body


def _turns(messages: Sequence[ChatMessage], system: str | None) -> list[Json]:
    turns: list[Json] = [{"role": message.role, "content": disarm(message.content)} for message in messages]
    if system is not None and all(message.role != "system" for message in messages):
        turns.insert(0, {"role": "system", "content": system})
    return turns


def _grammar(schema: Json) -> str:
    # Compact JSON: with `response_format` small models spend most of their tokens on blanks.
    guide = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    return "%llguidance {}\nstart: %json " + json.dumps({"x-guidance": guide} | schema)


def _translate(error: Json) -> InvalidInput | Unavailable:
    message = str(error.get("message", error))
    if error.get("type") == "exceed_context_size_error":
        return InvalidInput(f"The prompt is too long for the model: {message}.", field="messages")
    if error.get("type") == "invalid_request_error" or error.get("code") == 400:
        return InvalidInput(f"The model refuses the request: {message}")
    return Unavailable(f"The model failed: {message}")
