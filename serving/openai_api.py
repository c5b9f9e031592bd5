"""The part of OpenAI's HTTP interface that we speak: its requests, answers and errors.

Fields that we can't honour are refused by name, not ignored: a caller who sets `logprobs` would wait for numbers
that never come. https://platform.openai.com/docs/api-reference/chat
"""

import base64
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from integrations.errors import (
    Forbidden,
    InvalidInput,
    NotFound,
    Overloaded,
    RateLimited,
    RunbellError,
    TemporaryError,
)
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Embedding, Origin, Tool, ToolCall, Usage

MAX_INPUTS = 2048


class Strict(BaseModel):
    """A part of a request."""

    model_config = ConfigDict(extra="forbid")


class TextPart(Strict):
    """A piece of a message; we take only text."""

    type: Literal["text"]
    text: str


class Function(Strict):
    """A tool's name, and how it is called."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")
    description: str | None = None
    parameters: dict[str, object] | None = None
    strict: bool | None = None


class FunctionTool(Strict):
    """A tool that the model may ask for."""

    type: Literal["function"]
    function: Function

    def plain(self) -> Tool:
        """Return it as ours."""
        function = self.function
        parameters = function.parameters or {"type": "object", "properties": {}}
        return Tool(name=function.name, description=function.description or "", parameters=parameters)


class CalledFunction(Strict):
    """What the model wanted to call."""

    name: str
    arguments: str


class Called(Strict):
    """A call in an earlier turn of the assistant."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Strict):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[Called] | None = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("a message of the role `tool` needs tool_call_id")
        if self.content is None and not self.tool_calls:
            raise ValueError("content is missing")
        return self

    def plain(self) -> ChatMessage:
        """Return it as ours."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content or ())
        calls = tuple(
            ToolCall(index=index, id=call.id, name=call.function.name, arguments=call.function.arguments)
            for index, call in enumerate(self.tool_calls or ())
        )
        role = "system" if self.role == "developer" else self.role
        return ChatMessage(role=role, content=text, tool_calls=calls, tool_call_id=self.tool_call_id)


class JsonSchema(Strict):
    """The schema in a `response_format`."""

    name: str = "answer"
    schema_: dict[str, object] = Field(alias="schema")
    strict: bool | None = None
    description: str | None = None


class ResponseFormat(Strict):
    """Free text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(Strict):
    """What the stream carries beside text."""

    include_usage: bool = False
    include_obfuscation: bool = False


class Completion(Strict):
    """Body of `POST /v1/chat/completions`. Fields that are `Literal` are known, at their neutral value only."""

    model: str
    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1, le=8192)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=8192)
    temperature: float | None = Field(default=None, ge=0, le=2)
    stop: str | list[Annotated[str, Field(min_length=1)]] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[FunctionTool], Field(min_length=1, max_length=128)] | None = None
    tool_choice: Literal["auto"] | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: Literal[False] | None = None
    n: Literal[1] | None = None
    top_p: Literal[1] | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None

    def plain(self, origin: Origin) -> ChatRequest:
        """Return it as our request."""
        return ChatRequest(
            model=self.model,
            tools=tuple(tool.plain() for tool in self.tools or ()),
            origin=origin,
            messages=tuple(message.plain() for message in self.messages),
            max_tokens=self.max_completion_tokens or self.max_tokens or 256,
            temperature=0.2 if self.temperature is None else self.temperature,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            json_schema=self._schema(),
        )

    def _schema(self) -> dict[str, object] | None:
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return None
        if wanted.type == "json_object":
            return {"type": "object"}
        if wanted.json_schema is None:
            raise InvalidInput("response_format needs json_schema.", field="response_format")
        return wanted.json_schema.schema_


class Embeddings(Strict):
    """Body of `POST /v1/embeddings`."""

    model: str
    input: str | Annotated[list[str], Field(min_length=1, max_length=MAX_INPUTS)]
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None

    def texts(self) -> list[str]:
        """Return the texts."""
        return [self.input] if isinstance(self.input, str) else self.input


def usage_json(usage: Usage) -> dict[str, Any]:
    """Return the usage, with our milliseconds beside OpenAI's counts."""
    return {
        "prompt_tokens": usage.tokens_in,
        "completion_tokens": usage.tokens_out,
        "total_tokens": usage.tokens_in + usage.tokens_out,
        "prompt_tokens_details": {"cached_tokens": usage.tokens_cached},
        "first_token_ms": usage.first_token_ms,
        "total_ms": usage.total_ms,
    }


def chunk_json(head: dict[str, Any], chunk: ChatChunk) -> dict[str, Any]:
    """Return one event of a streamed answer; the last says which model gave it, and why."""
    delta: dict[str, Any] = {"content": chunk.text} if chunk.text else {}
    if chunk.tool_calls:
        delta["tool_calls"] = [{"index": call.index} | _called(call, piece=True) for call in chunk.tool_calls]
    choice = {"index": 0, "delta": delta, "finish_reason": chunk.finish_reason}
    return {**head, "object": "chat.completion.chunk", "choices": [choice], **_runbell(chunk)}


def answer_json(head: dict[str, Any], chunks: Sequence[ChatChunk]) -> dict[str, Any]:
    """Return a whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(chunk.text for chunk in chunks)}
    if calls := whole_calls(chunks):
        message["tool_calls"] = [_called(call, piece=False) for call in calls]
    last = chunks[-1]
    body = {
        **head,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": last.finish_reason}],
        **_runbell(last),
    }
    if last.usage is not None:
        body["usage"] = usage_json(last.usage)
    return body


def whole_calls(chunks: Sequence[ChatChunk]) -> tuple[ToolCall, ...]:
    """Return the tool calls that a streamed answer's pieces make up."""
    calls: dict[int, ToolCall] = {}
    for piece in (call for chunk in chunks for call in chunk.tool_calls):
        begun = calls.get(piece.index, ToolCall(index=piece.index))
        calls[piece.index] = ToolCall(
            index=piece.index,
            id=begun.id or piece.id,
            name=begun.name or piece.name,
            arguments=begun.arguments + piece.arguments,
        )
    return tuple(calls[index] for index in sorted(calls))


def _called(call: ToolCall, *, piece: bool) -> dict[str, Any]:
    function = {"arguments": call.arguments} | ({"name": call.name} if call.name or not piece else {})
    return {"function": function} | ({"id": call.id, "type": "function"} if call.id or not piece else {})


def _runbell(chunk: ChatChunk) -> dict[str, Any]:
    return {} if chunk.decision is None else {"runbell": chunk.decision.model_dump(mode="json")}


def embeddings_json(model: str, embeddings: Sequence[Embedding], encoding: str) -> dict[str, Any]:
    """Return vectors as numbers, or as base64 of little-endian floats, which OpenAI's own client asks for."""

    def encode(vector: Sequence[float]) -> object:
        if encoding == "float":
            return list(vector)
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()

    tokens = sum(embedding.tokens for embedding in embeddings)
    return {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(embedding.vector)}
            for index, embedding in enumerate(embeddings)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def status_of(error: RunbellError) -> int:
    """Return the HTTP status of an error."""
    match error:
        case InvalidInput():
            return 400
        case NotFound():
            return 404
        case Forbidden():
            return 403
        case Overloaded() | RateLimited():
            return 429
        case _:
            return 503


def error_json(error: RunbellError) -> dict[str, Any]:
    """Return an error as OpenAI's clients read it."""
    kind = "invalid_request_error" if status_of(error) in {400, 403, 404} else "server_error"
    field = error.field if isinstance(error, InvalidInput) else None
    return {"error": {"message": str(error), "type": kind, "param": field, "code": type(error).__name__}}


def retry_after(error: RunbellError) -> dict[str, str]:
    """Return the header that says when to come back."""
    return {"Retry-After": str(max(1, round(error.after)))} if isinstance(error, TemporaryError) else {}
