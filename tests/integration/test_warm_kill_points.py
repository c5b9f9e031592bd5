"""A worker that is killed for real in the middle of a statement: of each that brings a run from one state to the next.

A trigger holds the statement up until the worker is dead; its server side then goes on, as after any lost connection.
"""

import os
import signal

import pytest

from integrations.messages import MessageStatus
from tests.killing import held_up, is_there, worker
from tests.warming import WarmHome, eventually, warm

__all__ = ["warm"]

POINTS = {
    "claim": "update on runbell.run_queue when (old.state = 'queued' and new.state = 'running')",
    "creation": "insert on public.runs when (true)",
    "op begins": "insert on public.event_logs when (new.dagster_event_type = 'STEP_START' and new.step_key = 'noted')",
    "op ends": "insert on public.event_logs when (new.dagster_event_type = 'STEP_SUCCESS' and new.step_key = 'noted')",
    "between ops": "insert on public.event_logs when (new.dagster_event_type = 'STEP_UP_FOR_RETRY')",
    "park": "update on runbell.run_queue when (new.state = 'parked')",
    "resume": "update on runbell.run_queue when (old.state = 'parked' and new.state = 'running')",
    "end": "update on public.runs when (new.status = 'SUCCESS')",
    "reply": "insert on runbell.outbox when (true)",
    "finish": "update on runbell.run_queue when (new.state = 'finished')",
}


@pytest.mark.parametrize("point", POINTS)
def test_a_run_whose_worker_is_killed_at_any_point_ends_as_if_nothing_had_been(warm: WarmHome, point: str) -> None:
    with held_up(warm, POINTS[point]) as holder, worker(warm) as process:
        message_id, run_id = warm.message("pausing")
        eventually(lambda: is_there(holder), f"the worker is at the point: {point}")
        process.kill()
        process.join(10)
    for dead in warm.database.workers.live():
        warm.database.workers.lost(dead.id)  # as the pool does, instead of waiting for the lease to end

    with warm.worker():
        view = warm.answered(message_id)
        assert warm.ended(run_id) == "SUCCESS"

    assert view.status is MessageStatus.ANSWERED
    assert [reply.text for reply in view.replies] == ["it is 1"]
    steps = [(kind, step) for kind, step in warm.kinds(run_id) if kind in {"STEP_START", "STEP_SUCCESS"}]
    assert [step for kind, step in steps if kind == "STEP_SUCCESS"] == ["one", "noted", "pauses", "told"]
    for op in ("one", "noted", "pauses", "told"):
        assert ("STEP_START", op) not in steps[steps.index(("STEP_SUCCESS", op)) :]
    assert [kind for kind, _ in warm.kinds(run_id)].count("PIPELINE_SUCCESS") == 1


def test_a_worker_that_hangs_finds_its_run_taken_when_it_wakes(warm: WarmHome) -> None:
    with worker(warm) as hanging:
        message_id, run_id = warm.message("waiting")
        started = warm.folder / f"{run_id}.started"
        eventually(started.exists, "the op waits")
        assert hanging.pid is not None
        os.kill(hanging.pid, signal.SIGSTOP)
        with warm.worker():
            eventually(lambda: started.read_text() == "xx", "another worker has the run")
            (warm.folder / f"{run_id}.go").touch()
            assert warm.ended(run_id) == "SUCCESS"
            before = warm.kinds(run_id)
        os.kill(hanging.pid, signal.SIGCONT)
        eventually(lambda: [w.busy for w in warm.database.workers.live()] == [0], "it has let go of the run")

    assert warm.kinds(run_id) == before
    assert [reply.text for reply in warm.answered(message_id).replies] == ["it is 1"]
