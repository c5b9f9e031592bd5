"""Dagster's run launcher of this platform: runs from the launchpad, timers, sensors and backfills enter the queue.

No Ray here: the webserver and the daemon insert a row and NOTIFY; a warm worker of the run's location takes it.
"""

from typing import Any

import dagster as dg
import sqlalchemy as sa

from integrations.database.catalogue import Commands
from integrations.database.engine import connect
from integrations.database.runs import RunQueue
from integrations.errors import Misconfigured
from integrations.messages import Priority
from orchestration.commands.spec import CommandSpec
from orchestration.warm.internals import (
    FINISHED_STATUSES,
    CheckRunHealthResult,
    ConfigurableClassData,
    LaunchRunContext,
    ResumeRunContext,
    RunLauncher,
    WorkerStatus,
)
from orchestration.warm.storage import WarmEventLogStorage
from orchestration.warm.unconfigured import Unconfigured

_BACKFILL_TAG = "dagster/backfill"


class WarmRunLauncher(Unconfigured, RunLauncher[Any]):
    """Hands runs to the warm workers through the database."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._engine: sa.Engine | None = None

    @property
    def queue(self) -> RunQueue:
        """The run queue, in the database of Dagster's events."""
        return RunQueue(self._connected())

    def _connected(self) -> sa.Engine:
        if self._engine is None:
            storage = self._instance.event_log_storage
            if not isinstance(storage, WarmEventLogStorage):
                raise Misconfigured("dagster.yaml must name WarmEventLogStorage: the run queue lies in its database")
            self._engine = connect(storage.postgres_url, pool_size=2, name="runbell-launcher")
        return self._engine

    def dispose(self) -> None:
        """Close the connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def launch_run(self, context: LaunchRunContext) -> None:
        """Queue a run that Dagster has created."""
        self._submit(context.dagster_run)

    @property
    def supports_resume_run(self) -> bool:
        """Runs go on where they stood."""
        return True

    def resume_run(self, context: ResumeRunContext) -> None:
        """Queue a run whose row in the queue has ended though the run has not."""
        self._submit(context.dagster_run)

    def terminate(self, run_id: str) -> bool:
        """Ask the worker that holds the run to cancel it; false where there is nothing left to cancel."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.status in FINISHED_STATUSES:
            return False
        self._instance.report_run_canceling(run)
        if not self.queue.request_cancel(run_id):
            self._instance.report_run_canceled(run, "No worker had this run.")
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Health is known from the queue."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Tell whether the queue still takes care of a run; leases and their taking over are the workers' matter."""
        queued = self.queue.get(run.run_id)
        if queued is None:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, msg="the run queue does not know this run")
        if queued.state == "finished":
            return CheckRunHealthResult(WorkerStatus.FAILED, msg="the worker gave the run up", run_worker_id=None)
        return CheckRunHealthResult(WorkerStatus.RUNNING, msg=queued.state, run_worker_id=queued.claimed_by)

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:  # noqa: FBT001, FBT002 - Dagster's signature
        """Tell where the run stands, for the run's page."""
        del include_container_logs
        queued = self.queue.get(run.run_id)
        return None if queued is None else f"{queued.state}, attempt {queued.attempts}, worker {queued.claimed_by}"

    def _submit(self, run: dg.DagsterRun) -> None:
        origin = run.remote_job_origin
        if origin is None:
            raise Misconfigured(f"run {run.run_id} names no code location, so no worker can load its job")
        command = Commands(self._connected()).of_job(origin.location_name, run.job_name)
        spec = CommandSpec.model_validate(command.spec) if command is not None else None
        at_once = spec.at_once_with(run.run_config) if spec is not None else None
        if at_once is not None:
            told = f"It takes its turn: of {at_once.key!r}, at most {at_once.limit} run at once."
            self._instance.report_engine_event(told, run)
        self.queue.submit(
            run.run_id,
            location=origin.location_name,
            job=run.job_name,
            priority=Priority.BACKFILL if _BACKFILL_TAG in run.tags else Priority.TIMER,
            at_once=at_once,
        )
