"""What crosses between callers and models: frozen pydantic models."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """Base of values that cross a process."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Priority = Literal["chat", "timer", "backfill"]


class ToolCall(Frozen):
    """A tool that the model wants called; in a stream, `arguments` comes in pieces with the same `index`."""

    index: int = 0
    id: str = ""
    name: str = ""
    arguments: str = ""


class ChatMessage(Frozen):
    """One turn of the prompt; `tool_calls` of the assistant are answered by turns of the role `tool`."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


class Tool(Frozen):
    """A tool that the model may ask for."""

    name: str = Field(min_length=1, max_length=64)
    description: str = ""
    parameters: dict[str, object] = Field(default_factory=dict[str, object])


class OneTool(Frozen):
    """The tool that the model has to call."""

    name: str


class Origin(Frozen):
    """For whom a request is: decides what it may do, how soon it is served, and who pays."""

    tenant: str | None = None
    principal_id: str | None = None
    job: str | None = None
    run_id: str | None = None
    op: str | None = None
    message_id: str | None = None
    priority: Priority = "chat"


class ChatRequest(Frozen):
    """What to generate. `json_schema` constrains the output where the engine can (`ModelInfo.constrains`).

    `model` is a capability (`fast`, `deep`), a route or a model of models.yaml; None is the route `default`.
    `max_price` bounds what it may cost at its longest, in the currency of the models.
    """

    messages: tuple[ChatMessage, ...]
    max_tokens: int = Field(default=256, ge=1, le=8192)
    temperature: float = Field(default=0.2, ge=0, le=2)
    stop: tuple[str, ...] = ()
    json_schema: dict[str, object] | None = None
    model: str | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: Literal["auto", "none", "required"] | OneTool = "auto"
    parallel_tool_calls: bool = True
    language: str | None = None
    max_price: float | None = Field(default=None, ge=0)
    origin: Origin = Origin()


class Usage(Frozen):
    """What a generation took; milliseconds are measured in the replica."""

    tokens_in: int
    tokens_out: int
    tokens_cached: int = 0
    first_token_ms: float | None = None
    total_ms: float


class Attempt(Frozen):
    """A model that was passed over, or failed before its first token, and why."""

    model: str
    reason: str


class Decision(Frozen):
    """Why this model: the route, what spoke for the model, and which others did not answer."""

    route: str
    model: str
    reason: str
    passed: tuple[Attempt, ...] = ()
    failed: tuple[Attempt, ...] = ()
    canary: bool = False
    price: float = 0.0
    currency: str = "USD"
    gpu_s: float = 0.0
    notice: str = ""
    from_cache: bool | None = None

    def sentence(self) -> str:
        """Return it for people."""
        others = "".join(f"; not {one.model}: {one.reason}" for one in self.passed)
        before = "".join(f"; {one.model} failed: {one.reason}" for one in self.failed)
        return f"{self.model} ({self.route}): {self.reason}{others}{before}{f'; {self.notice}' if self.notice else ''}"


class ChatChunk(Frozen):
    """A piece of the answer; the last has `finish_reason` and `usage`, both ends a `decision` where one was made."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: Literal["stop", "length", "cancelled", "tool_calls"] | None = None
    usage: Usage | None = None
    decision: Decision | None = None


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
