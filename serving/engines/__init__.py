"""The seam to what generates and embeds. An engine is one module here, chosen by its name in the settings.

A module offers `load(spec, home) -> Engine` (blocking; raises `Misconfigured` with what to do), and nobody
has to know it. A name with a dot is a module elsewhere: `my_package.my_engine`.
"""

import importlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Protocol, cast

from integrations.errors import Misconfigured
from integrations.near import near
from serving.fleet import ModelSpec
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Embedding, ModelInfo


class Engine(Protocol):
    """One loaded chat model. Used from one event loop."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk]:
        """Yield the answer; the last chunk has `finish_reason` and `usage`.

        Closing the generator, or cancelling the task that waits for it, stops the generation. More calls than
        `ModelSpec.slots` wait inside in order of arrival. Raises errors of `integrations.errors`.
        """
        ...

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Return how many tokens these messages take of the context; an estimate where nobody can count."""
        ...

    def describe(self) -> ModelInfo:
        """Tell what is loaded."""
        ...

    def check(self) -> None:
        """Raise `Unavailable` when the engine hangs and its process should be replaced."""
        ...

    async def close(self) -> None:
        """Stop what runs, then free the model. Idempotent."""
        ...


class Embedder(Protocol):
    """One loaded embedding model."""

    name: str

    def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """Return one embedding per text, in their order. Blocks; safe to call from one thread at a time."""
        ...

    def unknown_share(self, texts: Sequence[str]) -> list[float]:
        """Return per text the share of tokens that the model does not know."""
        ...


def load_engine(spec: ModelSpec, home: Path) -> Engine:
    """Load a chat model. Blocks for seconds, or minutes with a large model."""
    check_engine(spec.engine)
    return cast("Engine", _module(spec.engine).load(spec, home))


def load_embedder(spec: ModelSpec, home: Path) -> Embedder:
    """Load an embedder. Blocks for about a second."""
    return cast("Embedder", _module(spec.engine).load_embedder(spec.model, home))


def check_engine(name: str) -> None:
    """Raise `Misconfigured` for a plain name that is no chat engine here; imports nothing."""
    if wrong := what_is_wrong_with(name):
        raise Misconfigured(f"{wrong} Set `engine` in [serving] or models.yaml.")


def what_is_wrong_with(name: str, *, embeds: bool = False) -> str | None:
    """Return what to say to a plain name that is no engine here; None for a module of one's own."""
    loads = "\ndef load_embedder(" if embeds else "\ndef load("
    # Not by import: an engine's SDK may be missing where only the settings are checked.
    known = sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py") if loads in p.read_text("utf-8"))
    if "." in name or name in known:
        return None
    kind, meant = "embedding engine" if embeds else "engine", near(name, known)
    guess = f" Did you mean {meant[0]}?" if meant else ""
    return (
        f"There is no {kind} {name!r}.{guess} There is: {', '.join(known)}; or a module of your own, as in"
        " my_package.my_engine."
    )


def _module(name: str):  # noqa: ANN202 - a module, whose `load` the callers above give its type
    path = name if "." in name else f"{__name__}.{name}"
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not path.startswith(error.name):
            raise
        raise Misconfigured(f"There is no engine {name!r}: no module {path} can be imported.") from error
