"""Retry from failure: a new run of the same job that takes over what had succeeded and executes the rest."""

import dagster as dg

from integrations.errors import NotFound
from orchestration.warm.engine import Preparation
from orchestration.warm.internals import (
    PARENT_RUN_ID_TAG,
    RESUME_RETRY_TAG,
    ROOT_RUN_ID_TAG,
    IJob,
    KnownExecutionState,
)


def failed_run(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    """Return a run that may be retried. Raises `NotFound` where it is gone, or has not failed."""
    run = instance.get_run_by_id(run_id)
    if run is None:
        raise NotFound(f"the run {run_id} is no longer there")
    if run.status not in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED):
        raise NotFound(f"the run {run_id[:8]} has not failed ({run.status.value.lower()})")
    return run


def prepare_retry(job: IJob, parent: dg.DagsterRun, tags: dict[str, str], instance: dg.DagsterInstance) -> Preparation:
    """Return the preparation of what is left of a failed run. Raises `NotFound` where its ops are no longer there."""
    tags |= {
        PARENT_RUN_ID_TAG: parent.run_id,
        ROOT_RUN_ID_TAG: parent.root_run_id or parent.run_id,
        RESUME_RETRY_TAG: "true",
    }
    steps, known_state = KnownExecutionState.build_resume_retry_reexecution(instance, parent)
    try:
        return Preparation(job, dict(parent.run_config), tags, instance, step_keys=list(steps), known_state=known_state)
    except dg.DagsterInvariantViolationError as error:
        raise NotFound(f"the job has changed too much to go on where {parent.run_id[:8]} failed: {error}") from error
