"""The requests of OpenAI's HTTP interface, as far as we speak it. What is answered: `openai_api`.

Fields that we can't honour are refused by name, not ignored: a caller who sets `logprobs` would wait for numbers
that never come. https://platform.openai.com/docs/api-reference/chat
"""

from typing import Annotated, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from integrations.errors import InvalidInput
from serving.schema import ChatMessage, ChatRequest, OneTool, Origin, Tool, ToolCall

MAX_INPUTS = 2048


class Strict(BaseModel):
    """A part of a request."""

    model_config = ConfigDict(extra="forbid")


class TextPart(Strict):
    """A piece of a message; we take only text."""

    type: Literal["text"]
    text: str

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, found: object) -> object:
        if isinstance(found, dict) and cast("dict[str, object]", found).get("type", "text") != "text":
            raise ValueError("only parts of the type `text` are taken, no pictures, sound or files")
        return found


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


class NamedFunction(Strict):
    """A tool's name."""

    name: str


class NamedTool(Strict):
    """The tool that the model has to call."""

    type: Literal["function"]
    function: NamedFunction


class Echo(BaseModel):
    """A part of an earlier answer: what OpenAI's client adds to it for its user, and sends back, is left alone."""

    model_config = ConfigDict(extra="ignore")


class CalledFunction(Echo):
    """What the model wanted to call."""

    name: str
    arguments: str


class Called(Echo):
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
    # What OpenAI's client says of an earlier answer of ours, which has none of it.
    parsed: object = None
    refusal: None = None
    audio: None = None
    function_call: None = None
    annotations: Annotated[list[object], Field(max_length=0)] | None = None

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
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
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
            tool_choice=self._choice(),
            parallel_tool_calls=self.parallel_tool_calls is not False,
            origin=origin,
            messages=tuple(message.plain() for message in self.messages),
            max_tokens=self.max_completion_tokens or self.max_tokens or 256,
            temperature=0.2 if self.temperature is None else self.temperature,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            json_schema=self._schema(),
        )

    def _choice(self) -> Literal["auto", "none", "required"] | OneTool:
        choice, names = self.tool_choice or "auto", {tool.function.name for tool in self.tools or ()}
        if not isinstance(choice, NamedTool):
            if choice == "required" and not names:
                raise InvalidInput("tool_choice is `required`, and there are no tools.", field="tool_choice")
            return choice
        if choice.function.name not in names:
            raise InvalidInput(
                f"tool_choice names {choice.function.name!r}, which is no tool here.", field="tool_choice"
            )
        return OneTool(name=choice.function.name)

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
