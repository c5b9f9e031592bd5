"""The run launcher: what the webserver and the daemon ask of it, without any worker near."""

import dagster as dg
import pytest

from integrations.errors import Misconfigured
from orchestration.commands.publishing import publish
from orchestration.commands.spec import CommandSpec
from orchestration.warm.internals import ResumeRunContext, WorkerStatus
from orchestration.warm.launcher import WarmRunLauncher
from orchestration.warm.location import load_location
from tests.warming import WarmHome, warm

__all__ = ["warm"]


@pytest.fixture
def launcher(warm: WarmHome) -> WarmRunLauncher:
    launcher = warm.instance.run_launcher
    assert isinstance(launcher, WarmRunLauncher)
    return launcher


def created(warm: WarmHome, job: str = "five", **tags: str) -> dg.DagsterRun:
    """Create a run as the webserver does."""
    location = load_location(warm.settings, "jobs")
    return warm.instance.create_run_for_job(
        location.job(job).get_definition(),
        tags=tags,
        remote_job_origin=location.remote_origin(job),
        job_code_origin=location.code_origin(job),
    )


def launched(warm: WarmHome, job: str = "five", **tags: str) -> dg.DagsterRun:
    run = created(warm, job, **tags)
    warm.instance.launch_run(run.run_id, workspace=None)  # pyright: ignore[reportArgumentType]
    return run


def test_a_launched_run_waits_in_the_queue_of_its_location(warm: WarmHome) -> None:
    run = launched(warm)

    queued = warm.database.runs.get(run.run_id)
    assert queued is not None
    assert (queued.location, queued.job, queued.state) == ("jobs", "five", "queued")
    assert warm.status(run.run_id) == "STARTING"


def test_backfills_wait_behind_everything_else(warm: WarmHome) -> None:
    behind = launched(warm, **{"dagster/backfill": "x"})
    before = launched(warm)

    claims = warm.database.runs.claim("jobs", "someone", limit=2)

    assert [claim.run_id for claim in claims] == [before.run_id, behind.run_id]


def test_launched_runs_take_turns_as_those_of_messages_do(warm: WarmHome) -> None:
    publish(warm.database, "jobs", [CommandSpec(name="five", location="jobs", job="five", concurrency_key="till")])
    first, second = launched(warm), launched(warm, **{"dagster/backfill": "x"})

    claims = warm.database.runs.claim("jobs", "someone", limit=2)
    waiting = warm.database.runs.get(second.run_id)
    warm.database.runs.finish(claims[0])
    later = warm.database.runs.claim("jobs", "someone", limit=2)

    assert [claim.run_id for claim in claims] == [first.run_id]
    assert waiting is not None
    assert (waiting.state, waiting.concurrency_key) == ("queued", "till")
    assert [claim.run_id for claim in later] == [second.run_id]
    assert any("at most 1 run at once" in (event.message or "") for event in warm.events(second.run_id))


def test_a_run_without_a_location_is_refused_with_the_reason(warm: WarmHome) -> None:
    job = load_location(warm.settings, "jobs").job("five").get_definition()
    run = warm.instance.create_run_for_job(job)

    with pytest.raises(Misconfigured, match="names no code location"):
        warm.instance.launch_run(run.run_id, workspace=None)  # pyright: ignore[reportArgumentType]

    assert warm.status(run.run_id) == "FAILURE"


def test_terminating_a_waiting_run_asks_whoever_takes_it(warm: WarmHome, launcher: WarmRunLauncher) -> None:
    run = launched(warm)

    assert launcher.terminate(run.run_id) is True

    assert warm.status(run.run_id) == "CANCELING"
    with warm.worker():
        assert warm.ended(run.run_id) == "CANCELED"
    assert launcher.terminate(run.run_id) is False


def test_a_run_that_nobody_holds_is_canceled_at_once(warm: WarmHome, launcher: WarmRunLauncher) -> None:
    run = created(warm)

    assert launcher.terminate(run.run_id) is True

    assert warm.status(run.run_id) == "CANCELED"


def test_health_is_what_the_queue_says(warm: WarmHome, launcher: WarmRunLauncher) -> None:
    def health(run: dg.DagsterRun) -> WorkerStatus:
        return launcher.check_run_worker_health(run).status

    run = created(warm)
    assert health(run) is WorkerStatus.NOT_FOUND
    warm.instance.launch_run(run.run_id, workspace=None)  # pyright: ignore[reportArgumentType]
    assert health(run) is WorkerStatus.RUNNING
    (claim,) = warm.database.runs.claim("jobs", "someone")
    assert health(run) is WorkerStatus.RUNNING
    warm.database.runs.park(claim, {"why": "an approval"}, until=None)
    assert health(run) is WorkerStatus.RUNNING
    warm.database.runs.wake(run.run_id)
    (claim,) = warm.database.runs.claim("jobs", "someone")
    warm.database.runs.finish(claim)
    assert health(run) is WorkerStatus.FAILED


def test_the_daemon_can_resume_a_run_that_left_the_queue_unfinished(warm: WarmHome, launcher: WarmRunLauncher) -> None:
    run = launched(warm)
    (claim,) = warm.database.runs.claim("jobs", "someone")
    warm.database.runs.finish(claim)

    launcher.resume_run(ResumeRunContext(dagster_run=run, workspace=None))

    with warm.worker():
        assert warm.ended(run.run_id) == "SUCCESS"
