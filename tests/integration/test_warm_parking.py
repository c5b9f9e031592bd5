"""Runs that wait: parked they are held by nobody, and any worker resumes them under their own id."""

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

from integrations.database import Wait
from integrations.errors import InvalidInput
from integrations.messages import MessageStatus
from tests.warming import WarmHome, eventually, warm

__all__ = ["warm"]


def parked(warm: WarmHome, run_id: str) -> None:
    eventually(lambda: warm.queue_state(run_id) == "parked", "the run is parked")


def marks(warm: WarmHome, run_id: str, name: str) -> str:
    path = warm.folder / f"{run_id}.{name}"
    return path.read_text() if path.exists() else ""


def succeeded(warm: WarmHome, run_id: str) -> list[str | None]:
    return [step for kind, step in warm.kinds(run_id) if kind == "STEP_SUCCESS"]


def test_a_run_that_waits_is_held_by_nobody_and_says_what_it_waits_for(warm: WarmHome) -> None:
    with warm.worker() as worker:
        message_id, run_id = warm.message("approving")
        parked(warm, run_id)
        eventually(lambda: worker.busy == 0, "no thread holds the run")

        queued = warm.database.runs.get(run_id)
        assert queued is not None
        assert (queued.claimed_by, queued.lease_until, queued.attempts) == (None, None, 0)
        assert queued.parked is not None
        assert "waits for the event 'approved'" in str(queued.parked["reason"])
        assert warm.status(run_id) == "STARTED"
        view = warm.database.inbox.get(message_id)
        assert view is not None
        assert view.status is MessageStatus.WAITING
        told = [event.message or "" for event in warm.events(run_id) if event.is_engine_event]
        assert [text for text in told if text.startswith("Parked: `wait_for_approved_1h`")]
        assert not [text for text in told if "interrupted unexpectedly" in text]
        assert "STEP_FAILURE" not in [kind for kind, _ in warm.kinds(run_id)]


def test_a_parked_run_survives_its_platform_and_goes_on_where_it_stood(warm: WarmHome) -> None:
    with warm.worker_process() as process:
        message_id, run_id = warm.message("approving")
        parked(warm, run_id)
        os.killpg(process.pid, signal.SIGKILL)
    assert warm.database.events.send("approved", run_id, {"by": "ada"})

    with warm.worker():
        assert warm.ended(run_id) == "SUCCESS"

    assert succeeded(warm, run_id) == ["order", "wait_for_approved_1h", "pay"]
    assert (marks(warm, run_id, "order"), marks(warm, run_id, "pay")) == ("x", "x")
    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert [reply.text for reply in view.replies] == ["approved by ada"]


def test_a_worker_that_is_killed_after_the_event_came_does_not_lose_it(warm: WarmHome) -> None:
    run_id = warm.request("approving")
    with warm.worker_process() as process:
        parked(warm, run_id)
        os.killpg(process.pid, signal.SIGKILL)
    warm.database.events.send("approved", run_id, {"by": "ada"})
    # As if a worker had taken the event for the op and died before the op's success was committed.
    claim = warm.database.runs.claim("jobs", "dead", lease_s=0.01)[0]
    assert warm.database.events.take(claim, "wait_for_approved_1h", "approved", run_id) == {"by": "ada"}

    with warm.worker():
        assert warm.ended(run_id) == "SUCCESS"

    assert marks(warm, run_id, "pay") == "x"


def test_an_event_that_wakes_a_parked_run_is_taken_within_the_same_worker(warm: WarmHome) -> None:
    with warm.worker():
        run_id = warm.request("approving_by_key")
        parked(warm, run_id)
        warm.database.events.send("approved", "order-8", {"by": "nobody"})
        warm.database.events.send("approved", "order-7", {"by": "bob"})
        assert warm.ended(run_id) == "SUCCESS"

    assert (marks(warm, run_id, "order"), marks(warm, run_id, "pay")) == ("x", "x")


def test_an_event_that_came_before_anybody_waited_is_found(warm: WarmHome) -> None:
    warm.database.events.send("approved", "order-7", {"by": "early"})
    with warm.worker():
        run_id = warm.request("approving_by_key")
        assert warm.ended(run_id) == "SUCCESS"

    assert [e for e in warm.events(run_id) if (e.message or "").startswith("Parked")] == []


def test_an_event_that_comes_between_the_look_and_the_parking_is_not_lost(warm: WarmHome) -> None:
    claim = warm.claim("approving")
    assert warm.database.events.take(claim, "step", "approved", "k") is None
    warm.database.events.send("approved", "k", {})

    assert not warm.database.events.park(claim, [Wait("step", "waits", None, "approved", "k")])

    assert warm.queue_state(claim.run_id) == "queued"


def test_one_event_is_taken_by_one_run_and_sent_once(warm: WarmHome) -> None:
    events = warm.database.events
    first, second = warm.claim("approving", "a"), warm.claim("approving", "b")
    assert events.send("approved", "k", {"n": 1}, event_id="e1")
    assert not events.send("approved", "k", {"n": 2}, event_id="e1")

    assert events.take(first, "s", "approved", "k") == {"n": 1}
    assert events.take(second, "s", "approved", "k") is None
    assert events.take(first, "s", "approved", "k") == {"n": 1}


def test_an_event_that_is_too_large_is_refused(warm: WarmHome) -> None:
    with pytest.raises(InvalidInput, match="reference"):
        warm.database.events.send("approved", "k", {"data": "x" * 70_000})


def test_an_event_that_does_not_come_fails_the_run_in_plain_words(warm: WarmHome) -> None:
    with warm.worker():
        message_id, run_id = warm.message("expiring")
        assert warm.ended(run_id) == "FAILURE"

    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert "did not come until" in view.replies[0].text


def test_a_timer_lets_other_ops_go_first_and_ends_in_time(warm: WarmHome) -> None:
    with warm.worker():
        run_id = warm.request("timed")
        parked(warm, run_id)
        assert marks(warm, run_id, "meanwhile") == "x"
        assert warm.ended(run_id) == "SUCCESS"

    assert sorted(map(str, succeeded(warm, run_id))) == ["late", "meanwhile", "soon", "wait_until"]
    assert (marks(warm, run_id, "soon"), marks(warm, run_id, "meanwhile")) == ("x", "x")


def test_long_delays_of_retries_park(warm: WarmHome) -> None:
    with warm.worker():
        run_id = warm.request("retrying_slowly")
        parked(warm, run_id)
        assert warm.ended(run_id) == "SUCCESS"

    assert marks(warm, run_id, "tried") == "xxx"
    assert marks(warm, run_id, "noted") == "x"
    kinds = [kind for kind, step in warm.kinds(run_id) if step == "slowly_flaky"]
    assert kinds.count("STEP_UP_FOR_RETRY") == 2
    assert kinds.count("STEP_SUCCESS") == 1


def test_a_parked_run_is_canceled_at_once(warm: WarmHome) -> None:
    with warm.worker():
        run_id = warm.request("approving")
        parked(warm, run_id)
        warm.database.runs.request_cancel(run_id)
        assert warm.ended(run_id) == "CANCELED"

    assert marks(warm, run_id, "pay") == ""


def test_a_wait_lasts_as_long_whatever_the_clock_of_the_machine_that_parks_says(warm: WarmHome) -> None:
    slow, fast = warm.claim("timed", "slow"), warm.claim("timed", "fast")
    now = datetime.now(UTC)
    wait = Wait("soon", "waits", now)

    warm.database.events.park(slow, [wait], now=now - timedelta(hours=1))
    warm.database.events.park(fast, [wait], now=now + timedelta(hours=1))

    assert [claim.run_id for claim in warm.database.runs.claim("jobs", "next", limit=5)] == [fast.run_id]
