"""A failed run is retried from where it failed: by chat or over REST, under a new id, with an answer of its own."""

import uuid

import dagster as dg
import pytest

from integrations.messages import Address, InboundMessage, MessageStatus, run_id_for
from tests.warming import WarmHome, eventually, warm

__all__ = ["warm"]


def executed(warm: WarmHome, run_id: str) -> list[str]:
    return [event.step_key or "" for event in warm.events(run_id) if event.event_type_value == "STEP_SUCCESS"]


def structured(warm: WarmHome, command: str, **args: object) -> str:
    """Receive a structured command as `POST /v1/runs` stores it; returns the message's id."""
    address = Address(channel="rest", conversation=uuid.uuid4().hex)
    message = InboundMessage(
        address=address, event_id=uuid.uuid4().hex, account="ada", command=command, args=dict(args)
    )
    (received,) = warm.database.inbox.receive([message])
    assert received.message_id is not None
    return received.message_id


def test_a_retry_executes_only_what_had_not_succeeded_and_answers_its_own_message(warm: WarmHome) -> None:
    with warm.worker("core"):
        first = warm.say("/mendable", "here")
        assert warm.answered(first).status is MessageStatus.FAILED
        (warm.folder / "mended").touch()
        second = warm.say("/retry", "here")
        view = warm.answered(second)
        warm.ended(run_id_for(second))

    assert view.status is MessageStatus.ANSWERED
    assert "it is 2" in view.replies[0].text
    assert executed(warm, run_id_for(first)) == ["one", "more"]
    assert executed(warm, run_id_for(second)) == ["mended", "told"]
    run = warm.instance.get_run_by_id(run_id_for(second))
    assert run is not None
    assert (run.parent_run_id, run.root_run_id) == (run_id_for(first), run_id_for(first))
    assert warm.database.inbox.get(first).status is MessageStatus.FAILED


def test_a_retry_by_id_may_fail_again_and_be_retried(warm: WarmHome) -> None:
    with warm.worker("core"):
        first = structured(warm, "mendable")
        warm.answered(first)
        second = structured(warm, "retry", run=run_id_for(first))
        assert warm.answered(second).status is MessageStatus.FAILED
        (warm.folder / "mended").touch()
        third = structured(warm, "retry", run=run_id_for(second)[:12])
        assert warm.answered(third).status is MessageStatus.ANSWERED
        warm.ended(run_id_for(third))

    run = warm.instance.get_run_by_id(run_id_for(third))
    assert run is not None
    assert (run.parent_run_id, run.root_run_id) == (run_id_for(second), run_id_for(first))
    assert run.tags["dagster/is_resume_retry"] == "true"


def test_what_can_not_be_retried_says_why(warm: WarmHome) -> None:
    with warm.worker("core"):
        nothing = warm.answered(warm.say("/retry"))
        done = warm.say("/five")
        warm.answered(done)
        warm.ended(run_id_for(done))
        succeeded = warm.answered(warm.say(f"/retry {run_id_for(done)}"))
        unknown = warm.answered(structured(warm, "retry", run="4711-not-there"))

    assert "None of your last runs has failed" in nothing.replies[0].text
    assert "has succeeded" in succeeded.replies[0].text
    assert (unknown.status, unknown.run_id) == (MessageStatus.FAILED, None)


def test_others_runs_are_not_retried(warm: WarmHome) -> None:
    with warm.worker("core"):
        first = warm.say("/mendable")
        warm.answered(first)
        address = Address(channel="rest", conversation="bobs")
        message = InboundMessage(address=address, event_id="b", account="bob", text=f"/retry {run_id_for(first)}")
        (received,) = warm.database.inbox.receive([message])
        view = warm.answered(received.message_id or "")

    assert "You have no run whose id begins" in view.replies[0].text


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.SUCCESS, None])
def test_a_run_that_has_not_failed_in_dagster_is_not_retried(
    warm: WarmHome, status: dg.DagsterRunStatus | None
) -> None:
    with warm.worker("jobs"):
        parent = warm.request("five")
        warm.ended(parent)
        of = parent if status else str(uuid.uuid4())
        run_id = warm.request("five", retry_of=of)
        eventually(lambda: warm.queue_state(run_id) == "finished", "the request ends")

    assert warm.status(run_id) is None
