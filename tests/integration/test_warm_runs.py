"""Runs in a warm worker: executed as stock Dagster executes them, apart from each other, answered."""

from typing import cast

import dagster as dg
import pytest

from integrations.messages import MessageStatus
from orchestration.warm.commits import Row
from orchestration.warm.location import load_location
from orchestration.warm.storage import WarmEventLogStorage, WarmRunStorage
from tests.integration import warm_jobs
from tests.warming import WarmHome, warm

__all__ = ["warm"]

MATRIX = [
    "five",
    "dynamic",
    "dynamic_leaves",
    "optional",
    "failing",
    "retrying",
    "nested",
    "with_hooks",
    "with_resource",
    "with_value",
    "large",
    "refused",
    "chatting",
    "assets_job",
]


def stock(job: str) -> list[tuple[str, str | None]]:
    """Execute a job with Dagster's own in-process executor."""
    with dg.DagsterInstance.local_temp() as instance:
        definition = warm_jobs.defs.get_repository_def().get_job(job)
        run = instance.create_run_for_job(definition.with_executor_def(dg.in_process_executor))
        from dagster._core.definitions.job_base import InMemoryJob
        from dagster._core.execution.api import execute_run_iterator

        list(execute_run_iterator(InMemoryJob(definition.with_executor_def(dg.in_process_executor)), run, instance))
        return [
            (event.event_type_value, event.step_key)
            for entry in instance.all_logs(run.run_id)
            if entry.is_dagster_event and (event := entry.get_dagster_event()).event_type_value != "ENGINE_EVENT"
        ]


def test_every_kind_of_job_leaves_the_same_events_as_under_the_in_process_executor(warm: WarmHome) -> None:
    with warm.worker():
        runs = {job: warm.request(job) for job in MATRIX}
        for run_id in runs.values():
            warm.ended(run_id)

    different = {
        job: (warm.kinds(run_id), expected)
        for job, run_id in runs.items()
        if warm.kinds(run_id) != (expected := stock(job))
    }
    assert different == {}


def test_a_cancel_that_the_end_has_overtaken_changes_nothing(warm: WarmHome) -> None:
    with warm.worker() as worker:
        run_id = warm.request("five")
        warm.ended(run_id)
        stale = warm.instance.get_run_by_id(run_id).with_status(dg.DagsterRunStatus.STARTED)

        for instance in (warm.instance, worker._runtime.instance):
            instance.report_run_canceling(stale)

        assert warm.status(run_id) == "SUCCESS"


def test_thirty_two_runs_at_once_do_not_mix(warm: WarmHome) -> None:
    with warm.worker(threads=32):
        runs = [warm.request("chatting", {"ops": {"one": {"config": {"start": n}}}}) for n in range(32)]
        statuses = {warm.ended(run_id) for run_id in runs}

    assert statuses == {"SUCCESS"}
    for run_id in runs:
        messages = [entry.user_message for entry in warm.instance.all_logs(run_id) if not entry.is_dagster_event]
        assert messages == [f"logged by {run_id}"] * 5
        printed, key = _captured(warm, run_id)
        assert printed.count(run_id) == 5
        assert len(printed.strip().splitlines()) == 5
        assert warm.instance.compute_log_manager.is_capture_complete(key)


def test_a_run_is_linked_to_its_job_and_location(warm: WarmHome) -> None:
    with warm.worker():
        _, run_id = warm.message("five")
        warm.ended(run_id)

    run = warm.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.remote_job_origin is not None
    assert run.remote_job_origin.location_name == "jobs"
    assert run.job_code_origin is not None
    assert run.job_snapshot_id == warm_jobs.defs.get_repository_def().get_job("five").get_job_snapshot_id()
    assert run.tags["team"] == "tests"
    assert run.tags["runbell/version"] == "test"
    assert run.tags["dagster/code_location"] == "jobs"


def test_a_message_is_answered_with_what_the_last_ops_say(warm: WarmHome) -> None:
    with warm.worker():
        message_id, run_id = warm.message("five", {"ops": {"one": {"config": {"start": 7}}}})
        warm.ended(run_id)

    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert view.status is MessageStatus.ANSWERED
    assert [reply.text for reply in view.replies] == ["it is 10"]
    assert view.receipt.started_at is not None


def test_mapped_leaves_answer_in_order(warm: WarmHome) -> None:
    with warm.worker():
        message_id, run_id = warm.message("dynamic_leaves", {"ops": {"one": {"config": {"start": 2}}}})
        warm.ended(run_id)

    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert view.replies[0].text == "it is 0\n\nit is 1\n\nit is 2"


def test_a_file_of_the_answer_is_stored_and_attached(warm: WarmHome) -> None:
    with warm.worker():
        message_id, run_id = warm.message("charted")
        warm.ended(run_id)

    view = warm.database.inbox.get(message_id)
    assert view is not None
    (attachment,) = view.replies[0].attachments
    assert attachment.name == "chart.txt"
    assert warm.database.files.path(attachment.id).read_text() == "a chart"


def test_a_job_without_words_answers_that_it_is_done(warm: WarmHome) -> None:
    with warm.worker():
        message_id, run_id = warm.message("large")
        warm.ended(run_id)

    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert view.replies[0].text.startswith("✅ large is done in ")


@pytest.mark.parametrize(
    ("job", "reason"), [("failing", "ValueError: no good: 1"), ("refused", "The start must be larger.")]
)
def test_a_failure_is_told_in_plain_words_with_the_runs_link(warm: WarmHome, job: str, reason: str) -> None:
    with warm.worker():
        message_id, run_id = warm.message(job)
        assert warm.ended(run_id) == "FAILURE"

    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert view.status is MessageStatus.FAILED
    text = view.replies[0].text
    assert reason in text
    assert "Traceback" not in text
    assert warm.settings.run_url(run_id) in text


def test_a_configuration_that_the_job_refuses_is_told(warm: WarmHome) -> None:
    with warm.worker():
        message_id, run_id = warm.message("five", {"ops": {"one": {"config": {"start": "many"}}}})
        from tests.warming import eventually

        eventually(lambda: warm.queue_state(run_id) == "finished", "the request leaves the queue")

    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert view.status is MessageStatus.FAILED
    assert "could not start" in view.replies[0].text


def test_progress_tells_the_run_and_each_op(warm: WarmHome) -> None:
    with warm.worker():
        message_id, run_id = warm.message("five")
        warm.ended(run_id)

    snapshot = warm.database.progress.snapshot(message_id)
    assert snapshot.run_id == run_id
    assert snapshot.job == "five"
    assert [(op.op, op.state) for op in snapshot.ops] == [
        ("one", "succeeded"),
        ("more", "succeeded"),
        ("more_2", "succeeded"),
        ("more_3", "succeeded"),
        ("told", "succeeded"),
    ]
    assert all(op.ms is not None for op in snapshot.ops)


def test_an_authors_multiprocess_executor_is_kept(warm: WarmHome) -> None:
    with warm.worker():
        message_id, run_id = warm.message("in_processes")
        assert warm.ended(run_id, within_s=90) == "SUCCESS"

    assert ("STEP_WORKER_STARTED", "one") in warm.kinds(run_id)
    view = warm.database.inbox.get(message_id)
    assert view is not None
    assert view.status is MessageStatus.ANSWERED


def _captured(warm: WarmHome, run_id: str) -> tuple[str, list[str]]:
    from dagster._core.storage.compute_log_manager import ComputeIOType

    manager = warm.instance.compute_log_manager
    (key,) = manager.get_log_keys_for_log_key_prefix([run_id, "compute_logs"], ComputeIOType.STDOUT)
    data, _ = manager.get_log_data_for_type(key, ComputeIOType.STDOUT, 0, None)
    return (data or b"").decode(), key


def test_a_run_comes_into_a_batch_together_with_its_tags(warm: WarmHome) -> None:
    """Apart, the tags would meet a batch without their run, and be refused."""
    storage = warm.instance.warm_storage
    rows: list[Row] = []
    run_storage = warm.instance.run_storage
    assert isinstance(run_storage, WarmRunStorage)
    run_storage.events = cast("WarmEventLogStorage", Held(rows))
    job = load_location(warm.settings, "jobs").job("five").get_definition()

    run = warm.instance.create_run_for_job(job, tags={"team": "tests", "why": "示例"})

    (row,) = rows
    storage.writer.write([row])
    stored = warm.instance.get_run_by_id(run.run_id)
    assert stored is not None
    assert {"team": "tests", "why": "示例"}.items() <= stored.tags.items()
    found = warm.instance.get_runs(dg.RunsFilter(tags={"why": "示例"}))
    assert [one.run_id for one in found] == [run.run_id]


class Held:
    """Takes what the run storage hands to the group commit of a run that is held."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def holds(self, run_id: str) -> bool:
        return bool(run_id)

    def append(self, row: Row) -> None:
        self._rows.append(row)
