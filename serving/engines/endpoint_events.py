"""What an OpenAI-compatible endpoint streams, as far as we read it; unknown fields are left alone."""

from typing import Any

from pydantic import BaseModel

from serving.schema import ToolCall


class Function(BaseModel):
    """A part of a tool call."""

    name: str | None = None
    arguments: str | None = None


class Call(BaseModel):
    """A tool call, or a piece of one."""

    index: int = 0
    id: str | None = None
    function: Function = Function()

    def plain(self) -> ToolCall:
        """Return it as ours."""
        name, arguments = self.function.name or "", self.function.arguments or ""
        return ToolCall(index=self.index, id=self.id or "", name=name, arguments=arguments)


class Delta(BaseModel):
    """What is new in this event."""

    content: str | None = None
    tool_calls: tuple[Call, ...] | None = None


class Choice(BaseModel):
    """One of the answers; we ask for one."""

    delta: Delta = Delta()
    finish_reason: str | None = None


class Cached(BaseModel):
    """Tokens that were not computed again."""

    cached_tokens: int | None = None


class UsageTold(BaseModel):
    """What the endpoint counted."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: Cached | None = None


class Event(BaseModel):
    """One event of a stream."""

    choices: tuple[Choice, ...] = ()
    usage: UsageTold | None = None
    error: Any = None
