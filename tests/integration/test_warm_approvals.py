"""Approvals inside runs: the run parks, nobody holds it, and its page says what it waited for and who decided."""

import os
import signal
from datetime import timedelta

import pytest

from integrations.approvals.values import Approval
from integrations.database.approvals import Word
from tests.approvals import let_pass, now, person, say, shown
from tests.warming import WarmHome, eventually, warm

__all__ = ["warm"]


@pytest.fixture
def bob(warm):
    return person(warm.database, "bob", "manager")


def asked(warm: WarmHome, run_id: str, before: Approval | None = None) -> Approval:
    """Return what a run waits for, once it is parked for that."""

    def found() -> Approval | None:
        mine = warm.database.approvals.concerning(_boss(warm))
        return next((one for one in mine if one.run_id == run_id and one.id != getattr(before, "id", "")), None)

    eventually(found, "an approval is asked for")
    eventually(lambda: warm.queue_state(run_id) == "parked", "the run is parked")
    approval = found()
    assert approval is not None
    return approval


def _boss(warm):
    return person(warm.database, "boss", "admin")


def marks(warm: WarmHome, run_id: str, name: str) -> str:
    path = warm.folder / f"{run_id}.{name}"
    return path.read_text() if path.exists() else ""


def test_a_run_waits_for_its_approval_over_the_death_of_its_worker_and_does_one_effect(warm, bob):
    with warm.worker_process() as process:
        message_id, run_id = warm.message("refunding")
        approval = asked(warm, run_id)
        told = [event.message or "" for event in warm.events(run_id) if event.is_engine_event]
        os.killpg(process.pid, signal.SIGKILL)
    assert say(warm.database, approval, bob, reason="late parcel").outcome == "approved"
    assert say(warm.database, approval, bob).outcome == "over"

    with warm.worker():
        assert warm.ended(run_id) == "SUCCESS"

    assert [text for text in told if f"waits for approval {approval.id} by manager" in text]
    assert (marks(warm, run_id, "order"), marks(warm, run_id, "pay")) == ("x", "x")
    view = warm.database.inbox.get(message_id)
    assert [reply.text for reply in view.replies] == ["paid 12.50, approved by Bob"]
    assert '"amount": "12.50"' in shown(warm.database)[0]
    metadata = _metadata(warm, run_id, "wait_for_approval_refund_this_order")
    assert (metadata["approved_by"], metadata["reason"]) == ("Bob", "late parcel")


def test_a_denied_run_fails_with_the_reason_and_does_nothing(warm, bob):
    with warm.worker():
        message_id, run_id = warm.message("refunding")
        approval = asked(warm, run_id)
        say(warm.database, approval, bob, "deny", "wrong customer")
        assert warm.ended(run_id) == "FAILURE"

    assert marks(warm, run_id, "pay") == ""
    assert f"Bob denied approval {approval.id}: Refund this order? (wrong customer)" in _answer(warm, message_id)


def test_an_expired_approval_fails_the_run(warm):
    with warm.worker():
        message_id, run_id = warm.message("refunding")
        approval = asked(warm, run_id)
        let_pass(warm.database, approval, timedelta(days=1))
        warm.database.approval_timers.look()
        assert warm.ended(run_id) == "FAILURE"

    assert f"Nobody decided approval {approval.id}" in _answer(warm, message_id)


def test_a_canceled_run_voids_its_approval(warm, bob):
    with warm.worker():
        message_id, run_id = warm.message("refunding")
        approval = asked(warm, run_id)
        warm.database.runs.request_cancel(run_id)
        assert warm.ended(run_id) == "CANCELED"

    assert say(warm.database, approval, bob).outcome == "over"
    assert now(warm.database, approval).state == "voided"
    assert marks(warm, run_id, "pay") == ""
    assert "was canceled" in _answer(warm, message_id)


def test_an_op_that_wants_something_else_the_next_time_asks_anew(warm, bob):
    with warm.worker():
        run_id = warm.request("changing_its_mind")
        first = asked(warm, run_id)
        say(warm.database, first, bob)
        second = asked(warm, run_id, before=first)
        assert (now(warm.database, first).state, second.shown) == ("voided", 'Pay?\n{"amount": "2"}')
        say(warm.database, second, bob)
        assert warm.ended(run_id) == "SUCCESS"


def test_a_forged_event_wakes_the_run_but_decides_nothing(warm, bob):
    with warm.worker():
        run_id = warm.request("refunding")
        approval = asked(warm, run_id)
        for _ in range(2):
            warm.database.events.send("runbell.approval", approval.id, {"state": "approved"})
        eventually(lambda: _parkings(warm, run_id) >= 2, "the run was woken and parked again")
        assert warm.database.approvals.decide(Word(approval.id, person(warm.database, "eve"), "approve")).outcome == (
            "forbidden"
        )
        assert marks(warm, run_id, "pay") == ""
        say(warm.database, approval, bob)
        assert warm.ended(run_id) == "SUCCESS"


def _parkings(warm, run_id):
    return sum((event.message or "").startswith("Parked:") for event in warm.events(run_id) if event.is_engine_event)


def _answer(warm, message_id):
    view = warm.database.inbox.get(message_id)
    return "\n".join(reply.text for reply in view.replies)


def _metadata(warm, run_id, step):
    for event in warm.events(run_id):
        if event.is_successful_output and event.step_key == step:
            return {name: value.value for name, value in event.step_output_data.metadata.items()}
    raise AssertionError(f"{step} put nothing out")
