"""The part of OpenAI's HTTP interface that we speak: its requests, answers and errors.

Fields that we can't honour are refused by name, not ignored: a caller who sets `tools` would wait for calls
that never come. https://platform.openai.com/docs/api-reference/chat
"""

import base64
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from integrations.errors import (
    InvalidInput,
    NotFound,
    Overloaded,
    RateLimited,
    RunbellError,
    TemporaryError,
)
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Embedding, Usage

MAX_INPUTS = 2048


class Strict(BaseModel):
    """A part of a request."""

    model_config = ConfigDict(extra="forbid")


class TextPart(Strict):
    """A piece of a message; we take only text."""

    type: Literal["text"]
    text: str


class Message(Strict):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None

    def plain(self) -> ChatMessage:
        """Return it as ours."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return ChatMessage(role="system" if self.role == "developer" else self.role, content=text)


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
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: Literal[False] | None = None
    n: Literal[1] | None = None
    top_p: Literal[1] | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None

    def plain(self) -> ChatRequest:
        """Return it as our request."""
        return ChatRequest(
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
        "first_token_ms": usage.first_token_ms,
        "total_ms": usage.total_ms,
    }


def chunk_json(head: dict[str, Any], chunk: ChatChunk) -> dict[str, Any]:
    """Return one event of a streamed answer."""
    delta = {"content": chunk.text} if chunk.text else {}
    choice = {"index": 0, "delta": delta, "finish_reason": chunk.finish_reason}
    return {**head, "object": "chat.completion.chunk", "choices": [choice]}


def answer_json(head: dict[str, Any], chunks: Sequence[ChatChunk]) -> dict[str, Any]:
    """Return a whole answer."""
    message = {"role": "assistant", "content": "".join(chunk.text for chunk in chunks)}
    last = chunks[-1]
    body = {
        **head,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": last.finish_reason}],
    }
    if last.usage is not None:
        body["usage"] = usage_json(last.usage)
    return body


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
        case Overloaded() | RateLimited():
            return 429
        case _:
            return 503


def error_json(error: RunbellError) -> dict[str, Any]:
    """Return an error as OpenAI's clients read it."""
    kind = "invalid_request_error" if status_of(error) in {400, 404} else "server_error"
    field = error.field if isinstance(error, InvalidInput) else None
    return {"error": {"message": str(error), "type": kind, "param": field, "code": type(error).__name__}}


def retry_after(error: RunbellError) -> dict[str, str]:
    """Return the header that says when to come back."""
    return {"Retry-After": str(max(1, round(error.after)))} if isinstance(error, TemporaryError) else {}
