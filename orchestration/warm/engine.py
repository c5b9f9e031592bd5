"""Execute a Dagster run inside this process: stock Dagster's own steps, put together for threads.

What differs from `execute_run`: jobs that leave executor and IO manager to Dagster get the durable ones, without any
change to the job (its snapshot stays the one that the UI knows); logging belongs to the run's thread; events are not
echoed to a console. An author's explicit choice stands, except that the in-process executor becomes the durable one.
"""

import asyncio
import contextlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import dagster as dg

from orchestration.warm.internals import (
    ContextCreationData,
    DagsterEvent,
    ExecuteRunWithPlanIterable,
    ExecutionContextManager,
    ExecutionData,
    ExecutionPlan,
    Executor,
    IJob,
    KnownExecutionState,
    PlanData,
    PlanExecutionContext,
    PlanOrchestrationContext,
    PlanOrchestrationContextManager,
    ResolvedRunConfig,
    RetryMode,
    StepDependencyConfig,
    create_executor,
    default_job_io_manager,
    default_job_io_manager_with_fs_schema,
    get_required_resource_keys_to_init,
    in_process_executor,
    job_execution_iterator,
    multi_or_in_process_executor,
    resource_initialization_manager,
)
from orchestration.warm.io_manager import durable_io_manager
from orchestration.warm.plans import is_plain, plain_plan
from orchestration.warm.run_log import RunLogManager
from orchestration.warm.run_resources import SharedResources, told, values_at_hand

_DEFAULT_EXECUTORS = frozenset({multi_or_in_process_executor.name, in_process_executor.name})
_DEFAULT_IO_MANAGERS = (default_job_io_manager, default_job_io_manager_with_fs_schema)


@dataclass
class Preparation:
    """A job with the configuration and the plan of one run, made once per run."""

    job: IJob
    run_config: Mapping[str, object]
    tags: Mapping[str, str]
    instance: dg.DagsterInstance
    step_keys: list[str] | None = None
    known_state: Any = None
    resolved: ResolvedRunConfig = field(init=False)
    plan: ExecutionPlan = field(init=False)
    plain: bool = field(init=False)
    """Whether the plan is that of all runs of the job."""

    def __post_init__(self) -> None:
        definition = self.job.get_definition()
        self.resolved = ResolvedRunConfig.build(definition, self.run_config)
        self.plain = self.known_state in (None, KnownExecutionState()) and is_plain(self.run_config, self.resolved)
        if self.plain:
            self.plan = plain_plan(definition, self.resolved)
            self.plain = self.step_keys in (None, self.plan.step_keys_to_execute)
        if not self.plain:
            self.plan = self._built(definition)

    def _built(self, definition: dg.JobDefinition) -> ExecutionPlan:
        return ExecutionPlan.build(
            definition,
            self.resolved,
            step_keys_to_execute=self.step_keys,
            known_state=self.known_state,
            instance_ref=self.instance.get_ref() if self.instance.is_persistent else None,
            tags=self.tags,
        )


def prepare(job: IJob, run: dg.DagsterRun, instance: dg.DagsterInstance) -> Preparation:
    """Return the preparation of a run that Dagster has already."""
    if run.resolved_op_selection or run.asset_selection or run.asset_check_selection:
        job = job.get_subset(
            op_selection=list(run.resolved_op_selection) if run.resolved_op_selection else None,
            asset_selection=run.asset_selection,
            asset_check_selection=run.asset_check_selection,
        )
    snapshot_id = run.execution_plan_snapshot_id
    snapshot = instance.get_execution_plan_snapshot(snapshot_id) if snapshot_id else None
    return Preparation(
        job=job,
        run_config=run.run_config,
        tags=run.tags,
        instance=instance,
        step_keys=list(run.step_keys_to_execute) if run.step_keys_to_execute else None,
        known_state=snapshot.initial_known_state if snapshot else None,
    )


def own_executor(job: dg.JobDefinition) -> bool:
    """Tell whether the author chose an executor that ours must not replace."""
    return job.executor_def.name not in _DEFAULT_EXECUTORS


def execute(
    prepared: Preparation, run: dg.DagsterRun, durable: Executor, *, resume: bool = False
) -> Iterator[DagsterEvent]:
    """Yield the events of a run as it executes in the calling thread; they are stored before they come out."""

    def contexts(*_: object, **__: object) -> Iterator[DagsterEvent | PlanOrchestrationContext]:
        yield from _orchestration(prepared, run, durable, resume=resume)

    return iter(
        ExecuteRunWithPlanIterable(
            execution_plan=prepared.plan,
            iterator=job_execution_iterator,
            execution_context_manager=PlanOrchestrationContextManager(
                context_event_generator=contexts,
                job=prepared.job,
                execution_plan=prepared.plan,
                dagster_run=run,
                instance=prepared.instance,
                run_config=run.run_config,
                raise_on_error=False,
                resume_from_failure=resume,
            ),
        )
    )


def _orchestration(
    prepared: Preparation, run: dg.DagsterRun, durable: Executor, *, resume: bool
) -> Iterator[DagsterEvent | PlanOrchestrationContext]:
    definition = prepared.job.get_definition()
    executor = create_executor(_creation_data(prepared, run)) if own_executor(definition) else durable
    yield PlanOrchestrationContext(
        plan_data=_plan_data(prepared, run, executor.retries, executor.step_dependency_config),
        log_manager=_log_manager(prepared, run),
        executor=executor,
        output_capture=None,
        resume_from_failure=resume,
    )


class ExecutionManager(ExecutionContextManager[PlanExecutionContext]):
    """Sets up resources and logging of a run, and tears them down."""

    def __init__(self, around: PlanOrchestrationContext, prepared: Preparation) -> None:
        super().__init__(_execution(around, prepared))

    @property
    def context_type(self) -> type[PlanExecutionContext]:
        """What the generator hands out."""
        return PlanExecutionContext


def _execution(
    around: PlanOrchestrationContext, prepared: Preparation
) -> Generator[DagsterEvent | PlanExecutionContext]:
    run, definition = around.dagster_run, prepared.job.get_definition()
    log_manager = _log_manager(prepared, run)
    loop = asyncio.new_event_loop()
    try:
        for item in _with_resources(prepared, run, log_manager, loop):
            if isinstance(item, DagsterEvent):
                yield item
                continue
            yield PlanExecutionContext(
                plan_data=_plan_data(prepared, run, around.retry_mode, around.executor.step_dependency_config),
                execution_data=ExecutionData(
                    scoped_resources_builder=item,
                    resolved_run_config=prepared.resolved,
                    job_def=definition,
                    repository_def=prepared.job.get_repository_definition(),
                ),
                log_manager=log_manager,
                output_capture=None,
                event_loop=loop,
            )
    finally:
        with contextlib.suppress(RuntimeError):  # an op left a loop running in this thread
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _with_resources(
    prepared: Preparation, run: dg.DagsterRun, log_manager: RunLogManager, loop: asyncio.AbstractEventLoop
) -> Generator[DagsterEvent | SharedResources]:
    """Yield what setting them up tells, the resources, and what putting them away tells."""
    definition, plan = prepared.job.get_definition(), prepared.plan
    definitions, keys = _resources(definition), get_required_resource_keys_to_init(plan, definition)
    values = values_at_hand(definitions, keys, prepared.instance)
    if values is not None:
        yield from told(run, plan, log_manager, values)
        yield SharedResources(values)
        return
    made = resource_initialization_manager(
        resource_defs=definitions,
        resource_configs=prepared.resolved.resources,
        log_manager=log_manager,
        execution_plan=plan,
        dagster_run=run,
        resource_keys_to_init=keys,
        instance=prepared.instance,
        emit_persistent_events=True,
        event_loop=loop,
    )
    yield from made.generate_setup_events()
    yield SharedResources(*made.get_object())
    yield from made.generate_teardown_events()


def _resources(definition: dg.JobDefinition) -> dict[str, dg.ResourceDefinition]:
    return {
        key: durable_io_manager if any(resource is stock for stock in _DEFAULT_IO_MANAGERS) else resource
        for key, resource in definition.get_required_resource_defs().items()
    }


def _plan_data(
    prepared: Preparation, run: dg.DagsterRun, retry_mode: RetryMode, dependencies: StepDependencyConfig
) -> PlanData:
    return PlanData(
        job=prepared.job,
        dagster_run=run,
        instance=prepared.instance,
        execution_plan=prepared.plan,
        raise_on_error=False,
        retry_mode=retry_mode,
        step_dependency_config=dependencies,
    )


def _creation_data(prepared: Preparation, run: dg.DagsterRun) -> ContextCreationData:
    definition = prepared.job.get_definition()
    return ContextCreationData(
        job=prepared.job,
        resolved_run_config=prepared.resolved,
        dagster_run=run,
        executor_def=definition.executor_def,
        instance=prepared.instance,
        resource_keys_to_init=get_required_resource_keys_to_init(prepared.plan, definition),
        execution_plan=prepared.plan,
    )


def _log_manager(prepared: Preparation, run: dg.DagsterRun) -> RunLogManager:
    """Return the run's logger, with the loggers that its configuration asks for."""
    definition = prepared.job.get_definition()
    loggers = [
        logger.logger_fn(
            dg.InitLoggerContext(
                prepared.resolved.loggers[key].get("config"), logger, job_def=definition, run_id=run.run_id
            )
        )
        for key, logger in definition.loggers.items()
        if key in prepared.resolved.loggers
    ]
    made = RunLogManager.create(loggers=loggers, dagster_run=run, instance=prepared.instance)
    return cast("RunLogManager", made)
