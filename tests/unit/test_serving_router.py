"""Which model is asked, and what happens when it fails: the real router and its asking, models of a script."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

import pytest

from integrations.errors import (
    Forbidden,
    InvalidInput,
    Misconfigured,
    NotFound,
    Overloaded,
    RateLimited,
    RunbellError,
    Unavailable,
)
from serving.asking import ask
from serving.failures import Lost, to_failure
from serving.fleet import Fleet
from serving.router import Router
from serving.schema import ChatChunk, ChatMessage, ChatRequest, Failure, Origin, Priority, Tool, Usage

FLEET = {
    "models": {
        "small": {"engine": "llama_cpp", "languages": ["en"], "context_tokens": 2048},
        "big": {"engine": "transformers", "context_tokens": 32768, "price": {"input": 1, "output": 2}},
        "api": {"engine": "openai", "context_tokens": 100000, "price": {"input": 10, "output": 20}},
        "minilm": {"engine": "minilm", "capabilities": ["embed"]},
    },
    "routes": {"default": ["small", "big", "api"], "remote": ["api"]},
    "policy": {"tenants": {"acme": {"local_only": True}, "poor": {"max_price": 0.001}, "narrow": {"models": ["big"]}}},
}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class ScriptedDoor:
    """Models that do what they are told to, in order; then they answer."""

    def __init__(self, **scripts: list[RunbellError | str]) -> None:
        self.scripts = scripts
        self.asked: list[str] = []
        self.closed = 0

    async def open(
        self, model: str, request: ChatRequest, timeout_s: float, traceparent: str | None
    ) -> AsyncGenerator[ChatChunk | Failure]:
        self.asked.append(model)
        script = self.scripts.get(model, [])
        step = script.pop(0) if script else "answer"
        try:
            if isinstance(step, Lost):
                raise step
            if isinstance(step, RunbellError):
                yield to_failure(step)
                return
            if step == "mute":
                await asyncio.Event().wait()
            yield ChatChunk(text=f"{model} says")
            if step == "half":
                yield to_failure(Unavailable("The replica died."))
                return
            if step == "hang":
                await asyncio.Event().wait()
            usage = Usage(tokens_in=1_000_000, tokens_out=500_000, total_ms=1)
            yield ChatChunk(finish_reason="stop", usage=usage)
        finally:
            self.closed += 1


def router(clock: Clock | None = None, chance: float = 0.99, **changes: object) -> Router:
    return Router(Fleet.model_validate(FLEET | changes), clock or Clock(), lambda: chance)


def said(text: str = "hi", tenant: str | None = "default", **options: object) -> ChatRequest:
    message = ChatMessage(role="user", content=text)
    return ChatRequest(messages=(message,), origin=Origin(tenant=tenant), **options)


async def answer(router: Router, door: ScriptedDoor, request: ChatRequest, timeout_s: float = 5) -> list[ChatChunk]:
    async with aclosing(ask(router, door, request, timeout_s)) as chunks:
        return [chunk async for chunk in chunks]


def order(router: Router, request: ChatRequest) -> list[str]:
    return [spec.name for spec in router.choose(request).candidates]


async def test_the_first_candidate_answers_and_the_reply_says_why():
    chunks = await answer(router(), door := ScriptedDoor(), said())

    decision = chunks[-1].decision
    assert door.asked == ["small"]
    assert (decision.route, decision.model, decision.reason) == ("default", "small", "first choice")
    assert chunks[0].decision.model == "small"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (said("word " * 3000), ["big", "api", "small"]),
        (said("你好", language="zh"), ["big", "api", "small"]),
        (said("hello", language="en"), ["small", "big", "api"]),
        (said(model="fast"), ["small", "big", "api"]),
        (said(model="big"), ["big"]),
        (said(model="remote"), ["api"]),
        (said(tools=(Tool(name="look"),)), ["api"]),
        (said(max_price=0.001), ["small", "big"]),
        (said(tenant="acme"), ["small", "big"]),
        (said(tenant="poor"), ["small", "big"]),
        (said(tenant="narrow"), ["big"]),
    ],
)
def test_a_request_finds_the_models_that_fit_it(request_: ChatRequest, expected: list[str]):
    assert order(router(), request_) == expected


async def full(it: Router, door: ScriptedDoor, many: int, priority: Priority = "chat") -> AsyncExitStack:
    """Have so many requests under way at `small`, in the middle of their answers."""
    door.scripts["small"] = ["hang"] * many
    under_way = AsyncExitStack()
    for _ in range(many):
        request = said(model="small").model_copy(update={"origin": Origin(tenant="default", priority=priority)})
        await anext(await under_way.enter_async_context(aclosing(ask(it, door, request, 60))))
    return under_way


def narrow(**replicas: int) -> Router:
    small = {**FLEET["models"]["small"], "slots": 1, "waiting": 1, "replicas": replicas or 1}
    return router(models=FLEET["models"] | {"small": small})


async def test_a_model_whose_every_place_is_taken_is_passed_over_before_it_is_asked_until_one_is_free():
    it, door = narrow(), ScriptedDoor()
    async with await full(it, door, 2):
        door.asked.clear()
        decision = (await answer(it, door, said()))[-1].decision

    assert door.asked == ["big"]
    assert "not small: full, 2 requests are under way there" in decision.sentence()
    assert order(it, said()) == ["small", "big", "api"]


async def test_a_place_to_wait_is_a_place():
    it, door = narrow(), ScriptedDoor()
    async with await full(it, door, 1):
        assert order(it, said())[0] == "small"


async def test_what_matters_less_makes_room_and_replicas_that_may_come_count():
    it, door = narrow(), ScriptedDoor()
    async with await full(it, door, 2, "backfill"):
        assert order(it, said())[0] == "small"
    it, door = narrow(min=1, max=2), ScriptedDoor()
    async with await full(it, door, 3):
        assert order(it, said())[0] == "small"


async def test_a_full_model_is_asked_where_there_is_no_other():
    it, door = narrow(), ScriptedDoor()
    async with await full(it, door, 2):
        assert order(it, said(model="small")) == ["small"]


@pytest.mark.parametrize(
    "cheat",
    [
        said(tenant="acme", model="api"),
        said(tenant="acme", model="remote"),
        said(tenant=None, model="api"),  # who names no tenant is under everybody's rules
        said(tenant="acme", model="remote", max_price=1e9),
        said(tenant="narrow", model="api"),
        said(tenant="poor", model="api"),
        said(tenant="default", model="api", max_price=0),
    ],
)
async def test_policy_can_not_be_talked_around(cheat: ChatRequest):
    door = ScriptedDoor()

    with pytest.raises(Forbidden):
        await answer(router(), door, cheat)

    assert door.asked == []


async def test_what_may_not_leave_does_not_leave_when_all_local_models_fail():
    door = ScriptedDoor(small=[Unavailable("gone")], big=[Misconfigured("missing")])

    with pytest.raises(Unavailable, match="small: gone big: missing"):
        await answer(router(), door, said(tenant="acme"))

    assert "api" not in door.asked


async def test_what_may_not_leave_is_no_canarys_either():
    canary = {"candidates": ["small"], "canary": {"model": "api", "percent": 100}}
    routes = {"default": canary, "only": {**canary, "candidates": ["api"]}}
    tried = router(routes=routes)
    door = ScriptedDoor()

    for _ in range(20):
        await answer(tried, door, said(tenant="acme"))
    with pytest.raises(Forbidden):
        await answer(tried, door, said(tenant="acme", model="only"))

    assert set(door.asked) == {"small"}
    assert order(tried, said(tenant="default")) == ["api", "small"]


def test_the_rules_of_all_bind_a_tenant_with_rules_of_its_own():
    policy = {"local_only": True, "tenants": {"acme": {"local_only": False}}}

    assert order(router(policy=policy), said(tenant="acme")) == ["small", "big"]


@pytest.mark.parametrize("name", ["gpt-9", "minilm", "embed", "../x"])
def test_what_is_no_chat_model_or_route_is_answered_with_those_there_are(name: str):
    with pytest.raises(NotFound, match=r"there is: small, big, api, .*default.* \(and minilm, which embeds\)"):
        router().choose(said(model=name))


def test_tools_that_must_not_be_called_exclude_no_model():
    assert order(router(), said(tools=(Tool(name="look"),), tool_choice="none")) == ["small", "big", "api"]


def test_a_model_without_tools_is_not_given_any():
    with pytest.raises(InvalidInput, match="no tools"):
        router().choose(said(model="small", tools=(Tool(name="look"),)))


@pytest.mark.parametrize(
    "error",
    [Unavailable("gone"), Overloaded("full", after=9), RateLimited("pause", after=9), Misconfigured("no weights")],
)
async def test_before_its_first_token_a_failure_goes_to_the_next_model(error: RunbellError):
    chunks = await answer(router(), door := ScriptedDoor(small=[error]), said())

    decision = chunks[-1].decision
    assert door.asked == ["small", "big"]
    assert (decision.model, decision.reason) == ("big", "fallback")
    assert [(one.model, one.reason) for one in decision.failed] == [("small", str(error))]
    assert "small failed" in decision.sentence()


async def test_after_its_first_token_a_failure_is_the_end_and_says_so():
    door = ScriptedDoor(small=["half"])

    with pytest.raises(Unavailable, match="small had said 10 characters"):
        await answer(router(), door, said())

    assert door.asked == ["small"]


async def test_wrong_input_is_not_tried_elsewhere_but_what_was_too_long_is():
    wrong, long = (
        ScriptedDoor(small=[InvalidInput("odd schema", field="json_schema")]),
        ScriptedDoor(small=[InvalidInput("too long", field="messages")]),
    )

    with pytest.raises(InvalidInput, match="odd schema"):
        await answer(router(), wrong, said())
    chunks = await answer(router(), long, said())

    assert wrong.asked == ["small"]
    assert chunks[-1].decision.model == "big"


async def test_a_lost_replica_is_asked_once_more_after_all_others():
    door = ScriptedDoor(api=[Lost("the actor died")])

    chunks = await answer(router(), door, said(model="api"))

    assert door.asked == ["api", "api"]
    assert [one.model for one in chunks[-1].decision.failed] == ["api"]


async def test_a_hanging_replica_is_left_at_the_deadline_and_closed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.asking.GRACE_S", 0.0)
    door = ScriptedDoor(small=["hang"])

    with pytest.raises(Unavailable, match="within"):
        await answer(router(), door, said(), timeout_s=0.05)

    assert door.closed == 1


async def test_leaving_closes_the_model():
    door = ScriptedDoor(small=["hang"])
    chunks = ask(router(), door, said(), 5)
    await anext(chunks)

    await chunks.aclose()

    assert door.closed == 1


async def test_a_model_that_fails_three_times_rests_and_is_tried_by_one_request_afterwards():
    clock = Clock()
    it = router(clock)
    door = ScriptedDoor(small=[Unavailable("gone")] * 3)
    for _ in range(3):
        await answer(it, door, said())
    door.asked.clear()

    resting = await answer(it, door, said())
    clock.now += 6
    tried = await answer(it, door, said())

    assert resting[-1].decision.model == "big"
    assert "failed 3 times" in resting[-1].decision.passed[0].reason
    assert tried[-1].decision.model == "small"
    assert door.asked == ["big", "small"]
    assert order(it, said())[0] == "small"


async def test_a_failed_try_doubles_the_pause():
    clock = Clock()
    it = router(clock)
    door = ScriptedDoor(small=[Unavailable("gone")] * 4)
    for _ in range(3):
        await answer(it, door, said())
    clock.now += 6
    await answer(it, door, said())
    clock.now += 6

    assert order(it, said())[0] == "big"
    clock.now += 5
    assert order(it, said())[0] == "small"


async def test_the_pause_that_an_endpoint_asks_for_is_kept_by_all_requests():
    clock = Clock()
    it = router(clock)
    await answer(it, ScriptedDoor(small=[RateLimited("pause", after=30)]), said())

    assert order(it, said())[0] == "big"
    clock.now += 31
    assert order(it, said())[0] == "small"


CANARY = {"candidates": ["small"], "canary": {"model": "big", "percent": 10, "judge_after": 5}}


async def test_a_canary_gets_its_share():
    routes = {"default": CANARY}

    chosen = await answer(router(chance=0.05, routes=routes), ScriptedDoor(), said())
    other = await answer(router(chance=0.2, routes=routes), ScriptedDoor(), said())

    assert (chosen[-1].decision.model, chosen[-1].decision.canary) == ("big", True)
    assert (other[-1].decision.model, other[-1].decision.canary) == ("small", False)


async def test_a_canary_that_fails_retreats_and_no_request_fails_of_it():
    it = router(chance=0.05, routes={"default": CANARY})
    door = ScriptedDoor(big=[Unavailable("gone")])

    during = await answer(it, door, said())
    after = await answer(it, door, said())

    assert during[-1].decision.model == after[-1].decision.model == "small"
    assert door.asked == ["big", "small", "small"]
    assert "canary withdrawn: 1 of its 1 requests failed" in after[-1].decision.sentence()


def test_a_slow_canary_retreats():
    it = router(chance=0.05, routes={"default": CANARY})
    choice = it.choose(said())
    small, big = it.fleet.models["small"], it.fleet.models["big"]
    for _ in range(5):
        it.succeeded(choice, small, 10.0)
    for _ in range(5):
        it.succeeded(choice, big, 30.0)

    assert order(it, said()) == ["small"]
    assert "30 ms instead of 10 ms" in it.choose(said()).passed[-1].reason


async def test_an_answer_says_what_it_costs():
    chunks = await answer(router(), ScriptedDoor(), said(model="big"))

    assert chunks[-1].decision.price == pytest.approx(1 * 1 + 0.5 * 2)
    assert chunks[-1].decision.currency == "USD"


def test_a_changed_fleet_keeps_what_was_learned():
    clock = Clock()
    it = router(clock)
    it.failed(it.choose(said()), it.fleet.models["small"], RateLimited("x", after=50))

    it.renew(Fleet.model_validate(FLEET | {"routes": {"default": ["small", "api"]}}))

    assert order(it, said()) == ["api", "small"]


HEDGED = {"default": {"candidates": ["small", "big", "api"], "hedge_after_s": 0.01}}


async def test_a_second_model_is_asked_where_the_first_is_slow_to_begin_and_the_slow_one_stopped():
    chunks = await answer(router(routes=HEDGED), door := ScriptedDoor(small=["mute"]), said())

    decision = chunks[-1].decision
    assert "".join(chunk.text for chunk in chunks) == "big says"
    assert [chunk.usage is not None for chunk in chunks] == [False, True]
    assert (door.asked, door.closed) == (["small", "big"], 2)
    assert (decision.model, decision.failed[0].model) == ("big", "small")
    assert "did not begin within 0.01 s" in decision.sentence()


async def test_without_the_setting_or_where_the_first_begins_in_time_nobody_else_is_asked(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("serving.asking.GRACE_S", 0.0)
    off, on = ScriptedDoor(small=["mute"]), ScriptedDoor()
    with pytest.raises(Unavailable):
        await answer(router(routes={"default": ["small", "big"]}), off, said(), timeout_s=0.1)
    await answer(router(routes={"default": {**HEDGED["default"], "hedge_after_s": 60}}), on, said())

    assert (off.asked, on.asked) == (["small"], ["small"])


async def test_a_race_goes_on_with_whoever_has_not_failed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.asking.GRACE_S", 0.0)
    door = ScriptedDoor(small=["mute"], big=[Overloaded("9 wait")])

    with pytest.raises(Overloaded, match=r"big: 9 wait small: .* within 0\.(2|1\d+) s"):
        await answer(router(routes=HEDGED), door, said(), timeout_s=0.2)

    assert (door.asked, door.closed) == (["small", "big"], 2)


async def test_a_failure_before_the_race_goes_to_the_next_at_once():
    door = ScriptedDoor(small=[Unavailable("gone")])

    chunks = await answer(router(routes=HEDGED), door, said())

    assert (chunks[-1].decision.model, door.asked) == ("big", ["small", "big"])


async def test_leaving_a_race_closes_both():
    stream = ask(router(routes=HEDGED), door := ScriptedDoor(small=["mute"], big=["mute"]), said(), 60)
    task = asyncio.ensure_future(anext(stream))
    while len(door.asked) < 2:  # noqa: ASYNC110 - it tells by nothing else
        await asyncio.sleep(0.01)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert door.closed == 2


def test_a_model_that_will_probably_fail_is_no_second():
    machine = router(routes={"default": {"candidates": ["api", "small"], "hedge_after_s": 1}})

    assert machine.choose(said()).hedge_after_s == 1
    assert machine.choose(said("word " * 3000)).hedge_after_s is None
