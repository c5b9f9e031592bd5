"""The ledger and its budgets: whoever tries to spend more than there is, or on another's account, does not."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import dagster as dg
import pytest
import sqlalchemy as sa

from integrations.database import Database
from integrations.database.tables import usage
from integrations.errors import Forbidden
from orchestration.answer_cache import RememberingModels
from orchestration.metering import MeteredModels
from serving.client import ScriptedModels
from serving.fleet import Fleet
from serving.router import Router
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Decision, Origin, Usage

MODELS = {
    "paid": {"engine": "openai", "price": {"input": 0, "output": 1_000_000}},
    "free": {"engine": "llama_cpp"},
    "e": {"engine": "minilm", "capabilities": ["embed"]},
}
ROUTES = {"default": ["paid", "free"], "only": ["paid"]}


def fleet(**policy: object) -> Fleet:
    return Fleet.model_validate({"models": MODELS, "routes": ROUTES, "policy": policy})


class Priced(ScriptedModels):
    """Chooses with the real router; every answer has one token, which costs 1."""

    def __init__(self, fleet: Fleet, hold: threading.Event | None = None) -> None:
        super().__init__()
        self._router = Router(fleet)
        self._hold = hold
        self.asked: list[ChatRequest] = []

    def stream(
        self, request: ChatRequest, *, timeout_s: float = 120.0, traceparent: str | None = None
    ) -> Iterator[ChatChunk]:
        choice = self._router.choose(request)
        self.asked.append(request)
        yield ChatChunk(text="a", decision=choice.decision(choice.candidates[0], (), None))
        if self._hold:
            self._hold.wait(10)
        usage = Usage(tokens_in=3, tokens_out=1, total_ms=1)
        decision = choice.decision(choice.candidates[0], (), usage)
        yield ChatChunk(finish_reason="stop", usage=usage, decision=decision)


def said(model: str | None = None, tenant: str | None = "acme", max_tokens: int = 1) -> ChatRequest:
    message = ChatMessage(role="user", content="hi")
    return ChatRequest(messages=(message,), model=model, max_tokens=max_tokens, origin=Origin(tenant=tenant))


def metered(database: Database, told: Fleet, hold: threading.Event | None = None) -> tuple[MeteredModels, Priced]:
    models = Priced(told, hold)
    return MeteredModels(models, database, "acme", lambda: told), models


def decision(models: MeteredModels, request: ChatRequest) -> Decision:
    found = list(models.stream(request))[-1].decision
    assert found is not None
    return found


def test_a_call_is_in_the_ledger_with_its_price_route_and_run(database: Database):
    models, _ = metered(database, fleet())

    @dg.op
    def speak() -> None:
        list(models.stream(said("only")))

    @dg.job(tags={"runbell/tenant": "acme", "runbell/principal": "p1"})
    def talk() -> None:
        speak()

    run = talk.execute_in_process()

    (line,) = database.usage.of_run(run.run_id)
    assert (line.model, line.tokens_in, line.tokens_out, line.price, line.from_cache) == ("paid", 3, 1, 1.0, None)
    assert spent(database, "acme") == 1.0
    assert spent(database, "other") == 0.0


def test_a_used_up_budget_leaves_the_models_that_cost_nothing(database: Database):
    models, _ = metered(database, fleet(tenants={"acme": {"budget_per_day": 2}}))

    answered = [decision(models, said()).model for _ in range(4)]

    assert answered == ["paid", "paid", "free", "free"]
    with pytest.raises(Forbidden, match=r"budget is used up \(2\.00 of 2\.00 per day"):
        list(models.stream(said("only")))


def test_most_of_a_budget_spent_is_told(database: Database):
    models, _ = metered(database, fleet(budget_per_month=5))

    told = [decision(models, said()).notice for _ in range(5)]

    assert told[:3] == ["", "", ""]
    assert told[3] == "80 % of the budget per month is spent"


def test_one_request_can_not_cost_more_than_is_left(database: Database):
    models, _ = metered(database, fleet(budget_per_day=10))

    assert decision(models, said(max_tokens=11)).model == "free"
    assert decision(models, said(max_tokens=10)).model == "paid"


def test_many_at_once_can_not_spend_more_than_there_is(database: Database):
    hold = threading.Event()
    models, asked = metered(database, fleet(budget_per_day=3), hold)

    with ThreadPoolExecutor(10) as pool:
        futures = [pool.submit(decision, models, said()) for _ in range(10)]
        while len(asked.asked) < 10:
            pass
        hold.set()
        answered = [future.result().model for future in futures]

    assert answered.count("paid") == 3
    assert spent(database, "acme") == 3.0


def test_an_op_can_not_spend_on_another_tenants_account(database: Database):
    models, asked = metered(database, fleet(tenants={"acme": {"budget_per_day": 0}, "rich": {"budget_per_day": 100}}))

    @dg.op
    def cheat() -> str:
        return decision(models, said(tenant="rich")).model

    @dg.job(tags={"runbell/tenant": "acme"})
    def talk() -> None:
        cheat()

    run = talk.execute_in_process()

    assert run.output_for_node("cheat") == "free"
    assert asked.asked[0].origin.tenant == "acme"


@pytest.mark.parametrize(
    ("tags", "priority"),
    [
        ({"runbell/trigger": "message"}, "chat"),
        ({"runbell/trigger": "schedule"}, "timer"),
        ({"dagster/schedule_name": "nightly"}, "timer"),
        ({"dagster/backfill": "abc"}, "backfill"),
    ],
)
def test_an_op_can_not_put_itself_before_others(database: Database, tags: dict[str, str], priority: str):
    models, asked = metered(database, fleet())

    @dg.op
    def speak() -> None:
        list(models.stream(said().model_copy(update={"origin": Origin(priority="chat")})))

    @dg.job(tags=tags)
    def talk() -> None:
        speak()

    talk.execute_in_process()

    assert asked.asked[0].origin.priority == priority


def test_who_leaves_in_the_middle_pays_for_what_was_said_and_holds_nothing(database: Database):
    models, _ = metered(database, fleet(budget_per_day=100))
    for _ in range(3):
        stream = models.stream(said())
        next(stream)
        stream.close()

    paid = spent(database, "acme")
    assert 3 <= paid < 100
    assert decision(models, said(max_tokens=int(100 - paid))).model == "paid"


def spent(database: Database, tenant: str) -> float:
    with database.engine.connect() as connection:
        prices = sa.select(usage.c.price).where(usage.c.tenant == tenant)
        return sum(connection.scalars(prices))


def remembering(database: Database, told: Fleet) -> tuple[MeteredModels, Priced]:
    asked = Priced(told)
    known = RememberingModels(asked, database.answers, "acme", lambda: told)
    return MeteredModels(known, database, "acme", lambda: told), asked


CACHED = {"only": {"candidates": ["paid"], "cache_s": 600}, "default": ["paid", "free"]}


def cached(**policy: object) -> Fleet:
    return Fleet.model_validate({"models": MODELS, "routes": CACHED, "policy": policy})


def of(principal: str | None, tenant: str, text: str = "hi", **more: object) -> ChatRequest:
    message, origin = ChatMessage(role="user", content=text), Origin(tenant=tenant, principal_id=principal)
    return ChatRequest(messages=(message,), model="only", max_tokens=1, origin=origin, **more)


def test_the_same_request_of_the_same_person_is_answered_again_for_nothing(database: Database):
    models, asked = remembering(database, cached())

    first, again = list(models.stream(of("p", "acme"))), list(models.stream(of("p", "acme")))

    assert "".join(chunk.text for chunk in again) == "".join(chunk.text for chunk in first) == "a"
    assert "from the cache" in again[-1].decision.sentence()
    assert len(asked.asked) == 1
    assert spent(database, "acme") == 1.0


@pytest.mark.parametrize(
    "other",
    [
        of("p", "other"),
        of("q", "acme"),
        of(None, "acme"),
        of("p", "acme", "hi "),
        of("p", "acme", temperature=1.0),
        of("p", "acme", json_schema={"type": "object"}),
    ],
)
def test_nobody_is_told_what_another_was_told(database: Database, other: ChatRequest):
    models, asked = remembering(database, cached())
    list(models.stream(of("p", "acme")))

    list(models.stream(other))

    assert len(asked.asked) == 2


def test_the_ledger_tells_what_was_given_again_and_what_was_looked_for_in_vain(database: Database):
    models, _ = remembering(database, cached())
    for text in ("hi", "hi", "hello", "hi"):
        list(models.stream(of("p", "acme", text)))
    list(models.stream(said("default")))  # a route without a cache

    saved = {one.model: one for one in database.usage.saved(_long_ago())}

    assert (saved["paid"].hits, saved["paid"].misses) == (2, 2)
    assert spent(database, "acme") == 3.0


def test_what_is_left_of_a_budget_is_no_part_of_the_question(database: Database):
    models, asked = remembering(database, cached(budget_per_day=2))

    answered = [list(models.stream(of("p", "acme"))) for _ in range(4)]

    assert len(asked.asked) == 1
    assert all(chunks[-1].finish_reason == "stop" for chunks in answered)
    with pytest.raises(Forbidden):
        list(models.stream(of("p", "acme").model_copy(update={"max_tokens": 5})))


def test_a_stricter_rule_forgets_what_was_allowed(database: Database):
    list(remembering(database, cached())[0].stream(of("p", "acme")))

    with pytest.raises(Forbidden):
        list(remembering(database, cached(local_only=True))[0].stream(of("p", "acme")))


def test_what_was_broken_off_is_not_remembered(database: Database):
    models, asked = remembering(database, cached())
    stream = models.stream(of("p", "acme"))
    next(stream)
    stream.close()

    list(models.stream(of("p", "acme")))

    assert len(asked.asked) == 2


def _long_ago() -> datetime:
    return datetime(2000, 1, 1, tzinfo=UTC)
