"""Models of Ray Serve, for plain threads of a process that is connected to Ray.

Which model is asked is decided here (`router`), by the table of models that the application `openai` hands out.
"""

import asyncio
import atexit
import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import aclosing
from typing import Any, TypeVar, cast

from integrations.errors import Misconfigured, RunbellError, Unavailable
from serving.asking import GRACE_S, ask
from serving.failures import too_slow
from serving.fleet import Table
from serving.ray_door import GATE, RayDoor
from serving.router import Router
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Embedding, ModelInfo

T = TypeVar("T")
CALL_S = 60.0
DESCRIBE_S = 30.0
TEXTS_PER_CALL = 256
TABLE_S = 3.0
"""Seconds for which another table of models may go unnoticed."""
_loops: list[asyncio.AbstractEventLoop] = []
_lock = threading.Lock()


def connect() -> None:
    """Join the Ray cluster that the environment names; its token is required.

    Raises `Misconfigured` where the environment or Ray is not as it must be, `Unavailable` where nobody answers.
    """
    import ray

    address = os.environ.get("RAY_ADDRESS")
    if not address:
        raise Misconfigured("RAY_ADDRESS is not set: `runbell up` starts Ray and this process with it.")
    if os.environ.get("RAY_AUTH_MODE") != "token":
        raise Misconfigured("Ray must require its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH.")
    if tuple(int(part) for part in ray.__version__.split(".")[:2]) < (2, 60):
        raise Misconfigured(f"Ray {ray.__version__} is too old to be safe: 2.60 or newer is needed.")
    logging.getLogger("ray").setLevel(logging.WARNING)  # set to INFO, and onto stderr, by its import
    try:
        ray.init(address=address, namespace="runbell", log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError) as error:
        raise Unavailable(f"Ray can't be reached at {address}: {error}") from error
    import ray.serve  # pyright: ignore[reportUnusedImport] - sets its logger to INFO, onto stderr, too

    logging.getLogger("ray.serve").setLevel(logging.WARNING)


class ServeModels:
    """The models of the Ray cluster that this process is connected to. Thread-safe; one per process."""

    def __init__(self) -> None:
        self._door = RayDoor()
        self._lock = threading.Lock()
        self._router: Router | None = None
        self._under_way = set[Future[Any]]()

    def stream(
        self, request: ChatRequest, *, timeout_s: float = 120.0, traceparent: str | None = None
    ) -> Iterator[ChatChunk]:
        """Yield the answer as it is generated; closing the iterator cancels the generation."""
        give_up_at = time.monotonic() + timeout_s + 2 * GRACE_S
        items = queue.SimpleQueue[object]()
        answer = ask(self._routed(), self._door, request, timeout_s, traceparent)
        pump = self._begin(_pump(answer, items))
        ended = False
        try:
            while not ended:
                item = _next(items, give_up_at, timeout_s)
                if not isinstance(item, ChatChunk):
                    raise item if isinstance(item, RunbellError) else _stopped(item)
                ended = item.finish_reason is not None
                yield item
        finally:
            pump.cancel()

    def embed(self, texts: Sequence[str], *, traceparent: str | None = None) -> list[list[float]]:
        """Return one unit vector per text; long lists go in pieces."""
        vectors: list[list[float]] = []
        app = self._door.app(self._routed().fleet.embedder)
        for start in range(0, len(texts), TEXTS_PER_CALL):
            part = list(texts[start : start + TEXTS_PER_CALL])
            answer = self._call(app, "embed", CALL_S + GRACE_S, part, CALL_S, traceparent)
            vectors.extend(list(embedding.vector) for embedding in cast("list[Embedding]", answer))
        return vectors

    def unknown_share(self, texts: Sequence[str]) -> list[float]:
        """Return per text the share of tokens that the embedder does not know."""
        app = self._door.app(self._routed().fleet.embedder)
        return cast("list[float]", self._call(app, "unknown_share", CALL_S, list(texts)))

    def embedder(self) -> str:
        """Return the name of the model that embeds, by the table of models that is known here."""
        return self._routed().fleet.embedder

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Return how much of the context of the default route's first model these messages take."""
        return cast("int", self._call(self._default(), "count_tokens", CALL_S, tuple(messages)))

    def describe(self) -> ModelInfo:
        """Tell what the default route's first model is; raises what is wrong where none is loaded."""
        return cast("ModelInfo", self._call(self._default(), "describe", CALL_S))

    def answers(self, app: str) -> None:
        """Raise what is wrong with the model that an application serves, whether or not the table knows it."""
        self._call(app, "describe", DESCRIBE_S)

    def close(self) -> None:
        """Stop what this object asks; streams that run end with `Unavailable`."""
        for future in list(self._under_way):
            future.cancel()

    def _default(self) -> str:
        router = self._routed()
        hello = ChatRequest(messages=(ChatMessage(role="user", content=""),))
        return self._door.app(router.choose(hello).candidates[0].name)

    def _routed(self) -> Router:
        """Return the router; its table is renewed behind the callers' backs, so that no request waits for it."""
        if self._router is None:
            table = cast("Table", self._call(GATE, "table", CALL_S))
            with self._lock:
                fresh, self._door.apps = self._router is None, table.apps
                router = self._router = self._router or Router(table.fleet)
            if fresh:
                self._begin(self._keep_renewed(router))
        return self._router

    async def _keep_renewed(self, router: Router) -> None:
        while True:
            await asyncio.sleep(TABLE_S)
            with contextlib.suppress(RunbellError, TimeoutError):  # the table that is known goes on to hold
                table = cast("Table", await asyncio.wait_for(self._door.call(GATE, "table"), CALL_S))
                self._door.apps = table.apps
                router.renew(table.fleet)

    def _call(self, app: str, method: str, timeout_s: float, *arguments: object) -> object:
        call = asyncio.wait_for(self._door.call(app, method, *arguments), timeout_s)
        try:
            return self._begin(call).result(timeout_s + GRACE_S)
        except TimeoutError as error:
            raise too_slow(timeout_s) from error
        except CancelledError as error:
            raise Unavailable("The connection to the models was closed.") from error

    def _begin(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        future = asyncio.run_coroutine_threadsafe(work, shared_loop())
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future


def shared_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop in which this process asks, whoever does: Ray ties a handle to the first one it meets."""
    with _lock:
        if not _loops:
            _loops.append(loop := asyncio.new_event_loop())
            threading.Thread(target=_turn, args=[loop], name="serve-models", daemon=True).start()
            atexit.register(loop.call_soon_threadsafe, loop.stop)
        return _loops[0]


async def _pump(answer: AsyncGenerator[ChatChunk], items: "queue.SimpleQueue[object]") -> None:
    """Carry items to the waiting thread: Ray's own synchronous iteration knows no time-out."""
    try:
        async with aclosing(answer):
            async for item in answer:
                items.put(item)
    except Exception as error:  # noqa: BLE001 - handed to the waiting thread
        items.put(error)
    finally:
        items.put(None)


def _stopped(item: object) -> Unavailable:
    return Unavailable(f"The answer broke off{f' ({item!r})' if item else ''}.")


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped, then end what still runs in it."""
    loop.run_forever()
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))
    loop.close()


def _next(items: "queue.SimpleQueue[object]", give_up_at: float, timeout_s: float) -> object:
    try:
        return items.get(timeout=max(give_up_at - time.monotonic(), 0))
    except queue.Empty as error:
        raise too_slow(timeout_s) from error
