"""Runs that are cut short: canceled, killed with their worker, taken over, drained."""

import os
import signal
import time

import pytest
import sqlalchemy as sa

from integrations.errors import LeaseLost
from integrations.messages import MessageStatus
from orchestration.warm.interrupt import Reason
from tests.warming import LEASE_S, WarmHome, eventually, warm

__all__ = ["warm"]


def started(warm: WarmHome, run_id: str, times: int = 1) -> None:
    """Wait until the op `waits` of the job `waiting` has begun so many times."""
    marker = warm.folder / f"{run_id}.started"
    eventually(lambda: marker.exists() and len(marker.read_text()) >= times, f"op started {times} times")
    # A crash may lose the last 20 ms of step events; what these tests look at is older.
    eventually(lambda: ("STEP_START", "waits") in warm.kinds(run_id), "the op's start is stored")


def go_on(warm: WarmHome, run_id: str) -> None:
    (warm.folder / f"{run_id}.go").touch()


def test_a_run_whose_worker_is_killed_goes_on_without_repeating_what_succeeded(warm: WarmHome) -> None:
    with warm.worker_process() as process:
        message_id, run_id = warm.message("waiting")
        started(warm, run_id)
        os.killpg(process.pid, signal.SIGKILL)
    with warm.worker():
        started(warm, run_id, times=2)
        go_on(warm, run_id)
        assert warm.ended(run_id) == "SUCCESS"

    assert (warm.folder / f"{run_id}.noted").read_text() == "x"
    succeeded = [step for kind, step in warm.kinds(run_id) if kind == "STEP_SUCCESS"]
    assert succeeded == ["one", "noted", "waits", "told"]
    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert view.status is MessageStatus.ANSWERED
    assert [reply.text for reply in view.replies] == ["it is 1"]


def test_a_drained_worker_hands_its_run_to_the_next_at_once(warm: WarmHome) -> None:
    with warm.worker() as first:
        run_id = warm.request("waiting")
        started(warm, run_id)
        first.drain(grace_s=0.1)
        assert warm.queue_state(run_id) == "queued"
        assert warm.status(run_id) == "STARTED"
        assert ("STEP_FAILURE", "waits") not in warm.kinds(run_id)
    with warm.worker():
        started(warm, run_id, times=2)
        go_on(warm, run_id)
        assert warm.ended(run_id) == "SUCCESS"

    assert (warm.folder / f"{run_id}.noted").read_text() == "x"


def test_a_run_canceled_by_its_user_ends_within_a_second(warm: WarmHome) -> None:
    with warm.worker():
        message_id, run_id = warm.message("waiting")
        started(warm, run_id)
        began = time.monotonic()
        warm.database.runs.request_cancel(run_id)
        assert warm.ended(run_id) == "CANCELED"
        took = time.monotonic() - began

    assert took < 5  # aimed at one second; the machine is shared
    assert ("STEP_FAILURE", "waits") in warm.kinds(run_id)
    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert view.status is MessageStatus.FAILED
    assert "was canceled" in view.replies[0].text


def test_a_run_canceled_before_a_worker_takes_it_does_not_execute(warm: WarmHome) -> None:
    run_id = warm.request("waiting")
    warm.database.runs.request_cancel(run_id)
    with warm.worker():
        assert warm.ended(run_id) == "CANCELED"

    assert not (warm.folder / f"{run_id}.noted").exists()


def test_a_worker_whose_lease_was_lost_stops_and_writes_nothing_more(warm: WarmHome) -> None:
    with warm.worker() as worker:
        run_id = warm.request("waiting")
        started(warm, run_id)
        before = warm.kinds(run_id)
        with warm.database.engine.begin() as connection:
            connection.execute(
                sa.text(
                    "update runbell.run_queue set token = token + 1000000, claimed_by = 'another',"
                    " lease_until = now() + interval '1 hour' where run_id = :run"
                ),
                {"run": run_id},
            )
        eventually(lambda: worker.busy == 0, "the worker lets go", within_s=4 * LEASE_S)

    assert warm.kinds(run_id) == before
    assert warm.status(run_id) == "STARTED"
    assert warm.queue_state(run_id) == "running"


def test_a_commit_under_a_lost_lease_is_refused_by_the_database(warm: WarmHome) -> None:
    claim = warm.claim("waiting")
    storage = warm.instance.warm_storage
    storage.gather()
    storage.hold(claim.run_id, claim.token - 1)
    run = warm.instance.create_run_for_job(_job(), run_id=claim.run_id)

    warm.instance.report_engine_event("too late", run)
    with pytest.raises(LeaseLost):
        storage.flush(claim.run_id)

    assert warm.events(claim.run_id) == []


def test_a_run_that_ended_with_its_worker_before_the_answer_is_answered_by_the_next(warm: WarmHome) -> None:
    with warm.worker():
        message_id, run_id = warm.message("five")
        warm.ended(run_id)
    with warm.database.engine.begin() as connection:
        # As if the worker had died between the run's last event and the answer.
        connection.execute(sa.text("delete from runbell.outbox"))
        connection.execute(sa.text("delete from runbell.transcript where role = 'assistant'"))
        connection.execute(sa.text("update runbell.inbox set state = 'running', replied_at = null"))
        connection.execute(
            sa.text("update runbell.run_queue set state = 'running', lease_until = now() - interval '1 s'")
        )
    with warm.worker():
        eventually(lambda: warm.queue_state(run_id) == "finished", "the row is finished")

    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert [reply.text for reply in view.replies] == ["it is 4"]
    assert [kind for kind, _ in warm.kinds(run_id)].count("PIPELINE_SUCCESS") == 1


def test_a_run_that_kills_every_worker_is_given_up(warm: WarmHome) -> None:
    message_id, run_id = warm.message("waiting")
    with warm.database.engine.begin() as connection:
        connection.execute(sa.text("update runbell.run_queue set attempts = 5"))
    with warm.worker():
        assert warm.ended(run_id) == "FAILURE"

    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert view.status is MessageStatus.FAILED


def test_an_op_that_sleeps_is_stopped_at_once(warm: WarmHome) -> None:
    with warm.worker():
        run_id = warm.request("sleeping")
        eventually(lambda: ("STEP_START", "sleeps") in warm.kinds(run_id), "the op sleeps")
        warm.database.runs.request_cancel(run_id)
        assert warm.ended(run_id, within_s=10) == "CANCELED"


def test_reasons_are_sentences() -> None:
    assert all(" " in reason for reason in Reason)


def _job():
    from tests.integration import warm_jobs

    return warm_jobs.defs.get_repository_def().get_job("waiting")


def test_leases_of_a_worker_that_is_known_to_be_dead_end_at_once(warm: WarmHome) -> None:
    warm.request("five")
    (held,) = warm.database.runs.claim("jobs", "dead", lease_s=600)
    warm.request("five")
    (kept,) = warm.database.runs.claim("jobs", "alive", lease_s=600)

    assert warm.database.workers.lost("dead") == 1

    (taken,) = warm.database.runs.claim("jobs", "alive", lease_s=600)
    assert (taken.run_id, taken.attempts) == (held.run_id, 2)
    assert warm.database.runs.heartbeat({held.run_id: held.token, kept.run_id: kept.token}) == {held.run_id}
