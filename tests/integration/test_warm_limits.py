"""Time limits of ops, and threads that do not stop."""

import time

import pytest

from integrations.messages import MessageStatus
from tests.warming import WarmHome, eventually, warm

__all__ = ["warm"]


def thread_returned(caplog: pytest.LogCaptureFixture) -> None:
    """Wait until the thread that was given up has come back and has found that the run is no longer its own."""
    eventually(lambda: "left to another worker" in caplog.text, "the thread returns")


def test_an_op_that_takes_too_long_fails_in_plain_words_and_may_be_retried(warm: WarmHome) -> None:
    with warm.worker():
        message_id, run_id = warm.message("overrunning")
        assert warm.ended(run_id) == "FAILURE"

    kinds = warm.kinds(run_id)
    assert ("STEP_FAILURE", "too_long") in kinds
    assert ("STEP_UP_FOR_RETRY", "too_long_once") in kinds
    assert ("STEP_SUCCESS", "told_2") in kinds
    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert "took longer than 0.5 s" in view.replies[0].text


def test_a_thread_that_hangs_past_its_limit_is_given_up_and_its_worker_is_replaced(
    warm: WarmHome, caplog: pytest.LogCaptureFixture
) -> None:
    with warm.worker(stuck_after_s=0.5) as worker:
        message_id, run_id = warm.message("stuck")
        began = time.monotonic()
        assert warm.ended(run_id) == "FAILURE"
        assert time.monotonic() - began < 15
        eventually(worker.done.is_set, "the worker asks to be replaced")
        later = warm.request("five")
        assert warm.queue_state(later) == "queued"
        thread_returned(caplog)
    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert view.status is MessageStatus.FAILED
    assert "the op took longer than 0.5 s" in view.replies[0].text
    assert len(view.replies) == 1

    with warm.worker():
        assert warm.ended(later) == "SUCCESS"
    assert ("STEP_SUCCESS", "in_native_code") not in warm.kinds(run_id)


def test_a_thread_that_hangs_past_the_limit_of_its_run_is_told_that_limit(
    warm: WarmHome, caplog: pytest.LogCaptureFixture
) -> None:
    with warm.worker(stuck_after_s=0.5):
        message_id, run_id = warm.message("hanging_too_long")
        assert warm.ended(run_id) == "FAILURE"
        thread_returned(caplog)

    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert "the run took longer than 0.5s, the time_limit of its command" in view.replies[0].text


def test_a_canceled_run_whose_thread_hangs_is_marked_as_canceled(
    warm: WarmHome, caplog: pytest.LogCaptureFixture
) -> None:
    with warm.worker(stuck_after_s=0.5) as worker:
        run_id = warm.request("hanging")
        eventually(lambda: ("STEP_START", "hangs") in warm.kinds(run_id), "the op hangs")
        warm.database.runs.request_cancel(run_id)
        assert warm.ended(run_id) == "CANCELED"
        eventually(worker.done.is_set, "the worker asks to be replaced")
        thread_returned(caplog)
    assert warm.status(run_id) == "CANCELED"
