"""The Ray Serve applications of the models, one each: one loaded model per replica, with bounds and deadlines.

A model that can't be loaded does not stop its replica: every call is answered with what is wrong and what to run,
and a later call, when the files are in order, loads it. Typed commands go on without a model meanwhile.
Errors of `integrations.errors` leave as values (`Failure`), never raised through Ray.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import psutil

from integrations import telemetry
from integrations.errors import Misconfigured, Overloaded, RunbellError, Unavailable
from serving import engines
from serving.admission import Admission
from serving.config import SERVE_LOGS, Config
from serving.failures import Lost, to_failure, too_slow
from serving.fleet import ModelSpec
from serving.gathering import Gathering
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Embedding, Failure, ModelInfo

MAX_TEXTS = 4096
BATCH = 32
RELOAD_S = 3.0
DRAIN_S = 30.0
REPLACED_S = 10.0
HEALTH_S = 2.0
"""Serve replaces a replica that says three times in a row that it is not well."""

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


class Pace:
    """Tokens of the last minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._added: deque[tuple[float, int]] = deque(maxlen=10_000)

    def add(self, tokens: int) -> None:
        """Count an answer."""
        self._added.append((self._clock(), tokens))

    def per_s(self) -> int:
        """Return the pace over the last minute."""
        now = self._clock()
        span = min(max(now - self._began, 1.0), 60.0)
        return round(sum(tokens for at, tokens in self._added if now - at <= span) / span)


class Chat:
    """A chat model."""

    def __init__(self, spec: ModelSpec, home: str, otlp_endpoint: str | None = None) -> None:
        telemetry.setup("serving.chat", otlp_endpoint=otlp_endpoint)
        self._spec = spec
        self._pace = Pace()
        self._admission = Admission(spec.slots, spec.queue)
        self._gathering = Gathering()
        self._engine = Loaded(lambda: _in_memory(spec.name, lambda: engines.load_engine(spec, Path(home))))
        self._out_of_memory = False
        # Serve asks the object and awaits it when the replica stops; Python asks the class, and finds none.
        self.__del__ = self.close

    async def stream(
        self, request: ChatRequest, timeout_s: float, traceparent: str | None = None
    ) -> AsyncGenerator[ChatChunk | Failure]:
        """Yield chunks; a `Failure` is the last item. Generation ends at the deadline, or when the caller goes."""
        with telemetry.span("model.generate", traceparent=traceparent, model=self._spec.name) as span:
            try:
                async with contextlib.aclosing(self._generate(request, timeout_s)) as chunks:
                    async for chunk in chunks:
                        if chunk.usage is not None:
                            span.set_attribute("tokens_in", chunk.usage.tokens_in)
                            span.set_attribute("tokens_out", chunk.usage.tokens_out)
                            self._pace.add(chunk.usage.tokens_out)
                        yield chunk
            except MemoryError:
                # What is under way may still end well; Serve is asked for a fresh process once it has.
                self._out_of_memory = True
                span.set_attribute("error", "MemoryError")
                yield to_failure(self._exhausted())
            except RunbellError as error:
                span.set_attribute("error", type(error).__name__)
                yield to_failure(error)

    def _exhausted(self, kind: type[Unavailable] = Unavailable) -> Unavailable:
        text = f"{self._spec.name} ran out of memory, and its process is being replaced. Fewer `slots`, or a smaller"
        return kind(f"{text} `context_tokens`, need less.", after=REPLACED_S)

    async def _generate(self, request: ChatRequest, timeout_s: float) -> AsyncGenerator[ChatChunk]:
        deadline = time.monotonic() + timeout_s
        engine = self._engine.get()
        if self._out_of_memory:
            raise self._exhausted(Lost)  # what exhausted this process is not sent to the next; newcomers are
        chunks: AsyncGenerator[ChatChunk] | None = None
        try:
            # Step by step: a time-out around the whole would strike while the caller holds the chunk.
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(timeout_s):
                    await stack.enter_async_context(self._admission.slot(request.origin.priority))
                chunks = self._gathering.gathered(engine.stream(request))
                stack.push_async_callback(chunks.aclose)
                while chunk := await _within(deadline, chunks):
                    yield chunk
        except TimeoutError as error:
            raise too_slow(timeout_s) from error

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

    def load(self) -> dict[str, int]:
        """Tell how many generate and wait here, tokens per second over the last minute, and megabytes."""
        return {
            "busy": self._admission.busy,
            "waiting": self._admission.waiting,
            "slots": self._spec.slots,
            "tokens_per_s": self._pace.per_s(),
            "memory_mb": psutil.Process().memory_info().rss // 1_000_000,
        }

    def check_health(self) -> None:
        """Let Serve replace this process when the engine hangs or is out of memory; a missing model is no such case."""
        if self._out_of_memory and not self._admission.busy:
            raise self._exhausted()
        if self._engine.model is not None:
            self._engine.model.check()

    async def close(self) -> None:
        """Stop what is generated and free the model."""
        if self._engine.model is not None:
            await self._engine.model.close()


async def _within(deadline: float, chunks: AsyncGenerator[ChatChunk]) -> ChatChunk | None:
    """Return the next chunk, None at the end; `asyncio.wait_for` would make a task for each."""
    async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
        return await anext(chunks, None)


class Embedder:
    """The embedder: texts of all callers go through the model together, at most 32 at once."""

    def __init__(self, spec: ModelSpec, home: str, otlp_endpoint: str | None = None) -> None:
        from ray import serve

        telemetry.setup("serving.embedder", otlp_endpoint=otlp_endpoint)
        self._name = spec.name
        self._inside = 0
        self._model = Loaded(lambda: _in_memory(spec.name, lambda: engines.load_embedder(spec, Path(home))))

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
        except MemoryError:
            return to_failure(Unavailable(f"{self._name} has no memory for {len(texts)} texts now.", after=2))
        finally:
            self._inside -= len(texts)

    async def unknown_share(self, texts: Sequence[str]) -> list[float] | Failure:
        """Return per text the share of unknown tokens."""
        try:
            return await asyncio.to_thread(self._model.get().unknown_share, texts)
        except RunbellError as error:
            return to_failure(error)


def _in_memory(name: str, load: Callable[[], T]) -> T:
    try:
        return load()
    except MemoryError as error:
        raise Misconfigured(
            f"{name} does not fit into the memory here. Take a smaller one or a quantization, fewer `slots`, or"
            " a smaller `context_tokens`."
        ) from error


def application(spec: ModelSpec, config: Config) -> Any:  # noqa: ANN401 - Ray has no public type for it
    """Return the application of one model. New replicas are warm before the ones that they replace drain."""
    from ray import serve

    inside = spec.slots + spec.queue
    # Our own bound rejects first and exactly; the one of Serve's router over-rejects bursts.
    bounds = {"max_ongoing_requests": 2 * inside, "max_queued_requests": 16 * inside}
    if spec.embeds:
        bounds = {"max_ongoing_requests": 256, "max_queued_requests": 256}
    deployment: Any = serve.deployment(Embedder if spec.embeds else Chat)
    deployment = deployment.options(
        ray_actor_options=_resources(spec),
        logging_config=SERVE_LOGS,
        graceful_shutdown_timeout_s=min(spec.timeout_s, DRAIN_S),
        graceful_shutdown_wait_loop_s=0.2,
        health_check_period_s=HEALTH_S,
        max_surge_percent=100,
        **bounds,
        **_scale(spec),
    )
    return deployment.bind(spec, str(config.state), config.telemetry.otlp_endpoint)


def _resources(spec: ModelSpec) -> dict[str, float]:
    # Models use threads of their own; a reserved core would keep warm workers from starting on small machines.
    found: dict[str, float] = {"num_cpus": spec.resources.cpus}
    if spec.resources.gpus:
        found["num_gpus"] = spec.resources.gpus
    if spec.resources.memory_megabytes:
        found["memory"] = spec.resources.memory_megabytes * 1_000_000
    return found


def _scale(spec: ModelSpec) -> dict[str, Any]:
    replicas = spec.replicas
    if replicas.min == replicas.max:
        return {"num_replicas": replicas.min}
    scaling = {
        "min_replicas": replicas.min,
        "max_replicas": replicas.max,
        "target_ongoing_requests": replicas.target_ongoing or spec.slots,
        "upscale_delay_s": replicas.up_after_s,
        "downscale_delay_s": replicas.down_after_s,
    }
    return {"autoscaling_config": scaling}
