"""Workers of the core location: they route messages, execute what becomes runs, and keep a thread for control."""

import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy import event

from integrations.messages import MessageStatus, run_id_for
from tests.warming import WarmHome, eventually, warm

__all__ = ["warm"]


def test_a_typed_command_is_routed_executed_and_answered_by_one_worker(warm: WarmHome) -> None:
    with warm.worker("core"):
        view = warm.answered(warm.say("/five start=4"))

    assert view.status is MessageStatus.ANSWERED
    assert view.run_id == run_id_for(view.message_id)
    assert [reply.text for reply in view.replies] == ["it is 7"]
    run = warm.instance.get_run_by_id(view.run_id or "")
    assert run is not None
    assert run.tags["runbell/message"] == view.message_id
    assert run.tags["runbell/trigger"] == "message"
    assert None not in (view.receipt.claimed_at, view.receipt.started_at, view.receipt.replied_at)


def test_control_commands_are_answered_while_every_thread_is_busy(warm: WarmHome) -> None:
    with warm.worker("core", threads=2) as worker:
        busy = [warm.say("/waiting") for _ in range(3)]
        eventually(lambda: worker.busy == 2, "both threads are busy")
        view = warm.answered(warm.say("/status"), within_s=10)
        assert view.status is MessageStatus.ANSWERED
        assert worker.busy == 2
        for message_id in busy:
            (warm.folder / f"{run_id_for(message_id)}.go").touch()
        assert {warm.answered(message_id).status for message_id in busy} == {MessageStatus.ANSWERED}


def test_messages_of_one_conversation_are_handled_in_order(warm: WarmHome) -> None:
    with warm.worker("core", threads=8):
        ids = [warm.say(f"/five start={n}", "one") for n in range(6)]
        views = [warm.answered(message_id) for message_id in ids]

    replied = [view.receipt.replied_at for view in views]
    assert replied == sorted(replied, key=str)
    assert [view.replies[0].text for view in views] == [f"it is {n + 3}" for n in range(6)]


def test_a_command_of_another_location_is_left_to_its_workers(warm: WarmHome) -> None:
    with warm.worker("jobs"):
        message_id, run_id = warm.message("five")
        assert warm.ended(run_id) == "SUCCESS"
        queued = warm.database.runs.get(run_id)

    assert queued is not None
    assert queued.location == "jobs"
    assert warm.answered(message_id).replies[0].text == "it is 4"


def test_a_live_worker_is_known_and_a_drained_one_is_gone(warm: WarmHome) -> None:
    with warm.worker(threads=3) as worker:
        (state,) = warm.database.workers.live()
        assert (state.location, state.threads, state.state) == ("jobs", 3, "ready")
        worker.drain(grace_s=0)

    assert warm.database.workers.live() == []


def test_a_worker_goes_on_when_the_database_breaks_every_connection_off(warm: WarmHome) -> None:
    with warm.worker(threads=2) as worker:
        first = warm.request("waiting")
        eventually((warm.folder / f"{first}.started").exists, "the op waits")
        _break_off(warm)
        (warm.folder / f"{first}.go").touch()
        assert warm.ended(first, within_s=60) == "SUCCESS"
        second = warm.request("five")
        assert warm.ended(second, within_s=60) == "SUCCESS"
        assert worker.busy == 0

    kinds = warm.kinds(first)
    assert len(kinds) == len(set(kinds))


def test_notifications_wake_a_worker_at_once(warm: WarmHome) -> None:
    with warm.worker():
        warm.ended(warm.request("five"))
        took: list[float] = []
        for _ in range(10):
            began = time.monotonic()
            warm.ended(warm.request("five"))
            took.append(time.monotonic() - began)

    # The slow poll alone would need one second on average.
    assert sorted(took)[len(took) // 2] < 0.7


def _break_off(warm: WarmHome) -> None:
    with warm.database.engine.begin() as connection:
        connection.execute(
            sa.text(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity"  # and wait for their end
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        )


def test_a_message_is_looked_for_where_messages_are_only(warm: WarmHome) -> None:
    with warm.worker("core"):
        warm.answered(warm.say("/five"))
        with looks(warm) as seen:
            warm.answered(warm.say("/five"))
            # When it comes, and for the next of its conversation; polls look everywhere.
            eventually(lambda: seen["inbox"] - seen["queue"] == 2, "its worker has looked for the next message")
            busy = seen.copy()

    assert busy["words"] <= busy["queue"] + 1
    assert busy["cancels"] <= busy["queue"] + 1


@contextmanager
def looks(warm: WarmHome) -> Generator[Counter[str]]:
    """Count what a worker of this process asks the database for: messages, control words, runs, cancel requests."""
    seen: Counter[str] = Counter()

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen["words"] += "i.word = any" in statement
        seen["inbox"] += "update runbell.inbox as i set claimed_by" in statement and "i.word = any" not in statement
        seen["queue"] += "update runbell.run_queue as q set state = 'running'" in statement
        seen["cancels"] += "cancel_requested_at IS NOT NULL" in statement

    event.listen(warm.database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(warm.database.engine, "before_cursor_execute", note)


def test_the_server_ends_whoever_hangs_within_a_transaction(warm: WarmHome) -> None:
    limit = sa.text("show idle_in_transaction_session_timeout")

    with warm.database.engine.begin() as ours, warm.instance.warm_storage.engine.connect() as dagsters:
        assert ours.execute(limit).scalar_one() == dagsters.execute(limit).scalar_one() == "15s"
