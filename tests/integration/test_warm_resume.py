"""A run resumed after any of its events: what has a committed success does not run again, and it ends as it would."""

from collections.abc import Iterator

import dagster as dg
import pytest
import sqlalchemy as sa

from orchestration.warm.engine import execute, prepare
from orchestration.warm.executor import DurableExecutor
from orchestration.warm.internals import RepoBackedJob
from orchestration.warm.interrupt import interruptible
from tests.integration import warm_jobs
from tests.warming import WarmHome, warm

__all__ = ["warm"]


def run(warm: WarmHome, dagster_run: dg.DagsterRun, *, resume: bool = False) -> None:
    """Execute or resume in this thread."""
    job = RepoBackedJob(dagster_run.job_name, warm_jobs.defs.get_repository_def())
    with interruptible() as interrupt:
        prepared = prepare(job, dagster_run, warm.instance)
        for _ in execute(prepared, dagster_run, DurableExecutor(prepared, interrupt), resume=resume):
            pass


def cut(warm: WarmHome, run_id: str, last: int) -> None:
    """Make the database look as after a crash: events up to an id, outputs of what they tell, run STARTED."""
    with warm.database.engine.begin() as connection:
        values = {"run": run_id, "last": last}
        connection.execute(sa.text("delete from event_logs where run_id = :run and id > :last"), values)
        connection.execute(
            sa.text(
                "delete from runbell.op_outputs o where run_id = :run and not exists (select 1 from event_logs e"
                " where e.run_id = :run and e.step_key = o.step_key and e.dagster_event_type = 'STEP_OUTPUT')"
            ),
            values,
        )
    started = warm.instance.get_run_by_id(run_id)
    assert started is not None
    warm.instance.run_storage.handle_run_event(run_id, _start(started))


def _start(dagster_run: dg.DagsterRun) -> dg.DagsterEvent:
    return dg.DagsterEvent("PIPELINE_START", dagster_run.job_name)


def cuts(warm: WarmHome, run_id: str) -> Iterator[int]:
    """Yield the ids after which a crash can have come, from the last to the first."""
    with warm.database.engine.begin() as connection:
        ids = connection.scalars(
            sa.text(
                "select id from event_logs where run_id = :run and dagster_event_type is distinct from"
                " 'PIPELINE_START' order by id desc"
            ),
            {"run": run_id},
        ).all()
    yield from ids[1:]


@pytest.mark.parametrize(
    ("job", "status"),
    [
        ("dynamic", "SUCCESS"),
        ("optional", "SUCCESS"),
        ("failing", "FAILURE"),
        ("retrying", "SUCCESS"),
        ("nested", "SUCCESS"),
    ],
)
def test_a_crash_after_any_event_changes_nothing_of_the_end(warm: WarmHome, job: str, status: str) -> None:
    definition = warm_jobs.defs.get_repository_def().get_job(job)
    whole = warm.instance.create_run_for_job(definition)
    run(warm, whole)
    ends = sorted(_ends(warm, whole.run_id))
    assert warm.status(whole.run_id) == status

    for last in list(cuts(warm, whole.run_id)):
        cut(warm, whole.run_id, last)
        before = _ends(warm, whole.run_id)
        stored = warm.instance.get_run_by_id(whole.run_id)
        assert stored is not None
        run(warm, stored, resume=True)

        assert warm.status(whole.run_id) == status
        assert sorted(_ends(warm, whole.run_id)) == ends
        assert _ends(warm, whole.run_id)[: len(before)] == before


def test_a_failure_before_the_crash_still_fails_the_run(warm: WarmHome) -> None:
    definition = warm_jobs.defs.get_repository_def().get_job("failing")
    whole = warm.instance.create_run_for_job(definition)
    run(warm, whole)
    assert warm.status(whole.run_id) == "FAILURE"

    cut(warm, whole.run_id, next(cuts(warm, whole.run_id)))
    stored = warm.instance.get_run_by_id(whole.run_id)
    assert stored is not None
    run(warm, stored, resume=True)

    assert warm.status(whole.run_id) == "FAILURE"


def _ends(warm: WarmHome, run_id: str) -> list[tuple[str, str | None]]:
    wanted = {"STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED"}
    return [(kind, step) for kind, step in warm.kinds(run_id) if kind in wanted]
