"""The time and tokens of a plan's request end a model call, too, and what was done is told."""

from collections.abc import Callable

import dagster as dg

from orchestration.actions import Outcome
from orchestration.ops.answering.prompts import tokens_in
from orchestration.testing import Conversation
from serving.client import ScriptedModels
from tests.integration.test_plans import GET, NAMED, answer, plan

Open = Callable[..., Conversation]
LONG = answer("word " * 400)


def talk(conversation: Open, models: ScriptedModels, **bounds: object) -> Conversation:
    return conversation(
        dg.Definitions(),
        model=models,
        actions={"http_request": Outcome(text="not paid")},
        roles=("user", "admin"),
        settings={"actions": NAMED, "plans": bounds},
    )


def test_a_call_ends_with_the_time_of_its_request(conversation: Open):
    models = ScriptedModels([plan(GET), LONG], strong=True, delay_s=0.02)
    chat = talk(conversation, models, seconds="2s")

    said = chat.say("Is order 7 paid?")

    assert said.status == "answered"
    assert said.answer == "I stopped here: one request may take 2 seconds (setting plans.seconds)."


def test_a_call_ends_with_the_tokens_of_its_request(conversation: Open):
    free = ScriptedModels([plan(GET), LONG], strong=True)
    talk(conversation, free).say("Is order 7 paid?")
    first, second = (request.messages for request in free.requests)
    models = ScriptedModels([plan(GET), LONG], strong=True)
    chat = talk(conversation, models, tokens=free.count_tokens(first) + tokens_in(second) + 200)

    said = chat.say("Is order 7 paid?")

    assert 150 < models.requests[1].max_tokens < 200
    assert said.answer == " ".join(["word"] * said.answer.count("word"))
    assert said.answer.count("word") < 200


def test_a_call_that_has_no_tokens_left_is_not_made(conversation: Open):
    models = ScriptedModels([plan(GET), LONG], strong=True)
    chat = talk(conversation, models, tokens=1_000)

    said = chat.say("Is order 7 paid?")

    assert len(models.requests) == 1
    assert said.answer == "I stopped here: one request may take 1000 tokens (setting plans.tokens)."
