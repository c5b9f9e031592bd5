"""What crosses between callers and models: frozen pydantic models."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """Base of values that cross a process."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ChatMessage(Frozen):
    """One turn of the prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatRequest(Frozen):
    """What to generate. `json_schema` constrains the output where the engine can (`ModelInfo.constrains`)."""

    messages: tuple[ChatMessage, ...]
    max_tokens: int = Field(default=256, ge=1, le=8192)
    temperature: float = Field(default=0.2, ge=0, le=2)
    stop: tuple[str, ...] = ()
    json_schema: dict[str, object] | None = None
    model: str | None = None


class Usage(Frozen):
    """What a generation took; milliseconds are measured in the replica."""

    tokens_in: int
    tokens_out: int
    first_token_ms: float | None = None
    total_ms: float


class ChatChunk(Frozen):
    """A piece of the answer; the last one has `finish_reason` and `usage`."""

    text: str = ""
    finish_reason: Literal["stop", "length", "cancelled"] | None = None
    usage: Usage | None = None


class ModelInfo(Frozen):
    """What one model is and can. A weak model (`strong` false) may word answers, never route."""

    name: str
    engine: str
    context_tokens: int
    strong: bool = False
    constrains: bool = False


class Embedding(Frozen):
    """What the embedder makes of one text: a unit vector, and how far to trust it."""

    vector: tuple[float, ...]
    tokens: int
    unknown_share: float = Field(ge=0, le=1)


class Failure(Frozen):
    """An error of `integrations.errors` as a value: Ray would wrap it, log its stack and lose its fields."""

    kind: str
    message: str
    after: float | None = None
    field: str | None = None
