"""What a plan is told of a command that it has started: how it ended, in words, and only what is its own to hear."""

from dataclasses import replace
from datetime import timedelta

import pytest

from integrations.database import Entry, MessageView
from integrations.messages import Address, MessageStatus, Receipt, utc_now
from orchestration.ops.answering.command_results import result_of
from orchestration.ops.answering.values import Heard

HERE, THERE = Address(channel="web", conversation="c1"), Address(channel="web", conversation="c2")
HEARD = Heard("m1", HERE, "p1", True, "ship it", 7, "en", utc_now())


ANSWERED = MessageView(
    message_id="m2",
    address=HERE,
    event_id="action:r1",
    principal_id="p1",
    account="ada",
    text="",
    status=MessageStatus.ANSWERED,
    run_id="r2",
    error=None,
    receipt=Receipt(),
    replies=(Entry(1, HERE, "m2", "r2", None, "assistant", "shipped", utc_now()),),
)
WAITING = replace(ANSWERED, status=MessageStatus.WAITING, waits_for="approval by Bob")


@pytest.mark.parametrize(
    ("view", "outcome", "text"),
    [
        (ANSWERED, "done", "shipped"),
        (replace(ANSWERED, replies=()), "done", "said nothing"),
        (replace(ANSWERED, status=MessageStatus.FAILED), "failed", "shipped"),
        (
            replace(ANSWERED, status=MessageStatus.DEAD, replies=(), error="claimed too often"),
            "failed",
            "claimed too often",
        ),
        (replace(ANSWERED, run_id=None), "failed", "it did not run: shipped"),
        (WAITING, "failed", "after 2h; it goes on"),
        (WAITING, "failed", "approval by Bob"),
    ],
)
def test_how_a_command_ended_is_told_in_words(view: MessageView, outcome: str, text: str):
    found = result_of(view, HEARD, timedelta(hours=2))

    assert found[0] == outcome
    assert text in found[1]


@pytest.mark.parametrize("view", [replace(ANSWERED, principal_id="p2"), replace(ANSWERED, address=THERE)])
def test_what_a_command_has_answered_to_others_is_told_to_them_only(view: MessageView):
    assert result_of(view, HEARD, timedelta(hours=2)) == ("failed", "it ran for somebody else, whose its answer is")
