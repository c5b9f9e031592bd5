"""The engine for OpenAI-compatible endpoints, against a fake one on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from integrations.errors import InvalidInput, Misconfigured, RateLimited, RunbellError, Unavailable
from serving.engines import load_engine
from serving.engines.endpoint_access import Access
from serving.fleet import ModelSpec
from serving.openai_api import whole_calls
from serving.schema import ChatChunk, ChatMessage, ChatRequest, OneTool, Tool, ToolCall

Behave = Callable[[asyncio.StreamWriter], Awaitable[None]]

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


class Endpoint:
    """One HTTP server that answers every request alike and remembers what it was asked."""

    def __init__(self, behave: Behave) -> None:
        self._behave = behave
        self.bodies: list[dict] = []
        self.heads: list[str] = []
        self.gone = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        length = int(next(line for line in head.lower().split("\r\n") if "content-length" in line).split(":")[1])
        self.bodies.append(json.loads(await reader.readexactly(length)))
        try:
            await self._behave(writer)
            await writer.drain()
            if await reader.read(1) == b"":
                self.gone.set()
        except ConnectionError:
            self.gone.set()
        finally:
            writer.close()


@asynccontextmanager
async def endpoint(behave: Behave, **settings: object) -> AsyncIterator[tuple]:
    fake = Endpoint(behave)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    told = {"base_url": f"http://127.0.0.1:{fake.port}/v1", "api_key": "literal-key", **settings}
    config = ModelSpec(engine="openai", model="big", **told)
    engine = load_engine(config, Path())
    try:
        yield engine, fake
    finally:
        await engine.close()
        server.close()


def event(text: str = "", finish: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], **more}, ensure_ascii=False).encode() + b"\n\n"


def says(*pieces: bytes) -> Behave:
    async def behave(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.close()

    return behave


def refuses(status: int, body: bytes = b'{"error": {"message": "because"}}', *headers: str) -> Behave:
    lines = [f"HTTP/1.1 {status} No", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return says("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def ask(text: str = "hi", **options: object) -> ChatRequest:
    return ChatRequest(messages=(ChatMessage(role="user", content=text),), **options)


async def answer(engine, request: ChatRequest) -> list[ChatChunk]:
    return [chunk async for chunk in engine.stream(request)]


async def test_an_endpoints_answer_is_streamed_with_its_usage():
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    good = says(STREAM, event("Par"), b": comment\n\n", event("is"), event(finish="stop"), event(usage=usage))
    async with endpoint(good) as (engine, fake):
        chunks = await answer(engine, ask(stop=("\n",), temperature=0))

    assert [chunk.text for chunk in chunks] == ["Par", "is", ""]
    assert chunks[-1].finish_reason == "stop"
    assert (chunks[-1].usage.tokens_in, chunks[-1].usage.tokens_out) == (7, 2)
    assert fake.bodies[0]["model"] == "big"
    assert fake.bodies[0]["stop"] == ["\n"]
    assert "authorization: bearer literal-key" in fake.heads[0].lower()


async def test_a_character_split_over_two_packets_arrives_whole():
    whole = event("张伟👋", finish="stop")
    cut = whole.index("伟".encode()) + 1
    async with endpoint(says(STREAM, whole[:cut], whole[cut:])) as (engine, _):
        chunks = await answer(engine, ask())

    assert chunks[0].text == "张伟👋"


@pytest.mark.parametrize(
    ("behave", "kind", "said"),
    [
        (refuses(401), Misconfigured, "api_key"),
        (refuses(403), Misconfigured, "api_key"),
        (refuses(404), Misconfigured, "no such model"),
        (refuses(400), InvalidInput, "because"),
        (refuses(400, b'{"error": {"message": "maximum context length is 9"}}'), InvalidInput, "too long"),
        (refuses(429, b"{}", "Retry-After: 17"), RateLimited, "pause"),
        (refuses(500, b"<html>oops"), Unavailable, "500"),
        (refuses(503, b'["odd"]'), Unavailable, "503"),
        (refuses(302, b"", "Location: http://127.0.0.1:9/"), Unavailable, "302"),
        (says(STREAM, b"data: {garbage\n\n"), Unavailable, "no chat completion"),
        (says(STREAM, b'data: {"error": {"message": "out of memory"}}\n\n'), Unavailable, "out of memory"),
        (says(STREAM, event("half an ans")), Unavailable, "broke off"),
        (says(STREAM, b"data: [DONE]\n\n"), Unavailable, "broke off"),
        (says(STREAM, b"x" * 2_000_000), Unavailable, "no event stream"),
        (says(b"SMTP ready\r\n\r\n"), Unavailable, "reached"),
        (says(), Unavailable, "reached"),
        (says(STREAM, event("bad words", finish="content_filter")), InvalidInput, "refuses this content"),
    ],
)
async def test_an_endpoints_failure_says_what_to_do(behave: Behave, kind: type[RunbellError], said: str):
    async with endpoint(behave) as (engine, _):
        with pytest.raises(kind, match=said):
            await answer(engine, ask())


async def test_the_pause_an_endpoint_asks_for_is_kept():
    async with endpoint(refuses(429, b"{}", "Retry-After: 17")) as (engine, _):
        with pytest.raises(RateLimited) as caught:
            await answer(engine, ask())

    assert caught.value.after == 17


async def test_a_silent_endpoint_is_unavailable():
    async def silent(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + event("one"))

    async with endpoint(silent, request_timeout_s=0.2) as (engine, _):
        with pytest.raises(Unavailable, match="silent"):
            await answer(engine, ask())


async def test_leaving_closes_the_connection():
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + event("one"))

    async with endpoint(endless) as (engine, fake):
        stream = engine.stream(ask())
        await anext(stream)
        await stream.aclose()
        await asyncio.wait_for(fake.gone.wait(), 5)


async def test_a_schema_goes_along_and_its_answer_is_checked():
    schema = {"type": "object", "required": ["a"]}
    async with endpoint(says(STREAM, event('{"a": 1}', finish="stop"))) as (engine, fake):
        good = await answer(engine, ask(json_schema=schema))
    async with endpoint(says(STREAM, event("Sure! Here you are", finish="stop"))) as (engine, _):
        with pytest.raises(InvalidInput, match="did not keep to"):
            await answer(engine, ask(json_schema=schema))

    assert good[-1].finish_reason == "stop"
    assert fake.bodies[0]["response_format"]["json_schema"]["schema"] == schema


async def test_an_endpoint_that_does_not_listen_is_unavailable():
    engine = load_engine(ModelSpec(engine="openai", base_url="http://127.0.0.1:9/v1"), Path())
    with pytest.raises(Unavailable, match="reached"):
        await answer(engine, ask())
    await engine.close()


@pytest.mark.parametrize("url", [None, "", "file:///etc/passwd", "localhost:80"])
def test_an_endpoint_needs_an_address(url: str | None):
    with pytest.raises(Misconfigured, match="base_url"):
        load_engine(ModelSpec(engine="openai", base_url=url), Path())


def test_an_unknown_engine_is_answered_with_the_known_ones():
    with pytest.raises(Misconfigured, match=r"llama_cpp.*openai"):
        load_engine(ModelSpec(engine="warp_drive"), Path())


async def test_tokens_are_estimated_higher_for_chinese():
    engine = load_engine(ModelSpec(engine="openai", base_url="http://127.0.0.1:9/v1"), Path())
    english, chinese = [
        await engine.count_tokens((ChatMessage(role="user", content=text),)) for text in ("abcdef", "你好吗今天呢")
    ]
    await engine.close()

    assert english == 6
    assert chinese == 10


GOOD = (STREAM, event("yes"), event(finish="stop"))


def by_key(answers: dict[str, Behave]) -> Callable[[Endpoint], Behave]:
    """Answer by the key that the last request brought."""

    def bind(fake: Endpoint) -> Behave:
        async def behave(writer: asyncio.StreamWriter) -> None:
            key = fake.heads[-1].lower().partition("bearer ")[2].split("\r\n")[0]
            await answers[key](writer)

        return behave

    return bind


@asynccontextmanager
async def keyed(answers: dict[str, Behave], **settings: object) -> AsyncIterator[tuple]:
    async with endpoint(says(*GOOD), **{"api_key": tuple(answers), **settings}) as (engine, fake):
        fake._behave = by_key(answers)(fake)
        yield engine, fake


def keys_of(fake: Endpoint) -> list[str]:
    return [head.lower().partition("bearer ")[2].split("\r\n")[0] for head in fake.heads]


@pytest.mark.parametrize("refusal", [refuses(429, b"{}", "Retry-After: 60"), refuses(401)])
async def test_a_key_that_is_refused_or_used_up_rests_and_the_next_one_is_taken(refusal: Behave):
    async with keyed({"one": refusal, "two": says(*GOOD)}) as (engine, fake):
        first, second = await answer(engine, ask()), await answer(engine, ask())

    assert first[0].text == second[0].text == "yes"
    assert keys_of(fake) == ["one", "two", "two"]


async def test_when_all_keys_are_refused_that_is_told_without_asking_again():
    async with keyed({"one": refuses(401), "two": refuses(403)}) as (engine, fake):
        for _ in range(2):
            with pytest.raises(Misconfigured, match="api_key"):
                await answer(engine, ask())

    assert keys_of(fake) == ["one", "two"]


async def test_when_all_keys_must_pause_the_caller_is_told_for_how_long():
    pause = refuses(429, b"{}", "Retry-After: 600")
    async with keyed({"one": pause, "two": pause}) as (engine, fake):
        with pytest.raises(RateLimited) as caught:
            await answer(engine, ask())

    assert 500 < caught.value.after <= 600
    assert len(fake.heads) == 2


@pytest.mark.parametrize("broken", [refuses(500), says(), says(STREAM, b"data: {garbage\n\n")])
async def test_an_address_that_fails_is_left_for_the_next_one(broken: Behave):
    async with endpoint(broken) as (_, bad), endpoint(says(*GOOD)) as (_, good):
        ports = [fake.port for fake in (bad, good)]
        spec = ModelSpec(engine="openai", name="big", base_url=tuple(f"http://127.0.0.1:{port}/v1" for port in ports))
        engine = load_engine(spec, Path())
        first, second = await answer(engine, ask()), await answer(engine, ask())
        await engine.close()

    assert first[0].text == second[0].text == "yes"
    assert (len(bad.heads), len(good.heads)) == (1, 2)


async def test_what_has_begun_is_never_asked_twice():
    async with endpoint(says(STREAM, event("half"))) as (_, bad), endpoint(says(*GOOD)) as (_, good):
        urls = tuple(f"http://127.0.0.1:{fake.port}/v1" for fake in (bad, good))
        engine = load_engine(ModelSpec(engine="openai", name="big", base_url=urls), Path())
        with pytest.raises(Unavailable, match="broke off"):
            await answer(engine, ask())
        await engine.close()

    assert good.heads == []


def test_a_key_is_used_as_often_as_its_rate_allows_and_then_the_next_one():
    clock = [0.0]
    access = Access(["u"], ["one", "two"], 10, lambda: clock[0])

    taken = [access.key(0.0)[0].secret for _ in range(20)]
    with pytest.raises(RateLimited):
        access.key(0.05)
    clock[0] = 0.1
    again, wait = access.key(0.0)

    assert sorted(taken) == ["one"] * 10 + ["two"] * 10
    assert again.secret in {"one", "two"}
    assert wait == 0


def test_a_slow_rate_spaces_requests():
    clock = [0.0]
    access = Access(["u"], [], 0.5, lambda: clock[0])
    access.key(0.0)

    assert access.key(5.0)[1] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("Wed, 21 Oct 2065 07:28:00 GMT", 3600), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", 5), ("nan", 5), ("-3", 0)],
)
async def test_a_pause_may_be_a_date_and_is_bounded(said: str, seconds: float):
    async with endpoint(refuses(429, b"{}", f"Retry-After: {said}")) as (engine, _):
        with pytest.raises(RateLimited) as caught:
            await answer(engine, ask())

    assert caught.value.after == seconds


async def test_tools_go_along_and_their_calls_come_back_in_pieces():
    begun = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a"'}}
    more = {"index": 0, "function": {"arguments": ": 1}"}}
    delta = [
        b"data: " + json.dumps({"choices": [{"delta": {"tool_calls": [part]}}]}).encode() for part in (begun, more)
    ]
    good = says(STREAM, delta[0] + b"\n\n", delta[1] + b"\n\n", event(finish="tool_calls"))
    turns = (
        ChatMessage(role="user", content="look"),
        ChatMessage(role="assistant", content="", tool_calls=(ToolCall(id="c0", name="look", arguments="{}"),)),
        ChatMessage(role="tool", content="nothing", tool_call_id="c0"),
    )
    async with endpoint(good) as (engine, fake):
        chunks = await answer(engine, ChatRequest(messages=turns, tools=(Tool(name="look", parameters={"a": 1}),)))

    assert chunks[-1].finish_reason == "tool_calls"
    assert whole_calls(chunks) == (ToolCall(index=0, id="c1", name="look", arguments='{"a": 1}'),)
    assert fake.bodies[0]["tools"][0]["function"]["name"] == "look"
    assert "tool_choice" not in fake.bodies[0]
    assert fake.bodies[0]["messages"][1]["tool_calls"][0]["id"] == "c0"
    assert fake.bodies[0]["messages"][2] == {"role": "tool", "content": "nothing", "tool_call_id": "c0"}


async def test_the_choice_of_tools_goes_along():
    tools = (Tool(name="look"),)
    async with endpoint(says(STREAM, event("x", "stop"))) as (engine, fake):
        for choice in (OneTool(name="look"), "required"):
            await answer(engine, ask(tools=tools, tool_choice=choice, parallel_tool_calls=False))

    assert fake.bodies[0]["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert [body["parallel_tool_calls"] for body in fake.bodies] == [False, False]
    assert fake.bodies[1]["tool_choice"] == "required"
