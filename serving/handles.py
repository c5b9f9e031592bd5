"""Models over Ray Serve handles, for plain threads of a process that is connected to Ray.

A handle has no deadline, drops the trace context, and wraps errors: all three are put right here.
"""

import asyncio
import os
import queue
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, cast

from integrations.errors import Misconfigured, Overloaded, RunbellError, Unavailable
from serving.failures import to_error, too_slow
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Embedding, Failure, ModelInfo

CHAT = "chat"
EMBEDDER = "embedder"
CALL_S = 60.0
GRACE_S = 1.0  # the replica keeps the deadline itself; this is for one that hangs
TEXTS_PER_CALL = 256


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
    try:
        ray.init(address=address, namespace="runbell", log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError) as error:
        raise Unavailable(f"Ray can't be reached at {address}: {error}") from error


class ServeModels:
    """The models of the Ray cluster that this process is connected to. Thread-safe; one per process."""

    def __init__(self) -> None:
        self._handles: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def stream(
        self, request: ChatRequest, *, timeout_s: float = 120.0, traceparent: str | None = None
    ) -> Iterator[ChatChunk]:
        """Yield the answer as it is generated; closing the iterator cancels the generation."""
        give_up_at = time.monotonic() + timeout_s + GRACE_S
        items = queue.SimpleQueue[object]()
        try:
            streaming = self._handle(CHAT).options(stream=True)
            response = streaming.stream.remote(request, timeout_s, traceparent)
        except Exception as error:
            raise self._translate(CHAT, error) from error
        pump = asyncio.run_coroutine_threadsafe(_pump(response, items), self._running_loop())
        ended = False
        try:
            while not ended:
                item = _next(items, give_up_at, timeout_s)
                ended = not isinstance(item, ChatChunk) or item.finish_reason is not None
                yield self._chunk(item)
        finally:
            if not ended:
                response.cancel()
            pump.cancel()

    def _chunk(self, item: object) -> ChatChunk:
        match item:
            case ChatChunk():
                return item
            case Failure():
                raise to_error(item)
            case Exception():
                raise self._translate(CHAT, item) from item
            case _:
                raise Unavailable("The model broke off in the middle of its answer.")

    def embed(self, texts: Sequence[str], *, traceparent: str | None = None) -> list[list[float]]:
        """Return one unit vector per text; long lists go in pieces."""
        vectors: list[list[float]] = []
        for start in range(0, len(texts), TEXTS_PER_CALL):
            part = list(texts[start : start + TEXTS_PER_CALL])
            embeddings = cast(
                "list[Embedding]", self._call(EMBEDDER, "embed", CALL_S + GRACE_S, part, CALL_S, traceparent)
            )
            vectors.extend(list(embedding.vector) for embedding in embeddings)
        return vectors

    def unknown_share(self, texts: Sequence[str]) -> list[float]:
        """Return per text the share of tokens that the embedder does not know."""
        return cast("list[float]", self._call(EMBEDDER, "unknown_share", CALL_S, list(texts)))

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Return how much of the context these messages take."""
        return cast("int", self._call(CHAT, "count_tokens", CALL_S, tuple(messages)))

    def describe(self) -> ModelInfo:
        """Tell what is loaded; raises what is wrong where nothing is."""
        return cast("ModelInfo", self._call(CHAT, "describe", CALL_S))

    def close(self) -> None:
        """Stop the thread of this object; streams that run end with `Unavailable`."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def _call(self, app: str, method: str, timeout_s: float, *arguments: object) -> object:
        response: Any = None
        try:
            response = getattr(self._handle(app), method).remote(*arguments)
            result = response.result(timeout_s=timeout_s)
        except TimeoutError as error:
            response.cancel()  # else it would go on
            raise too_slow(timeout_s) from error
        except Exception as error:
            raise self._translate(app, error) from error
        if isinstance(result, Failure):
            raise to_error(result)
        return result

    def _handle(self, app: str) -> Any:  # noqa: ANN401 - its methods are those of the deployment
        import ray
        from ray import serve

        if not ray.is_initialized():
            # Serve would start a cluster of its own.
            raise Unavailable("This process is not connected to Ray.")
        with self._lock:
            if app not in self._handles:
                self._handles[app] = serve.get_app_handle(app)
            return self._handles[app]

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_turn, args=[self._loop], name="serve-models", daemon=True).start()
            return self._loop

    def _translate(self, app: str, error: Exception) -> RunbellError:
        if isinstance(error, RunbellError):
            return error
        from ray.serve.exceptions import BackPressureError

        if isinstance(error, BackPressureError):
            return Overloaded("Too many requests wait for the model.", after=2)
        with self._lock:  # after a restart of Serve the old handle would never find the new replicas
            self._handles.pop(app, None)
        first_line = str(error).partition("\n")[0][:200]
        return Unavailable(
            f"The {app} model can't be reached ({type(error).__name__}: {first_line}). See: runbell status"
        )


async def _pump(response: AsyncIterator[object], items: "queue.SimpleQueue[object]") -> None:
    """Carry items to the waiting thread: Ray's own synchronous iteration knows no time-out."""
    try:
        async for item in response:
            items.put(item)
    except Exception as error:  # noqa: BLE001 - handed to the waiting thread, which translates it
        items.put(error)
    finally:
        items.put(None)


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
