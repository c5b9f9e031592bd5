"""Accounts of the OpenAI-compatible interface, asked by OpenAI's own client: whoever tries to pay less, does not."""

import asyncio
import pickle
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import sqlalchemy as sa

from integrations.database import Database
from integrations.database.tables import usage
from integrations.gateway.services import OWNED_CHANNELS, OWNER
from orchestration.ledger import HTTP, Opening, OwnersAccounts
from serving.accounts import Accounts, counted
from serving.engines import Engine
from serving.fleet import Fleet
from serving.schema import ChatChunk, ChatMessage, ChatRequest, ToolCall, Usage
from tests.engines import TOKEN, served
from tests.scripted_engine import ScriptedEngine

ONE_EACH = {"input": 0, "output": 1_000_000}
READING_COSTS = {"input": 1_000_000, "output": 0}


class Counting(ScriptedEngine):
    """Says ten words of a token each, one after another; `held` holds it before the first one, or after it."""

    def __init__(self, held: str = "", *, calls: bool = False) -> None:
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.asked: list[ChatRequest] = []
        self._held, self._calls = held, calls

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk]:
        self.asked.append(request)
        self.begun.set()
        if self._held == "before":
            await self.gate.wait()
        for number in range(min(request.max_tokens, 10)):
            call = ToolCall(name="f" if number == 0 else "", arguments="abc")
            yield ChatChunk(tool_calls=(call,)) if self._calls else ChatChunk(text="word ")
            if self._held == "after":
                await self.gate.wait()
        used = Usage(tokens_in=7, tokens_out=min(request.max_tokens, 10), tokens_cached=3, first_token_ms=5, total_ms=9)
        yield ChatChunk(finish_reason="stop", usage=used)


def fleet(price: dict[str, float], **policy: object) -> Fleet:
    models = {
        "paid": {"engine": "openai", "price": price, "tools": True},
        "e": {"engine": "minilm", "capabilities": ["embed"]},
    }
    return Fleet.model_validate({"models": models, "policy": policy})


@asynccontextmanager
async def asked(database: Database, folder: Path, engine: Engine, fleet: Fleet) -> AsyncGenerator[openai.AsyncOpenAI]:
    async with (
        served(engine, folder, fleet, lambda now: OwnersAccounts(database, "acme", now)) as url,
        openai.AsyncOpenAI(base_url=url, api_key=TOKEN) as client,
    ):
        yield client


def lines(database: Database) -> list[dict[str, Any]]:
    with database.engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.select(usage).order_by(usage.c.id)).mappings()]


async def line(database: Database) -> dict[str, Any]:
    """Wait for the first line: it is entered after whoever left has gone."""
    for _ in range(400):
        if found := await asyncio.to_thread(lines, database):
            return found[0]
        await asyncio.sleep(0.025)
    raise TimeoutError("nothing is entered")


SAID: dict[str, Any] = {"model": "paid", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}


async def test_a_request_is_entered_for_whom_the_token_is_whatever_it_says_of_itself(
    database: Database, tmp_path: Path
):
    async with asked(database, tmp_path, Counting(), fleet(ONE_EACH)) as client:
        await client.chat.completions.create(**SAID, user="somebody-else", metadata={"tenant": "rich"})

    owner = database.principals.resolve("acme", OWNED_CHANNELS[0], OWNER, name=OWNER, roles=("admin",))
    entered = await line(database)
    told = {"tenant": "acme", "principal_id": owner.id, "op": HTTP, "model": "paid", "route": "paid", "price": 10.0}
    told |= {"tokens_in": 7, "tokens_out": 10, "tokens_cached": 3, "first_token_ms": 5.0}
    assert entered | told == entered
    assert len(lines(database)) == 1


async def test_a_stream_is_entered_also_where_nobody_asks_for_its_usage(database: Database, tmp_path: Path):
    async with asked(database, tmp_path, Counting(), fleet(ONE_EACH)) as client:
        events = [event async for event in await client.chat.completions.create(**SAID, stream=True)]

    assert all(event.usage is None for event in events)
    assert (await line(database))["price"] == 10.0


@pytest.mark.parametrize("calls", [False, True], ids=["words", "tool calls"])
async def test_who_leaves_in_the_middle_pays_for_what_was_said(database: Database, tmp_path: Path, *, calls: bool):
    engine = Counting("after", calls=calls)
    async with asked(database, tmp_path, engine, fleet(ONE_EACH)) as client:
        stream = await client.chat.completions.create(**SAID, stream=True)
        await anext(aiter(stream))
        await stream.close()

        assert (await line(database))["price"] >= 1


async def test_who_leaves_before_the_first_word_pays_for_what_was_read(database: Database, tmp_path: Path):
    accounts = OwnersAccounts(database, "acme", lambda: fleet(READING_COSTS))

    await left_before_the_first_word(accounts, said("word " * 600))

    assert (await line(database))["price"] >= 600


async def test_several_answers_to_one_request_are_refused_before_they_cost(database: Database, tmp_path: Path):
    engine = Counting()
    async with asked(database, tmp_path, engine, fleet(ONE_EACH)) as client:
        with pytest.raises(openai.BadRequestError, match="n"):
            await client.chat.completions.create(**SAID, n=5)

    assert engine.asked == []
    assert lines(database) == []


async def test_a_used_up_budget_is_told_as_openai_tells_it_and_not_tried_again(database: Database, tmp_path: Path):
    engine, seen = Counting(), list[httpx.Response]()
    async with asked(database, tmp_path, engine, fleet(ONE_EACH, budget_per_day=25)) as client:
        answers = [await client.chat.completions.create(**SAID) for _ in range(2)]

        async def look(response: httpx.Response) -> None:
            seen.append(response)

        client._client.event_hooks["response"].append(look)
        for stream in (False, True):
            with pytest.raises(openai.RateLimitError, match=r"budget is used up \(20\.00 of 25\.00") as caught:
                await client.chat.completions.create(**SAID, stream=stream)
            assert caught.value.code == caught.value.type == "insufficient_quota"

    assert [answer.model_extra["runbell"]["notice"] for answer in answers] == [
        "",
        "80 % of the budget per day is spent",
    ]
    assert len(seen) == 2  # the client would have come back twice each
    assert len(engine.asked) == 2


async def test_many_at_once_can_not_spend_more_than_there_is(database: Database, tmp_path: Path):
    engine = Counting("after")
    async with asked(database, tmp_path, engine, fleet(ONE_EACH, budget_per_day=30)) as client:
        client.max_retries = 0
        asking = [asyncio.ensure_future(client.chat.completions.create(**SAID)) for _ in range(12)]
        await _until(lambda: _refused(asking), 9)
        engine.gate.set()
        await asyncio.wait(asking)

        assert await _until(lambda: asyncio.to_thread(lambda: len(lines(database))), 3) == 3
    assert sum(line["price"] for line in lines(database)) == 30


async def test_who_leaves_holds_nothing_of_the_budget(database: Database, tmp_path: Path):
    accounts = OwnersAccounts(database, "acme", lambda: fleet(ONE_EACH, budget_per_day=15))

    await left_before_the_first_word(accounts, said("hi"))
    await line(database)

    assert await _until(lambda: asyncio.to_thread(lambda: _left(accounts)), 15) == 15


@pytest.mark.parametrize("policy", [{"local_only": True}, {"tenants": {"acme": {"local_only": True}}}])
async def test_what_may_not_leave_does_not_leave_over_http(
    database: Database, tmp_path: Path, policy: dict[str, object]
):
    engine = Counting()
    async with asked(database, tmp_path, engine, fleet(ONE_EACH, **policy)) as client:
        for cheat in ({}, {"user": "rich"}, {"metadata": {"tenant": "rich"}}, {"extra_headers": {"X-Tenant": "rich"}}):
            with pytest.raises(openai.PermissionDeniedError, match="may not leave"):
                await client.chat.completions.create(**SAID, **cheat)

    assert engine.asked == []
    assert lines(database) == []


@pytest.mark.parametrize("field", ["priority", "origin", "tenant", "max_price"])
async def test_nobody_says_over_http_for_whom_or_how_soon_a_request_is(database: Database, tmp_path: Path, field: str):
    engine = Counting()
    async with asked(database, tmp_path, engine, fleet(ONE_EACH)) as client:
        with pytest.raises(openai.BadRequestError, match=field):
            await client.chat.completions.create(**SAID, extra_body={field: "chat"})

    assert engine.asked == []


async def test_a_prompt_hidden_in_tools_is_counted_before_it_costs(database: Database, tmp_path: Path):
    engine = Counting()
    tool = {"type": "function", "function": {"name": "f", "description": "word " * 2_000}}
    async with asked(database, tmp_path, engine, fleet(READING_COSTS, budget_per_day=1_000)) as client:
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(**SAID, tools=[tool])

    assert engine.asked == []


def test_what_is_handed_to_serve_survives_the_way_and_its_log_lines_tell_no_password(tmp_path: Path):
    opening = Opening("postgresql://runbell:secret@127.0.0.1/none", tmp_path, "acme")

    assert pickle.loads(pickle.dumps(opening)) == opening
    assert "secret" not in repr(opening)


def said(text: str) -> ChatRequest:
    return ChatRequest(messages=(ChatMessage(role="user", content=text),), max_tokens=10)


async def left_before_the_first_word(accounts: Accounts, request: ChatRequest) -> None:
    """Ask as Serve has it asked, and go as Serve lets go whose connection is closed."""
    engine = Counting("before")
    chunks = counted(accounts, request, 60, engine.stream)
    waiting = asyncio.ensure_future(anext(chunks))
    await engine.begun.wait()
    waiting.cancel()
    await asyncio.wait([waiting])


def _left(accounts: Accounts) -> int:
    call = accounts.open(said("hi"), 60)
    call.close(None)
    return int(call.request.max_price or 0)


async def _refused(asking: list[asyncio.Task[Any]]) -> int:
    return sum(task.done() and isinstance(task.exception(), openai.RateLimitError) for task in asking)


async def _until(count: Callable[[], Awaitable[int]], many: int) -> int:
    for _ in range(400):
        if (found := await count()) >= many:
            return found
        await asyncio.sleep(0.025)
    raise TimeoutError(f"{many} were expected")
