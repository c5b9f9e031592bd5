"""The durable executor: drives Dagster's own `ActiveExecution` in one thread, and goes on where a run stood.

Behaves as the in-process executor does, with these differences: a stop is noticed within an op's own code; what an op
with the tag `runbell/acts` did is committed before anything follows; an interrupted run is resumed from its event log.
An op that must wait leaves its attempt; once nothing else can execute, the run parks: see `parking`.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, nullcontext
from datetime import timedelta
from inspect import GEN_CLOSED, getgeneratorstate
from typing import cast

import dagster as dg

from orchestration.warm.budget import Budget
from orchestration.warm.engine import ExecutionManager, Preparation
from orchestration.warm.internals import (
    ActiveExecution,
    DagsterEvent,
    DagsterExecutionInterruptedError,
    EngineEventData,
    ExecuteRunWithPlanIterable,
    ExecutionPlan,
    ExecutionStep,
    Executor,
    InstanceConcurrencyContext,
    PlanExecutionContext,
    PlanOrchestrationContext,
    RetryMode,
    StepDependencyConfig,
    StepExecutionContext,
    create_compute_log_file_key,
    dagster_event_sequence_for_step,
    trigger_hooks,
)
from orchestration.warm.interrupt import Interrupt, OpTimedOut
from orchestration.warm.parking import Waits
from orchestration.warm.replay import Replayed, replay
from orchestration.warm.storage import WarmEventLogStorage

_ENDS = {
    dg.DagsterEventType.STEP_SUCCESS.value,
    dg.DagsterEventType.STEP_FAILURE.value,
    dg.DagsterEventType.STEP_UP_FOR_RETRY.value,
}
ACTS_TAG = "runbell/acts"
"""Marks an op that acts on the outside: all before it, and it itself, is committed before anything follows."""

TIMEOUT_TAG = "runbell/timeout_s"
"""Seconds that an op may take instead of `workers.op_timeout_s`; 0 for as long as it likes."""


class DurableExecutor(Executor):
    """Executes one run in the calling thread."""

    def __init__(
        self,
        prepared: Preparation,
        interrupt: Interrupt,
        waits: Waits | None = None,
        *,
        op_timeout_s: float = 0.0,
        time_limit: timedelta | None = None,
    ) -> None:
        self._prepared = prepared
        self._interrupt = interrupt
        self._waits = waits
        self._op_timeout_s = op_timeout_s
        self._budget = Budget(time_limit)

    @property
    def retries(self) -> RetryMode:
        """Ops are retried as their policies say."""
        return RetryMode.ENABLED

    @property
    def step_dependency_config(self) -> StepDependencyConfig:
        """Ops wait for all ops that they depend on."""
        return StepDependencyConfig.default()

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        """Yield the events of the run's ops."""
        resumed = plan_context.resume_from_failure
        word = "Resuming" if resumed else "Executing"
        yield DagsterEvent.engine_event(
            plan_context,
            f"{word} in a warm worker (pid {os.getpid()})",
            EngineEventData.in_process(os.getpid(), list(execution_plan.step_keys_to_execute)),
        )

        def iterate(job_context: PlanExecutionContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
            yield from self._execute(job_context, execution_plan, resumed=resumed)

        try:
            yield from iter(
                ExecuteRunWithPlanIterable(
                    execution_plan=execution_plan,
                    iterator=iterate,
                    execution_context_manager=ExecutionManager(plan_context, self._prepared),
                )
            )
        except DagsterExecutionInterruptedError:
            if self._waits is not None and self._waits.parked:
                self._waits.leave_run(plan_context.instance)
            raise
        except Exception as error:
            if self._waits is None or not self._waits.met_outage:
                raise
            # Dagster would call the run failed; it is as well as after a crash.
            self._waits.leave_for_outage()
            self._waits.leave_run(plan_context.instance)
            raise DagsterExecutionInterruptedError("the database was away") from error

    def _execute(
        self, job_context: PlanExecutionContext, plan: ExecutionPlan, *, resumed: bool
    ) -> Iterator[DagsterEvent]:
        with (
            InstanceConcurrencyContext(job_context.instance, job_context.dagster_run) as pools,
            ExitStack() as captured,
            plan.start(
                retry_mode=self.retries,
                instance_concurrency_context=pools,
                step_dependency_config=self.step_dependency_config,
            ) as active,
        ):
            yield self._capture(job_context, plan, captured)
            if resumed:
                yield from self._replay(job_context, active, pools)
            while not active.is_complete:
                step = self._next_step(active)
                yield from active.concurrency_event_iterator(job_context)
                if step is None:
                    yield from self._park(job_context, active)
                    self._interrupt.wait(max(active.sleep_interval(), 0.01))
                else:
                    yield from self._run_step(job_context, active, step)

    def _next_step(self, active: ActiveExecution) -> ExecutionStep | None:
        """Return the op to run now; None where all that are left wait for a retry or a slot of a pool."""
        self._interrupt.check()
        return active.get_next_step()

    def _park(self, job_context: PlanExecutionContext, active: ActiveExecution) -> Iterator[DagsterEvent]:
        """Leave the run where it has nothing to do for a while; whoever resumes it replays its events."""
        if self._waits is None or not (due := self._waits.due(active)):
            return
        self._interrupt.check()
        job_context.instance.event_log_storage.free_concurrency_slots_for_run(job_context.run_id)
        reasons = "; ".join(wait.reason for wait in due)
        yield DagsterEvent.engine_event(job_context, f"Parked: {reasons}", EngineEventData())
        self._waits.parked = due
        raise DagsterExecutionInterruptedError("parked")

    def _run_step(
        self, job_context: PlanExecutionContext, active: ActiveExecution, step: ExecutionStep
    ) -> Iterator[DagsterEvent]:
        acts = step.tags.get(ACTS_TAG) == "true"
        if acts:
            self._flush(job_context)
        step_context = job_context.for_step(step, active.get_known_state())
        events: list[DagsterEvent] = []
        limit = self._budget.limiting(self._interrupt, float(step.tags.get(TIMEOUT_TAG, self._op_timeout_s)))
        with nullcontext() if self._waits is None else self._waits.at(step.key), limit:
            for event in self._guarded(step_context):
                if self._waits is None or not self._waits.asked:
                    events.append(event)
                    yield event
                    active.handle_event(event)
        if self._waits is not None and self._waits.asked:
            self._waits.set_aside(active, step.key)
            return
        active.verify_complete(job_context, step.key)
        for event in self._left_out(job_context, active):
            events.append(event)
            yield event
        yield from trigger_hooks(step_context, events)
        if acts:
            self._flush(job_context)

    def _left_out(self, job_context: PlanExecutionContext, active: ActiveExecution) -> Iterator[DagsterEvent]:
        """Yield that ops are skipped, in one event each: Dagster adds a line to the run's log to say the same."""
        while steps := active.get_steps_to_skip():
            for step in steps:
                needs = ", ".join(sorted(step.get_execution_dependency_keys()))
                yield DagsterEvent.from_step(
                    dg.DagsterEventType.STEP_SKIPPED,
                    job_context.for_step(step),
                    message=f'Skipped "{step.key}": it was not given all that it needs of {needs}.',
                )
                active.mark_skipped(step.key)
        yield from active.plan_events_iterator(job_context)

    def _guarded(self, step_context: StepExecutionContext) -> Iterator[DagsterEvent]:
        """Yield an op's events; a stop is raised inside the op, so that it ends as Dagster's ops do."""
        sequence = cast("Generator[DagsterEvent]", dagster_event_sequence_for_step(step_context))
        begun = thrown = ended = False
        late: OpTimedOut | None = None
        while True:
            stop = None if ended or thrown else self._stop()
            thrown, given, late = thrown or stop is not None, stop or (None if ended else late), None
            try:
                # Before its first event there is no code of its author's, and nothing that would tell of a failure.
                event = self._advance(sequence, given, exposed=begun and not ended and not thrown)
            except StopIteration:
                break
            except (DagsterExecutionInterruptedError, OpTimedOut) as error:
                self._interrupt.cover()
                # It may have struck just outside the op: then it still has to get in.
                if given is not None or getgeneratorstate(sequence) == GEN_CLOSED:
                    raise
                late = error if isinstance(error, OpTimedOut) else None
                continue
            begun = True
            # What has succeeded can't fail any more, also where the stop comes right behind it.
            ended = ended or event.event_type_value in _ENDS
            yield event
        # A retry policy turns the interruption into a retry, and an op may swallow it.
        self._interrupt.check()

    def _stop(self) -> DagsterExecutionInterruptedError | None:
        reason = self._interrupt.reason
        return None if reason is None else DagsterExecutionInterruptedError(str(reason))

    def _advance(
        self, sequence: Generator[DagsterEvent], given: BaseException | None, *, exposed: bool
    ) -> DagsterEvent:
        if given is not None:
            return sequence.throw(given)
        with self._interrupt.exposed() if exposed else nullcontext():
            return next(sequence)

    def _capture(self, job_context: PlanExecutionContext, plan: ExecutionPlan, captured: ExitStack) -> DagsterEvent:
        manager = job_context.instance.compute_log_manager
        log_key = manager.build_log_key_for_run(job_context.run_id, create_compute_log_file_key())
        context = captured.enter_context(manager.capture_logs(log_key))
        steps = [step.key for step in plan.get_steps_to_execute_in_topo_order()]
        return DagsterEvent.capture_logs(job_context, steps, log_key, context)

    def _replay(
        self, job_context: PlanExecutionContext, active: ActiveExecution, pools: InstanceConcurrencyContext
    ) -> Iterator[DagsterEvent]:
        entries = job_context.instance.all_logs(job_context.run_id)
        done: Replayed = replay(active, entries, pools)
        self._budget.used_before(entries)
        job_context.instance.event_log_storage.free_concurrency_slots_for_run(job_context.run_id)
        # Handed out again, not stored again: Dagster counts failures of the whole run, also those before a crash.
        yield from done.failures
        for key in done.newly_skipped:
            yield DagsterEvent.step_skipped_event(job_context.for_step(active.get_step_by_key(key)))

    def _flush(self, job_context: PlanExecutionContext) -> None:
        storage = job_context.instance.event_log_storage
        if isinstance(storage, WarmEventLogStorage):
            storage.flush(job_context.run_id)
