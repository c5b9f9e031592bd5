"""The bounds of a request within a model call: the tokens that are left."""

from integrations.settings_plans import Plans
from orchestration.ops.answering.plans import Plan
from orchestration.ops.answering.rounds import within
from serving.schema import ChatMessage, ChatRequest

ASKED = ChatRequest(messages=(ChatMessage(role="user", content="a b c " * 100),), max_tokens=1_500)  # some 208 tokens


def spent(tokens: int) -> Plan:
    return Plan(request="pay", language="en", tokens=tokens)


def test_a_call_may_take_what_its_prompt_leaves_of_the_tokens():
    bounded = within(ASKED, spent(500), Plans(tokens=1_000))

    assert bounded is not None
    assert 250 <= bounded.max_tokens <= 300
    assert bounded.messages == ASKED.messages


def test_a_call_is_as_long_as_ever_where_there_is_enough():
    assert within(ASKED, spent(500), Plans()) == ASKED


def test_a_call_that_could_say_nothing_is_not_made():
    assert within(ASKED, spent(500), Plans(tokens=720)) is None
