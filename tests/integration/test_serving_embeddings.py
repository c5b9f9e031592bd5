"""Vectors over the OpenAI-compatible interface are on an account: whoever tries to have them for nothing, does not."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sa

from integrations.database import Database
from integrations.database.tables import usage
from integrations.errors import BudgetSpent, Unavailable
from integrations.gateway.services import OWNED_CHANNELS, OWNER
from orchestration.ledger import HTTP, OwnersAccounts
from serving import catalogue
from serving.accounts import counted_embeddings
from serving.engines.minilm import load_embedder
from serving.fleet import EMBED, Fleet
from serving.prompt_size import at_most
from serving.schema import Embedding
from tests.engines import TOKEN, served
from tests.scripted_engine import ScriptedEngine

ONE_EACH = {"input": 1_000_000, "currency": "EUR"}
LONGEST = 100
"""Tokens that a text is cut at."""


class Vectors(ScriptedEngine):
    """Takes a token per word, at most `LONGEST` of a text; `gate` holds it where it is told to wait."""

    def __init__(self, *, held: bool = False, failing: bool = False) -> None:
        self.gate, self.begun = asyncio.Event(), asyncio.Event()
        self.asked: list[Sequence[str]] = []
        self._held, self._failing = held, failing

    async def embed(self, texts: Sequence[str], timeout_s: float, traceparent: str | None) -> list[Embedding]:
        self.asked.append(texts)
        self.begun.set()
        if self._held:
            await self.gate.wait()
        if self._failing:
            raise Unavailable("away")
        counts = [min(len(text.split()), LONGEST) for text in texts]
        return [Embedding(vector=(1.0, 0.0), tokens=count, unknown_share=0) for count in counts]


def fleet(price: dict[str, Any], **policy: object) -> Fleet:
    embedder = {"engine": "minilm", "capabilities": ["embed"], "price": price, "context_tokens": LONGEST}
    return Fleet.model_validate({"models": {"chat": {"engine": "openai"}, "e": embedder}, "policy": policy})


@asynccontextmanager
async def asked(database: Database, folder: Path, engine: Vectors, fleet: Fleet) -> AsyncGenerator[openai.AsyncOpenAI]:
    async with (
        served(engine, folder, fleet, lambda now: OwnersAccounts(database, "acme", now)) as url,
        openai.AsyncOpenAI(base_url=url, api_key=TOKEN, max_retries=0) as client,
    ):
        yield client


def lines(database: Database) -> list[dict[str, Any]]:
    with database.engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.select(usage).order_by(usage.c.id)).mappings()]


async def test_vectors_are_entered_with_tokens_and_price_for_whom_the_token_is(database: Database, tmp_path: Path):
    async with asked(database, tmp_path, Vectors(), fleet(ONE_EACH)) as client:
        await client.embeddings.create(model="e", input=["one two", "three"], user="somebody-else")

    owner = database.principals.resolve("acme", OWNED_CHANNELS[0], OWNER, name=OWNER, roles=("admin",))
    (line,) = lines(database)
    told = {"tenant": "acme", "principal_id": owner.id, "op": HTTP, "model": "e", "route": EMBED}
    told |= {"tokens_in": 3, "tokens_out": 0, "price": 3.0, "currency": "EUR"}
    assert line | told == line


@pytest.mark.parametrize(
    "texts",
    ["word " * 200, ["a"] * 2000, "." * 900_000, ["", *[""] * 40], "한" * 40, ["word " * 30, "word " * 30]],
    ids=["one long", "many short", "a megabyte", "empty", "wide", "two"],
)
async def test_more_than_is_left_is_told_as_openai_tells_it_before_it_costs(
    database: Database, tmp_path: Path, texts: str | list[str]
):
    engine = Vectors()
    async with asked(database, tmp_path, engine, fleet(ONE_EACH, budget_per_day=80)) as client:
        with pytest.raises(openai.RateLimitError, match=r"budget is used up \(0\.00 of 80\.00 per day") as caught:
            await client.embeddings.create(model="e", input=texts)

    assert caught.value.code == caught.value.type == "insufficient_quota"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert engine.asked == []
    assert lines(database) == []


@pytest.mark.parametrize(
    "sent", [[1, 2, 3], [[1, 2], [3]], [], ["a"] * 2049, [["a"]], None, {"text": "a"}], ids=lambda sent: repr(sent)[:12]
)
async def test_tokens_in_place_of_texts_and_too_many_texts_are_refused(
    database: Database, tmp_path: Path, sent: object
):
    engine = Vectors()
    async with asked(database, tmp_path, engine, fleet(ONE_EACH)) as client:
        with pytest.raises(openai.BadRequestError, match="input"):
            await client.post("/embeddings", cast_to=object, body={"model": "e", "input": sent})

    assert engine.asked == []
    assert lines(database) == []


async def test_a_used_up_budget_ends_vectors_too_but_not_those_that_cost_nothing(database: Database, tmp_path: Path):
    engine = Vectors()
    database.usage.record(tenant="acme", model="chat", tokens_in=1, tokens_out=1, total_ms=1, price=20)
    async with asked(database, tmp_path, engine, fleet(ONE_EACH, budget_per_month=20)) as client:
        with pytest.raises(openai.RateLimitError):
            await client.embeddings.create(model="e", input="word")
    assert engine.asked == []

    async with asked(database, tmp_path, engine, fleet({}, budget_per_month=20)) as client:
        await client.embeddings.create(model="e", input="word")
    assert len(engine.asked) == 1


async def test_many_at_once_can_not_spend_more_than_there_is(database: Database, tmp_path: Path):
    engine = Vectors(held=True)
    async with asked(database, tmp_path, engine, fleet(ONE_EACH, budget_per_day=60)) as client:
        asking = [asyncio.ensure_future(client.embeddings.create(model="e", input="word " * 5)) for _ in range(10)]
        await _until(lambda: sum(task.done() for task in asking) == 8)
        engine.gate.set()
        await asyncio.wait(asking)

    assert [line["price"] for line in lines(database)] == [5.0, 5.0]  # of 27 each at the longest


async def test_who_leaves_pays_and_holds_nothing(database: Database):
    engine, priced = Vectors(held=True), fleet(ONE_EACH, budget_per_day=100)
    accounts = OwnersAccounts(database, "acme", lambda: priced)

    async def ask() -> list[Embedding]:
        return await engine.embed(["word " * 10], 1, None)

    asking = asyncio.ensure_future(counted_embeddings(accounts, ["word " * 10], 60, ask))
    await engine.begun.wait()
    asking.cancel()
    await asyncio.wait([asking])

    await _until(lambda: bool(lines(database)))
    (line,) = lines(database)
    assert 10 <= line["price"] <= 52
    left = 100 - int(line["price"])
    await _until(lambda: _affords(accounts, left))
    assert not _affords(accounts, left + 1)


async def test_what_fails_costs_nothing_and_holds_nothing(database: Database, tmp_path: Path):
    async with asked(database, tmp_path, Vectors(failing=True), fleet(ONE_EACH, budget_per_day=30)) as client:
        for _ in range(3):
            with pytest.raises(openai.InternalServerError, match="away"):
                await client.embeddings.create(model="e", input="word " * 5)

    assert lines(database) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "word",
        "." * 99,
        "a b c d e f",
        "한국어",
        "é" * 40,
        "👩‍👩‍👧‍👦",
        "\u0000\u200b ",
        "a̐" * 30,
        "㍿" * 50,
        "word " * 999,
    ],
)
def test_no_text_has_more_tokens_than_are_held_for_it(tmp_path: Path, text: str):
    catalogue.pull(tmp_path, "minilm-l6-v2")
    (embedding,) = load_embedder("minilm-l6-v2", tmp_path).embed([text])

    assert embedding.tokens <= at_most([text], 256)


def _affords(accounts: OwnersAccounts, tokens: int) -> bool:
    try:
        accounts.embedding(["a" * (tokens - 2)], 60).close(None)
    except BudgetSpent:
        return False
    return True


async def _until(true: Callable[[], bool]) -> None:
    for _ in range(400):
        if await asyncio.to_thread(true):
            return
        await asyncio.sleep(0.025)
    raise TimeoutError
