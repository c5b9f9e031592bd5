"""The answers and errors of OpenAI's HTTP interface, as its clients read them. What is asked: `openai_requests`."""

import base64
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from integrations.complaints import in_words
from integrations.errors import (
    BudgetSpent,
    Forbidden,
    InvalidInput,
    NotFound,
    Overloaded,
    RateLimited,
    RunbellError,
    TemporaryError,
)
from serving.schema import ChatChunk, Embedding, ToolCall, Usage

_TAG = re.compile(r"^str$|^[A-Z]|\[")
"""What pydantic puts between the names of fields: `str`, `list[TextPart]`, `NamedTool`."""


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


def chunk_json(head: dict[str, Any], chunk: ChatChunk, *, first: bool = False) -> dict[str, Any]:
    """Return one event of a streamed answer; the last says which model gave it, and why."""
    delta: dict[str, Any] = {"role": "assistant"} if first else {}
    if chunk.text:
        delta["content"] = chunk.text
    if chunk.tool_calls:
        delta["tool_calls"] = [{"index": call.index} | _called(call, piece=True) for call in chunk.tool_calls]
    choice = {"index": 0, "delta": delta, "finish_reason": chunk.finish_reason}
    return {**head, "object": "chat.completion.chunk", "choices": [choice], **_runbell(chunk)}


def answer_json(head: dict[str, Any], chunks: Sequence[ChatChunk]) -> dict[str, Any]:
    """Return a whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(chunk.text for chunk in chunks)}
    if calls := whole_calls(chunks):
        message["content"] = message["content"] or None
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


def model_json(name: str) -> dict[str, Any]:
    """Return what is said of a model or route."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "runbell"}


def status_of(error: RunbellError) -> int:
    """Return the HTTP status of an error."""
    match error:
        case InvalidInput():
            return 400
        case NotFound():
            return 404
        case BudgetSpent():
            return 429  # what OpenAI answers there, and its clients raise as RateLimitError
        case Forbidden():
            return 403
        case Overloaded() | RateLimited():
            return 429
        case _:
            return 503


def error_json(error: RunbellError) -> dict[str, Any]:
    """Return an error as OpenAI's clients read it; a spent budget is their `insufficient_quota`."""
    kind = "invalid_request_error" if status_of(error) in {400, 403, 404} else "server_error"
    kind, code = ("insufficient_quota",) * 2 if isinstance(error, BudgetSpent) else (kind, type(error).__name__)
    field = error.field if isinstance(error, InvalidInput) else None
    return {"error": {"message": str(error), "type": kind, "param": field, "code": code}}


def complaint(found: Sequence[Mapping[str, Any]]) -> InvalidInput:
    """Return what pydantic finds wrong with a body, in plain words and with the field's name as it was sent."""
    if not found:
        return InvalidInput("The body can't be read.")
    # Where a field takes a text or parts, each way is complained of: the one that got further was meant.
    first = max(found, key=lambda one: len(one["loc"]))
    if first["type"] == "json_invalid":
        return InvalidInput(f"The body is no JSON: {first['ctx']['error']} at character {first['loc'][-1]}.")
    *above, last = [str(part) for part in first["loc"][1:]] or [""]
    kept = [part for part in above if not _TAG.search(part)]
    field = ".".join([*kept, last] if first["type"] == "extra_forbidden" or not _TAG.search(last) else kept)
    return InvalidInput(f"{field or 'body'}: {in_words(first)}.", field=field or None)


def retry_after(error: RunbellError) -> dict[str, str]:
    """Return the header that says when to come back; OpenAI's client should not, where a budget is spent."""
    if isinstance(error, BudgetSpent):
        return {"x-should-retry": "false"}
    return {"Retry-After": str(max(1, round(error.after)))} if isinstance(error, TemporaryError) else {}
