"""Runs in a process of their own: under the same lease, with the same answer, canceled and resumed as any other."""

import os
import signal

from integrations.messages import MessageStatus
from tests.pools import alive
from tests.warming import WarmHome, eventually, warm

__all__ = ["warm"]


def marks(warm: WarmHome, run_id: str, name: str) -> str:
    path = warm.folder / f"{run_id}.{name}"
    return path.read_text() if path.exists() else ""


def pid_of(warm: WarmHome, run_id: str) -> int:
    eventually(lambda: marks(warm, run_id, "pid") and marks(warm, run_id, "started"), "the run executes", 60)
    return int(marks(warm, run_id, "pid"))


def test_a_run_in_its_own_process_parks_goes_on_and_answers_its_message_once(warm: WarmHome) -> None:
    with warm.worker() as worker:
        message_id, run_id = warm.message("approving_apart")
        eventually(lambda: warm.queue_state(run_id) == "parked", "the run is parked", 60)
        eventually(lambda: worker.busy == 0, "no thread holds the run")

        warm.database.events.send("approved", run_id, {"by": "ada"})
        assert warm.ended(run_id, within_s=60) == "SUCCESS"

    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert (view.status, [reply.text for reply in view.replies]) == (MessageStatus.ANSWERED, ["approved by ada"])
    assert (marks(warm, run_id, "order"), marks(warm, run_id, "pay")) == ("x", "x")


def test_a_killed_process_of_a_run_is_followed_by_another_that_goes_on(warm: WarmHome) -> None:
    with warm.worker():
        run_id = warm.request("waiting_apart")
        first = pid_of(warm, run_id)
        assert first != os.getpid()
        eventually(lambda: ("STEP_SUCCESS", "noted") in warm.kinds(run_id), "what has succeeded is stored")

        os.kill(first, signal.SIGKILL)
        (warm.folder / f"{run_id}.go").touch()

        assert warm.ended(run_id, within_s=60) == "SUCCESS"
    assert marks(warm, run_id, "noted") == "x"
    assert marks(warm, run_id, "started") == "xx"


def test_a_run_in_its_own_process_is_canceled_and_counts_as_the_workers(warm: WarmHome) -> None:
    with warm.worker() as worker:
        run_id = warm.request("waiting_apart")
        other = pid_of(warm, run_id)
        assert worker.busy == 1

        warm.database.runs.request_cancel(run_id)

        assert warm.ended(run_id) == "CANCELED"
        eventually(lambda: not alive(other) and worker.busy == 0, "its process has ended")


def test_what_a_job_may_not_ask_for_fails_in_words_that_the_answer_and_the_ui_tell(warm: WarmHome) -> None:
    with warm.worker():
        wrong, greedy = warm.message("isolated_wrongly"), warm.message("isolated_greedily")
        assert {warm.ended(run_id) for _, run_id in (wrong, greedy)} == {"FAILURE"}

    for (message_id, run_id), words in ((wrong, "may be warm, process, ray"), (greedy, "isolation.gpus allows 0")):
        view = warm.database.inbox.get(message_id)
        assert view is not None
        assert words in view.replies[0].text
        assert [event for event in warm.events(run_id) if event.is_failure and words in (event.message or "")]


def test_tags_that_come_with_a_request_isolate_nothing(warm: WarmHome) -> None:
    with warm.worker():
        run_id = warm.request("here", tags={"runbell/isolation": "process", "runbell/gpus": "8"})
        assert warm.ended(run_id) == "SUCCESS"

    assert marks(warm, run_id, "pid") == str(os.getpid())
