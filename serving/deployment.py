"""The Ray Serve applications `chat` and `embedder`: one loaded model per replica, with bounds and deadlines.

A model that can't be loaded does not stop its replica: every call is answered with what is wrong and what to run,
and a later call, when the files are in order, loads it. Typed commands go on without a model meanwhile.
Errors of `integrations.errors` leave as values (`Failure`), never raised through Ray.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from integrations import telemetry
from integrations.errors import Misconfigured, Overloaded, RunbellError
from serving import engines
from serving.config import SERVE_LOGS, Config, Serving
from serving.failures import to_failure, too_slow
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Embedding, Failure, ModelInfo

WAITING_PER_SLOT = 8
MAX_TEXTS = 4096
BATCH = 32
RELOAD_S = 3.0

T = TypeVar("T")


class Loaded(Generic[T]):
    """A model that was loaded, or will be as soon as it can be."""

    def __init__(self, load: Callable[[], T]) -> None:
        self._load = load
        self._problem = "No model is loaded."
        self._next_at = 0.0
        self._reload: asyncio.Task[None] | None = None
        self.model: T | None = None
        self._try()

    def _try(self) -> None:
        began = time.monotonic()
        try:
            self.model = self._load()
        except Misconfigured as error:
            self._problem = str(error)
        now = time.monotonic()
        self._next_at = now + max(RELOAD_S, 20 * (now - began))  # checking a large file takes its time

    def get(self) -> T:
        """Return the model, or raise `Misconfigured` at once; now and then, loading is tried again meanwhile."""
        if self.model is not None:
            return self.model
        if time.monotonic() >= self._next_at and (self._reload is None or self._reload.done()):
            self._reload = asyncio.create_task(asyncio.to_thread(self._try))
        raise Misconfigured(self._problem)


class Chat:
    """The chat model."""

    def __init__(self, config: Serving, home: str, otlp_endpoint: str | None = None) -> None:
        telemetry.setup("serving.chat", otlp_endpoint=otlp_endpoint)
        self._config = config
        self._inside = 0
        self._engine = Loaded(lambda: engines.load_engine(config, Path(home)))
        # Serve asks the object and awaits it when the replica stops; Python asks the class, and finds none.
        self.__del__ = self.close

    async def stream(
        self, request: ChatRequest, timeout_s: float, traceparent: str | None = None
    ) -> AsyncGenerator[ChatChunk | Failure]:
        """Yield chunks; a `Failure` is the last item. Generation ends at the deadline, or when the caller goes."""
        with telemetry.span("model.generate", traceparent=traceparent, model=self._config.model) as span:
            try:
                async with contextlib.aclosing(self._generate(request, timeout_s)) as chunks:
                    async for chunk in chunks:
                        if chunk.usage is not None:
                            span.set_attribute("tokens_in", chunk.usage.tokens_in)
                            span.set_attribute("tokens_out", chunk.usage.tokens_out)
                        yield chunk
            except RunbellError as error:
                span.set_attribute("error", type(error).__name__)
                yield to_failure(error)

    async def _generate(self, request: ChatRequest, timeout_s: float) -> AsyncGenerator[ChatChunk]:
        if self._inside >= bound(self._config):
            raise Overloaded(f"{self._inside} requests are waiting for the model.", after=5)
        deadline = time.monotonic() + timeout_s
        chunks: AsyncGenerator[ChatChunk] | None = None
        self._inside += 1
        try:
            chunks = self._engine.get().stream(request)
            # Step by step: a time-out around the whole would strike while the caller holds the chunk.
            while True:
                yield await asyncio.wait_for(anext(chunks), max(deadline - time.monotonic(), 0))
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise too_slow(timeout_s) from error
        finally:
            self._inside -= 1
            if chunks is not None:
                await chunks.aclose()

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int | Failure:
        """Return how much of the context these messages take."""
        try:
            return await self._engine.get().count_tokens(messages)
        except RunbellError as error:
            return to_failure(error)

    async def describe(self) -> ModelInfo | Failure:
        """Tell what is loaded, or why nothing is."""
        try:
            return self._engine.get().describe()
        except RunbellError as error:
            return to_failure(error)

    def check_health(self) -> None:
        """Let Serve replace this process when the engine hangs; a model that is missing is no such case."""
        if self._engine.model is not None:
            self._engine.model.check()

    async def close(self) -> None:
        """Stop what is generated and free the model."""
        if self._engine.model is not None:
            await self._engine.model.close()


class Embedder:
    """The embedder: texts of all callers go through the model together, at most 32 at once."""

    def __init__(self, config: Serving, home: str, otlp_endpoint: str | None = None) -> None:
        from ray import serve

        telemetry.setup("serving.embedder", otlp_endpoint=otlp_endpoint)
        self._name = config.embedder
        self._inside = 0
        self._model = Loaded(lambda: engines.load_embedder(config.embedder, Path(home)))

        async def together(texts: list[str]) -> list[Embedding]:
            return await asyncio.to_thread(self._model.get().embed, texts)

        self._embed: Any = serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.001)(together)

    async def embed(
        self, texts: Sequence[str], timeout_s: float, traceparent: str | None = None
    ) -> list[Embedding] | Failure:
        """Return one embedding per text, in their order."""
        if self._inside + len(texts) > MAX_TEXTS:
            return to_failure(Overloaded(f"More than {MAX_TEXTS} texts wait for the embedder.", after=2))
        self._inside += len(texts)
        try:
            with telemetry.span("model.embed", traceparent=traceparent, model=self._name, texts=len(texts)):
                self._model.get()
                together = asyncio.gather(*(self._embed(text) for text in texts))
                return await asyncio.wait_for(together, timeout_s)
        except RunbellError as error:
            return to_failure(error)
        except TimeoutError:
            return to_failure(too_slow(timeout_s))
        finally:
            self._inside -= len(texts)

    async def unknown_share(self, texts: Sequence[str]) -> list[float] | Failure:
        """Return per text the share of unknown tokens."""
        try:
            return self._model.get().unknown_share(texts)
        except RunbellError as error:
            return to_failure(error)


def bound(config: Serving) -> int:
    """Return how many requests one replica holds, generating and waiting."""
    return config.slots * (1 + WAITING_PER_SLOT)


def chat(config: Config) -> Any:  # noqa: ANN401 - Ray has no public type for it
    """Return the application of the chat model."""
    inside = bound(config.serving)
    # Our own bound rejects first and exactly; the one of Serve's router over-rejects bursts.
    options = {"max_ongoing_requests": 2 * inside, "max_queued_requests": 16 * inside}
    return _bind(Chat, config, **options, graceful_shutdown_timeout_s=10)


def embedder(config: Config) -> Any:  # noqa: ANN401 - Ray has no public type for it
    """Return the application of the embedder."""
    return _bind(Embedder, config, max_ongoing_requests=256, max_queued_requests=256, graceful_shutdown_timeout_s=5)


def _bind(kind: type, config: Config, **options: float) -> Any:  # noqa: ANN401 - Ray has no public type for it
    from ray import serve

    deployment: Any = serve.deployment(kind)
    # Models use threads of their own; a reserved core would keep warm workers from starting on small machines.
    deployment = deployment.options(ray_actor_options={"num_cpus": 0}, logging_config=SERVE_LOGS, **options)
    return deployment.bind(config.serving, str(config.state), config.telemetry.otlp_endpoint)
