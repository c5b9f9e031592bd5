"""transformers with continuous batching, on CUDA or CPU: safetensors models, many generations in one pass.

torch and transformers are no part of the usual installation (docs/models.md). The library's traps, and what is done:
a cancelled request is never told its end, so ends are our own; a dead generation thread takes requests and answers
nothing, so waiting looks at it; its thread outlives a process that does not stop it; one event loop per manager.
"""

import asyncio
import contextlib
import importlib
import itertools
import math
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from integrations.errors import InvalidInput, Misconfigured, Unavailable
from serving.constraint import check_answer, check_schema
from serving.engines import transformers_parts as parts
from serving.engines.text import Detokenizer, StopWords, disarm
from serving.fleet import ModelSpec
from serving.schema import ChatChunk, ChatMessage, ChatRequest, ModelInfo, Usage
from serving.shelf import find, verify

LOOK_S = 1.0
STALL_S = 120.0
PAGE = 256
LONGEST_TOKEN = 64  # characters; a prompt of more than so many per token can't fit
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def load(config: ModelSpec, home: Path) -> "Transformers":
    """Load a folder in the form of the Hugging Face hub: of the installation, or by its path."""
    folder = Path(config.model).expanduser()
    if not folder.is_absolute():
        model = find(home, config.model, kind="chat", engine="transformers")
        verify(model)
        folder = model.folder
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    if missing or not list(folder.glob("*.safetensors")):
        what = missing[0] if missing else "*.safetensors"
        raise Misconfigured(f"{folder} has no {what}: it must be a model folder with safetensors weights.")
    try:
        importlib.import_module("torch")
        library: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise Misconfigured("The engine transformers needs torch and transformers. Run: make transformers") from error
    return Transformers(config, *_read(config, folder, library))


def _read(config: ModelSpec, folder: Path, library: Any) -> tuple[Any, Any]:  # noqa: ANN401 - no types without torch
    torch: Any = importlib.import_module("torch")
    device = str(config.options.get("device") or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = str(config.options.get("dtype") or ("bfloat16" if device.startswith("cuda") else "float32"))
    # Nothing is fetched, no code of the model runs, no pickle is read.
    safely: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(folder, **safely)
        model = library.AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            quantization_config=_quantization(config.quantization, library),
            **safely,
        )
        return model.to(device), tokenizer
    except torch.OutOfMemoryError as error:
        raise Misconfigured(f"{config.name} does not fit into the memory of {device}: quantize it.") from error
    except Exception as error:
        # safetensors, tokenizers and the library itself raise whatever they like for damaged files.
        first = str(error).partition("\n")[0][:300]
        raise Misconfigured(f"transformers can't load {folder}: {first}") from error


def _quantization(wanted: str | None, library: Any) -> Any:  # noqa: ANN401 - no types without torch
    if wanted is None:
        return None
    names = {
        "int8": "Int8WeightOnlyConfig",
        "int8_dynamic": "Int8DynamicActivationInt8WeightConfig",
        "fp8": "Float8DynamicActivationFloat8WeightConfig",
    }
    if wanted not in names:
        raise Misconfigured(f"The engine transformers knows the quantizations {', '.join(names)}; not {wanted!r}.")
    try:
        torchao: Any = importlib.import_module("torchao.quantization")
    except ImportError as error:
        raise Misconfigured(f"The quantization {wanted} needs the package torchao.") from error
    return library.TorchAoConfig(getattr(torchao, names[wanted])())


class Transformers:
    """One model with continuous batching; at most `slots` requests generate, the rest wait."""

    def __init__(self, config: ModelSpec, model: Any, tokenizer: Any) -> None:  # noqa: ANN401 - no types without torch
        self._info = ModelInfo(
            name=config.name, engine="transformers", context_tokens=config.context_tokens, strong=config.strong
        )
        self._tokenizer = tokenizer
        self._model = model
        self._slots = asyncio.Semaphore(config.slots)
        self._ids = itertools.count()
        self._heard_at: dict[str, float] = {}
        self._ends = _ends(model, tokenizer)
        self._template = getattr(tokenizer, "chat_template", None) or PLAIN_TEMPLATE
        self._manager: Any = _manager(config, model, self._ends)
        self._manager.start()
        self._closing = False

    def describe(self) -> ModelInfo:
        """Tell what is loaded."""
        return self._info

    def check(self) -> None:
        """Raise when the generation thread is dead, or a request that has a slot was silent for two minutes."""
        if not self._closing:
            self._alive()
        now = time.monotonic()
        if any(now - at > STALL_S for at in self._heard_at.values()):
            raise Unavailable("transformers hangs.")

    def _alive(self) -> None:
        fatal = self._manager.background_thread_status.fatal_error
        if fatal is not None or not self._manager.is_running():
            raise Unavailable(f"The generation ended: {fatal or 'its thread is gone'}")

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Return the exact number, by the model's own template and tokenizer."""
        return len(await asyncio.to_thread(self._prompt, messages))

    def _prompt(self, messages: Sequence[ChatMessage]) -> list[int]:
        if sum(len(message.content) for message in messages) > LONGEST_TOKEN * self._info.context_tokens:
            raise self._too_long("more than it can hold")
        specials = self._tokenizer.all_special_tokens
        turns = [{"role": one.role, "content": disarm(one.content, specials)} for one in messages]
        text = self._tokenizer.apply_chat_template(
            turns, chat_template=self._template, add_generation_prompt=True, tokenize=False
        )
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _too_long(self, size: object) -> InvalidInput:
        limit = self._info.context_tokens
        return InvalidInput(f"The prompt is too long for the model: {size} tokens, and {limit} fit.", field="messages")

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk]:
        """Yield text as tokens come; a character is whole when it leaves."""
        began, first, text = time.monotonic(), None, list[str]()
        if request.json_schema is not None:
            check_schema(request.json_schema)
        prompt = await asyncio.to_thread(self._prompt, request.messages)
        room = self._info.context_tokens - len(prompt)
        if room < 1:
            raise self._too_long(len(prompt))
        stops, detokenizer, count, last = StopWords(request.stop), Detokenizer(self._tokenizer), 0, -1
        limit = min(request.max_tokens, room)
        async with contextlib.aclosing(self._tokens(prompt, limit, request.temperature)) as pieces:
            async for tokens in pieces:
                count, last = count + len(tokens), tokens[-1]
                shown = stops.feed(detokenizer.feed(tokens))
                first = first or time.monotonic()
                if shown:
                    text.append(shown)
                    yield ChatChunk(text=shown)
                if stops.met:
                    break
        if not stops.met and (shown := stops.feed(detokenizer.rest()) + ("" if stops.met else stops.rest())):
            text.append(shown)
            yield ChatChunk(text=shown)
        finish = "length" if count >= limit and not stops.met and last not in self._ends else "stop"
        if request.json_schema is not None and finish == "stop":
            check_answer(request.json_schema, "".join(text))
        usage = Usage(
            tokens_in=len(prompt),
            tokens_out=count,
            first_token_ms=None if first is None else (first - began) * 1000,
            total_ms=(time.monotonic() - began) * 1000,
        )
        yield ChatChunk(finish_reason=finish, usage=usage)

    async def _tokens(self, prompt: list[int], limit: int, temperature: float) -> AsyncGenerator[list[int]]:
        """Yield new tokens. Leaving frees the request's place at the next step of the batch."""
        async with self._slots:
            if self._closing:
                raise Unavailable("The model is being unloaded.")
            name, seen, ended = f"r{next(self._ids)}", 0, False
            outputs = asyncio.Queue[Any]()
            self._heard_at[name] = time.monotonic()
            # Before the request: its first token may come at once.
            self._manager.register_result_handler(name, outputs.put_nowait)
            try:
                taken = self._manager.add_request(
                    prompt,
                    request_id=name,
                    max_new_tokens=limit,
                    streaming=True,
                    eos_token_id=self._ends or -1,
                    temperature=float(temperature),
                )
                if taken is None:
                    self._alive()
                    raise Unavailable("The model takes no requests now.")
                while not ended:
                    output = await self._output(outputs)
                    self._heard_at[name] = time.monotonic()
                    if output.error:
                        raise Unavailable(f"The generation failed: {output.error}")
                    # Every output has all tokens so far.
                    fresh, seen = output.generated_tokens[seen:], len(output.generated_tokens)
                    ended = output.is_finished()
                    if fresh:
                        yield fresh
            finally:
                self._heard_at.pop(name, None)
                if not ended:
                    self._manager.cancel_request(name)
                with self._manager.output_router._lock:  # noqa: SLF001 - a cancelled request's handler leaks otherwise
                    self._manager.output_router.result_handlers.pop(name, None)

    async def _output(self, outputs: asyncio.Queue[Any]) -> Any:  # noqa: ANN401 - no types without torch
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    return await outputs.get()
            if self._closing:
                raise Unavailable("The model is being unloaded.")
            self._alive()

    async def close(self) -> None:
        """Stop the thread, which would keep the process alive, and free the model."""
        if self._closing:
            return
        self._closing = True
        await asyncio.to_thread(self._manager.stop, block=True, timeout=10.0, hard_stop=True)
        self._model = None


def _ends(model: Any, tokenizer: Any) -> list[int]:  # noqa: ANN401 - no types without torch
    told = model.generation_config.eos_token_id
    ends = [told] if isinstance(told, int) else list(told or ())
    own = tokenizer.eos_token_id
    return sorted({*ends, *([own] if own is not None else [])})


def _manager(config: ModelSpec, model: Any, ends: list[int]) -> Any:  # noqa: ANN401 - no types without torch
    library: Any = importlib.import_module("transformers")
    cuda = model.device.type == "cuda"
    if cuda and parts.register_attention():
        model.set_attn_implementation(f"paged|{parts.VARLEN}")
    # With a temperature that is not 1 there is a temperature per request.
    generation = library.GenerationConfig(
        do_sample=True, temperature=0.5, top_k=0, top_p=1.0, eos_token_id=ends or -1, max_new_tokens=256
    )
    options: dict[str, Any] = {
        "per_request_processors": True,
        "max_requests_per_batch": config.slots,
        "max_batch_tokens": int(str(config.options.get("max_batch_tokens") or max(2048, config.slots))),
        "allow_block_sharing": True,
    }
    if cuda:
        share = min(config.resources.gpus or 1.0, 1.0)
        options["max_memory_percent"] = float(str(config.options.get("memory_share") or 0.85 * share))
    else:
        options["num_blocks"] = max(config.slots * math.ceil(config.context_tokens / PAGE) + 1, 4)
    manager = model.init_continuous_batching(
        generation_config=generation, continuous_batching_config=library.ContinuousBatchingConfig(**options)
    )
    parts.allow_greedy(manager)
    return manager
