"""Our HTTP interface as other programs meet it: OpenAI's own client on a real socket, an engine of a script."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import openai
import pytest
import pytest_asyncio

from integrations.errors import (
    Forbidden,
    InvalidInput,
    Misconfigured,
    Overloaded,
    RateLimited,
    RunbellError,
    Unavailable,
)
from serving.schema import ChatChunk, ChatMessage, ChatRequest, ModelInfo, OneTool, ToolCall, Usage
from tests.engines import TOKEN, served

pytestmark = pytest.mark.asyncio(loop_scope="module")
MODEL = "smollm2-135m"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Tells the weather.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    for name in ("weather", "forecast")
]
QUESTION = {"role": "user", "content": "What is the weather in Oslo, and in 北京?"}


class Weatherman:
    """Calls the tool for two cities, then answers with what it was told; or fails as it is told to."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.requests: list[ChatRequest] = []
        self.fails: RunbellError | None = None
        self.says_before = ""
        self.left = asyncio.Event()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk]:
        self.requests.append(request)
        try:
            if self.says_before:
                yield ChatChunk(text=self.says_before)
            if self.fails:
                raise self.fails
            told = [message.content for message in request.messages if message.role == "tool"]
            calls = bool(request.tools) and not told and request.tool_choice != "none"
            if calls:
                for piece in CALLS:
                    yield ChatChunk(tool_calls=(piece,))
            else:
                for word in [*told, "🌦️ it", " is"]:
                    yield ChatChunk(text=word)
            usage = Usage(tokens_in=7, tokens_out=3, total_ms=1)
            yield ChatChunk(finish_reason="tool_calls" if calls else "stop", usage=usage)
        finally:
            self.left.set()

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return len(messages)

    def describe(self) -> ModelInfo:
        return ModelInfo(name=MODEL, engine="weatherman", context_tokens=9)

    def check(self) -> None: ...

    async def close(self) -> None: ...


CALLS = (
    ToolCall(index=0, id="call_1", name="weather", arguments='{"city": '),
    ToolCall(index=0, arguments='"Oslo"}'),
    ToolCall(index=1, id="call_2", name="weather", arguments='{"city": "北京"}'),
)
WHOLE = [("call_1", "weather", {"city": "Oslo"}), ("call_2", "weather", {"city": "北京"})]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Weatherman, openai.AsyncOpenAI]]:
    engine = Weatherman()
    async with (
        served(engine, tmp_path_factory.mktemp("home"), tools=True) as url,
        openai.AsyncOpenAI(base_url=url, api_key=TOKEN, max_retries=0) as client,
    ):
        yield engine, client


@pytest.fixture
def engine(both: tuple[Weatherman, openai.AsyncOpenAI]) -> Weatherman:
    both[0].forget()
    return both[0]


@pytest.fixture
def client(both: tuple[Weatherman, openai.AsyncOpenAI], engine: Weatherman) -> openai.AsyncOpenAI:
    return both[1]


def called(calls) -> list[tuple[str, str, dict]]:
    return [(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls]


def results(calls) -> list[dict]:
    return [{"role": "tool", "tool_call_id": call.id, "content": f"{call.id} rain; "} for call in calls]


async def test_tools_are_called_and_their_results_answered(client: openai.AsyncOpenAI, engine: Weatherman):
    first = await client.chat.completions.create(model=MODEL, messages=[QUESTION], tools=TOOLS)
    message = first.choices[0].message
    turns = [QUESTION, message.model_dump(), *results(message.tool_calls)]
    second = await client.chat.completions.create(model=MODEL, messages=turns, tools=TOOLS)

    assert (first.choices[0].finish_reason, message.content) == ("tool_calls", None)
    assert called(message.tool_calls) == WHOLE
    assert second.choices[0].message.content == "call_1 rain; call_2 rain; 🌦️ it is"
    assert [call.id for call in engine.requests[1].messages[1].tool_calls] == ["call_1", "call_2"]
    assert engine.requests[1].messages[2].tool_call_id == "call_1"


async def test_tools_are_called_in_a_stream_too(client: openai.AsyncOpenAI):
    async with client.chat.completions.stream(model=MODEL, messages=[QUESTION], tools=TOOLS) as stream:
        kinds = [event.type async for event in stream]
        first = await stream.get_final_completion()
    message = first.choices[0].message
    turns = [QUESTION, message, *results(message.tool_calls)]
    asked = client.chat.completions.stream(
        model=MODEL, messages=turns, tools=TOOLS, stream_options={"include_usage": True}
    )
    async with asked as stream:
        deltas = [event.delta async for event in stream if event.type == "content.delta"]
        second = await stream.get_final_completion()

    assert called(message.tool_calls) == WHOLE
    assert kinds.count("tool_calls.function.arguments.done") == 2
    assert "".join(deltas) == second.choices[0].message.content == "call_1 rain; call_2 rain; 🌦️ it is"
    assert (message.role, second.usage.completion_tokens) == ("assistant", 3)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "function": {"name": "forecast"}}, OneTool(name="forecast")),
    ],
)
async def test_the_choice_of_tools_reaches_the_engine(
    client: openai.AsyncOpenAI, engine: Weatherman, choice, expected: object
):
    await client.chat.completions.create(
        model=MODEL, messages=[QUESTION], tools=TOOLS, tool_choice=choice, parallel_tool_calls=False
    )

    assert (engine.requests[0].tool_choice, engine.requests[0].parallel_tool_calls) == (expected, False)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tool_choice": "required"}, "there are no tools"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "dance"}}}, "'dance'"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 10**9}, "max_tokens"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": 7}}}}, "Schema"),
    ],
)
async def test_what_makes_no_sense_is_a_bad_request_that_says_why(
    client: openai.AsyncOpenAI, engine: Weatherman, wrong: dict, said: str
):
    if "response_format" in wrong:
        engine.fails = InvalidInput("That is no JSON Schema", field="json_schema")

    with pytest.raises(openai.BadRequestError, match=said):
        await client.chat.completions.create(model=MODEL, messages=[QUESTION], **wrong)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidInput("The prompt is too long.", field="messages"), openai.BadRequestError),
        (Forbidden("It may not leave."), openai.PermissionDeniedError),
        (Overloaded("9 wait.", after=7), openai.RateLimitError),
        (RateLimited("The endpoint asks for a pause.", after=7), openai.RateLimitError),
        (Unavailable("The replica died."), openai.InternalServerError),
        (Misconfigured("Run: runbell models pull x"), openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_is_the_clients_own_class_with_our_words(
    client: openai.AsyncOpenAI, engine: Weatherman, error: RunbellError, kind: type[openai.APIStatusError], stream: bool
):
    engine.fails = error

    with pytest.raises(kind, match=str(error)) as caught:
        await client.chat.completions.create(model=MODEL, messages=[QUESTION], stream=stream)

    if kind is openai.RateLimitError:
        assert caught.value.response.headers["retry-after"] == "7"


async def test_who_has_no_token_or_asks_for_no_model_is_told_by_class(client: openai.AsyncOpenAI):
    with pytest.raises(openai.AuthenticationError, match="RUNBELL_HOME/token"):
        await client.with_options(api_key="wrong").models.list()
    with pytest.raises(openai.NotFoundError, match=MODEL):
        await client.chat.completions.create(model="gpt-9", messages=[QUESTION])
    with pytest.raises(openai.NotFoundError, match="'e'"):
        await client.embeddings.create(model="gpt-9", input="x")
    with pytest.raises(openai.NotFoundError, match=MODEL):
        await client.models.retrieve("gpt-9")


async def test_models_are_listed_and_shown(client: openai.AsyncOpenAI):
    listed = [model.id async for model in client.models.list()]

    assert listed == [MODEL, "deep", "default", "fast", "e"]
    assert (await client.models.retrieve(MODEL)).id == MODEL


async def test_an_answer_that_breaks_off_is_an_error_after_what_was_said(
    client: openai.AsyncOpenAI, engine: Weatherman
):
    engine.fails, engine.says_before = Unavailable("The replica died."), "Half an answer"
    stream = aiter(await client.chat.completions.create(model=MODEL, messages=[QUESTION], stream=True))
    said = (await anext(stream)).choices[0].delta.content

    with pytest.raises(openai.APIError, match=r"The replica died\. .* had said 14 characters"):
        await anext(stream)

    assert said == "Half an answer"


async def test_leaving_a_stream_ends_the_generation(client: openai.AsyncOpenAI, engine: Weatherman):
    engine.says_before = "word"
    stream = await client.chat.completions.create(model=MODEL, messages=[QUESTION], stream=True)
    await anext(aiter(stream))

    await stream.close()

    await asyncio.wait_for(engine.left.wait(), 5)
