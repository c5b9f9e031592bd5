"""One run in a warm worker: create it where Dagster lacks it, execute or resume it, answer its message."""

import logging
import time
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import dagster as dg

from integrations.access import Refused, may
from integrations.database import Database, RunClaim, Wait
from integrations.database.engine import patiently
from integrations.database.inbox import settled_here
from integrations.errors import Forbidden, LeaseLost, Misconfigured, NotFound
from integrations.messages import MessageStatus, OutboundMessage, utc_now
from integrations.settings import Settings
from integrations.telemetry import span, trace_id_of
from orchestration.commands.catalogue import guard_of, is_no_command, time_limit_of
from orchestration.warm import answers
from orchestration.warm.commits import Row
from orchestration.warm.creating import Creation
from orchestration.warm.engine import Preparation, execute, own_executor, prepare
from orchestration.warm.executor import DurableExecutor
from orchestration.warm.follow import Follower, Live
from orchestration.warm.instance import WarmInstance
from orchestration.warm.internals import FINISHED_STATUSES
from orchestration.warm.interrupt import Interrupt, Reason
from orchestration.warm.isolation import isolation_of
from orchestration.warm.location import Location
from orchestration.warm.parking import Waits
from orchestration.warm.retrying import failed_run, prepare_retry
from orchestration.warm.sources import Loaded

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
"""Workers that may die with a run before it is given up."""
RUN_SUCCESS = dg.DagsterEventType.RUN_SUCCESS.value
_SUCCESS, _CANCELED = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED


@dataclass(frozen=True)
class Runtime:
    """What all runs of a worker share."""

    settings: Settings
    database: Database
    instance: WarmInstance
    location: Location
    worker: str
    version: str
    code: Loaded | None = None
    alone: bool = False
    """Whether this process is there for one run only."""
    live: Live = field(init=False)
    creation: Creation = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "creation", Creation(self.instance, self.location))
        object.__setattr__(self, "live", Live(self.database.progress))


def carry_out(runtime: Runtime, claim: RunClaim, interrupt: Interrupt) -> list[Wait]:
    """Bring a claimed run to its end and answer its message; or return what it waits for, to be parked with.

    Raises `LeaseLost`; what it raises else is a fault.
    """
    storage = runtime.instance.warm_storage
    storage.hold(claim.run_id, claim.token)
    lost = True
    try:
        with span(f"run {claim.job}", traceparent=claim.traceparent, run_id=claim.run_id, job=claim.job):
            waits = _Attempt(runtime, claim, interrupt).go()
        lost = False
    finally:
        storage.leave(claim.run_id, lost=lost)
        runtime.instance.forget(claim.run_id)
    if not waits and claim.concurrency_key is not None:
        patiently(lambda: runtime.database.runs.finish(claim))  # at once: another one waits for its turn
    elif not waits:
        # Soon, with others' rows: until then the lease keeps others away.
        storage.append(Row("finished", claim.run_id, {"token": claim.token, "finished_at": utc_now()}))
    return waits


class _Attempt:
    """This worker's attempt at a run."""

    def __init__(self, runtime: Runtime, claim: RunClaim, interrupt: Interrupt) -> None:
        self._runtime = runtime
        self._claim = claim
        self._interrupt = interrupt
        self._instance = runtime.instance
        self._follower = Follower(runtime.live, claim)
        self._began = time.monotonic()
        self._waits = Waits(runtime.database.events, runtime.database.approvals, runtime.database.sent, claim)
        self._plan: Preparation | None = None
        self._problem: str | None = None
        """Why the run could not begin."""

    def go(self) -> list[Wait]:
        """Create, execute, answer, finish; or return what the run waits for."""
        run = self._existing()
        try:
            run = run or self._create()
        except (dg.DagsterInvalidConfigError, Forbidden, NotFound) as error:
            self._problem = _first_line(error)
        if run is not None and run.status not in FINISHED_STATUSES:
            succeeded = not self._stop_early(run) and self._run_to_end(run)
            run = run.with_status(_SUCCESS) if succeeded else self._look() or run
        self._interrupt_if_lost()
        self._interrupt.ending = True
        if run is not None and run.status not in FINISHED_STATUSES and self._waits.parked:
            self._follower.waits("; ".join(wait.reason for wait in self._waits.parked))
            return self._waits.parked
        self._answer(run)
        return []

    def _existing(self) -> dg.DagsterRun | None:
        """Return the run where Dagster may have it: not for a fresh request."""
        if self._claim.request is not None and self._claim.attempts == 1 and self._claim.parked is None:
            return None
        run = self._look()
        if run is None and self._claim.request is None:
            log.warning("a run was deleted before it began", extra={"run_id": self._claim.run_id})
        return run

    def _look(self) -> dg.DagsterRun | None:
        return patiently(lambda: self._instance.get_run_by_id(self._claim.run_id))

    def _create(self) -> dg.DagsterRun | None:
        """Make Dagster's run from the request."""
        claim, location = self._claim, self._runtime.location
        if claim.request is None:
            return None
        job = location.job(claim.job)
        definition = job.get_definition()
        self._check_access(definition)
        tags = {**definition.run_tags, **self._tags()}
        parent = failed_run(self._instance, str(of)) if (of := claim.request.get("retry_of")) else None
        if parent is None:
            config = cast("dict[str, object]", claim.request.get("run_config") or {})
            self._plan = Preparation(job, config, tags, self._instance)
        else:
            self._plan = prepare_retry(job, parent, tags, self._instance)
        return self._runtime.creation.create(claim.run_id, self._plan, parent)

    def _check_access(self, job: dg.JobDefinition) -> None:
        """Raise `Forbidden` where whoever asked for the run may not have it now, however long ago it was asked for."""
        asker = self._claim.principal_id
        if asker is None or is_no_command(job):
            return
        principal, access = self._runtime.database.principals.get(asker), self._runtime.settings.access
        decision = may(principal, guard_of(job), access)
        if isinstance(decision, Refused):
            raise Forbidden(decision.reason)

    def _tags(self) -> dict[str, str]:
        claim = self._claim
        given = cast("dict[str, str]", (claim.request or {}).get("tags") or {})
        tags = {**given, "runbell/version": self._runtime.version}
        if claim.traceparent and (trace_id := trace_id_of(claim.traceparent)):
            tags.setdefault("runbell/trace_id", trace_id)
        return tags

    def _stop_early(self, run: dg.DagsterRun) -> bool:
        """Mark a run that was canceled, or that killed too many workers, before anything of it executes."""
        if self._claim.cancel_requested or run.status is dg.DagsterRunStatus.CANCELING:
            self._instance.report_run_canceled(run, "Canceled while no worker held it.")
        elif self._claim.attempts > MAX_ATTEMPTS:
            self._instance.report_run_failed(
                run, f"Given up: {MAX_ATTEMPTS} workers died with this run. See the workers' logs."
            )
        else:
            return False
        return True

    def _run_to_end(self, run: dg.DagsterRun) -> bool:
        """Execute or resume a run, and tell whether it succeeded; a run that can't be is marked as failed."""
        resume = run.status is dg.DagsterRunStatus.STARTED
        try:
            prepared = self._plan or prepare(self._runtime.location.job(run.job_name), run, self._instance)
            if self._plan is None:
                self._check_access(prepared.job.get_definition())
            isolation_of(prepared.job.get_definition(), self._runtime.settings.isolation)
        except (dg.DagsterInvalidConfigError, Forbidden, Misconfigured, NotFound) as error:
            self._problem = _first_line(error)
            self._instance.report_run_failed(run, self._problem)
            return False
        if resume and own_executor(prepared.job.get_definition()):
            self._instance.report_run_failed(run, "Its worker died, and only the durable executor can resume a run.")
            return False
        return self._execute(prepared, run, resume=resume)

    def _execute(self, prepared: Preparation, run: dg.DagsterRun, *, resume: bool) -> bool:
        self._plan = prepared
        storage, succeeded = self._instance.warm_storage, False
        if self._claim.message_id is not None:
            began = {"id": self._claim.message_id, "started_at": utc_now()}
            storage.append(Row("message", run.run_id, began))
            if self._claim.parked is not None:
                self._runtime.database.inbox.wait(self._claim.message_id, waiting=False)
        if resume:
            self._tell_other_version(run)
        self._follower.begin(self._runtime.settings.run_url(run.run_id), resumed=resume)
        try:
            timeout_s = self._runtime.settings.workers.op_timeout_s
            limit = time_limit_of(prepared.job.get_definition())
            executor = DurableExecutor(prepared, self._interrupt, self._waits, op_timeout_s=timeout_s, time_limit=limit)
            for event in execute(prepared, run, executor, resume=resume):
                self._follower.see(event)
                succeeded = succeeded or event.event_type_value == RUN_SUCCESS
        finally:
            self._waits.close(self._instance)
            self._follower.close()
        storage.flush(run.run_id)
        return succeeded

    def _tell_other_version(self, run: dg.DagsterRun) -> None:
        began, now = self._claim.began_version, self._runtime.version
        if began not in {None, now}:
            self._instance.report_engine_event(
                f"Goes on with the code of version {now}: no worker has {began} any more, with which it began.", run
            )

    def _interrupt_if_lost(self) -> None:
        if self._interrupt.reason in {Reason.LOST, Reason.DRAIN}:
            raise LeaseLost(f"run {self._claim.run_id}: {self._interrupt.reason}")

    def _answer(self, run: dg.DagsterRun | None) -> None:
        claim = self._claim
        if claim.message_id is None or claim.address is None:
            return
        if settled_here(claim.message_id):
            return  # an op of the run has answered
        text, status = self._failure_text(run), MessageStatus.FAILED
        reply = OutboundMessage(address=claim.address, text=text)
        if run is not None and run.status is _SUCCESS:
            reply, status = self._success_reply(run), MessageStatus.ANSWERED
        if not reply.choices:
            url = None if run is None else self._runtime.settings.run_url(run.run_id)
            choices = answers.next_steps(claim, url, succeeded=status is MessageStatus.ANSWERED)
            reply = reply.model_copy(update={"choices": choices})
        answer = partial(
            self._runtime.database.inbox.answer,
            claim.message_id,
            [reply],
            status=status,
            run_id=None if run is None else run.run_id,
            error=None if status is MessageStatus.ANSWERED else text,
            fence=claim.token if run is not None else None,
        )
        patiently(answer)  # a message that is settled already stays as it is

    def _success_reply(self, run: dg.DagsterRun) -> OutboundMessage:
        runtime, claim = self._runtime, self._claim
        assert claim.address is not None
        prepared = self._plan or prepare(runtime.location.job(run.job_name), run, self._instance)
        title = f"✅ {claim.job} is done in {time.monotonic() - self._began:.1f} s"
        outputs = self._instance.warm_storage.outputs
        return answers.success(runtime.database, outputs, prepared.plan, run.run_id, claim.address, title)

    def _failure_text(self, run: dg.DagsterRun | None) -> str:
        if self._problem is not None or run is None:
            return f"⚠️ {self._claim.job} could not start: {self._problem or 'its run was deleted'}"
        url = self._runtime.settings.run_url(run.run_id)
        if run.status is _CANCELED:
            return f"⏹ {self._claim.job} was canceled. [Open the run]({url})"
        return answers.failure(self._claim.job, self._follower.failures, url)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[:3]) or type(error).__name__
