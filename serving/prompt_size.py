"""How many tokens a prompt may have, where nobody can count them."""

import json
from collections.abc import Sequence

from serving.schema import ChatMessage, ChatRequest


def estimate(messages: Sequence[ChatMessage]) -> int:
    """Return about how many tokens these are: 3 characters each, a Chinese character one, 4 around each message."""
    calls = "".join(call.name + call.arguments for message in messages for call in message.tool_calls)
    return tokens("".join(message.content for message in messages) + calls) + 4 * len(messages)


def whole(request: ChatRequest) -> int:
    """Return about how many tokens a request has, with its tools and its schema."""
    said = [tool.model_dump() for tool in request.tools], request.json_schema or {}
    extra = json.dumps(said, ensure_ascii=False) if request.tools or request.json_schema else ""
    return estimate(request.messages) + tokens(extra)


def at_most(texts: Sequence[str], longest: int) -> int:
    """Return how many tokens texts can have, each cut at `longest`: a byte makes at most one, and two are added."""
    return sum(min(len(text.encode(errors="replace")) + 2, longest) for text in texts)


def tokens(text: str) -> int:
    """Return about how many tokens a text has."""
    wide = sum(char >= "\u2e80" for char in text)
    return wide + (len(text) - wide + 2) // 3
