"""Every name of Dagster's that is not public API and that the warm runtime rests on, in one place.

Dagster keeps no promise about these: `tests/integration/test_warm_upgrade_guard.py` exercises each of them, and
names the versions they were tried with.
"""

from dagster._config.pythonic_config import IAttachDifferentObjectToOpContext
from dagster._core.definitions.executor_definition import in_process_executor, multi_or_in_process_executor
from dagster._core.definitions.job_base import IJob, RepoBackedJob
from dagster._core.definitions.job_definition import (
    default_job_io_manager,
)
from dagster._core.definitions.job_definition import (
    default_job_io_manager_with_fs_io_manager_schema as default_job_io_manager_with_fs_schema,
)
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.scoped_resources_builder import Resources, ScopedResourcesBuilder
from dagster._core.errors import (
    DagsterExecutionInterruptedError,
    DagsterRunAlreadyExists,
    DagsterUserCodeLoadError,
    DagsterUserCodeUnreachableError,
)
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, DagsterEvent, EngineEventData
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.api import ExecuteRunWithPlanIterable, job_execution_iterator
from dagster._core.execution.compute_logs import create_compute_log_file_key
from dagster._core.execution.context.system import (
    ExecutionData,
    PlanData,
    PlanExecutionContext,
    PlanOrchestrationContext,
    StepExecutionContext,
)
from dagster._core.execution.context_creation_job import (
    ContextCreationData,
    ExecutionContextManager,
    PlanOrchestrationContextManager,
    create_executor,
)
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.execute_plan import (
    _trigger_hook as trigger_hooks,  # pyright: ignore[reportPrivateUsage] - what runs hooks
)
from dagster._core.execution.plan.execute_plan import dagster_event_sequence_for_step
from dagster._core.execution.plan.inputs import StepInput
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.objects import ErrorSource
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.execution.resources_init import get_required_resource_keys_to_init, resource_initialization_manager
from dagster._core.execution.retries import RetryMode
from dagster._core.execution.step_dependency_config import StepDependencyConfig
from dagster._core.executor.base import Executor
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, ResumeRunContext, RunLauncher, WorkerStatus
from dagster._core.log_manager import DagsterLogHandler, DagsterLogManager
from dagster._core.origin import JobPythonOrigin
from dagster._core.remote_origin import (
    CodeLocationOrigin,
    GrpcServerCodeLocationOrigin,
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, ScheduleInstigatorData
from dagster._core.storage.compute_log_manager import (
    CapturedLogContext,
    CapturedLogMetadata,
    CapturedLogSubscription,
    ComputeIOType,
    ComputeLogManager,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as EventLogTable
from dagster._core.storage.fs_io_manager import PickledObjectFilesystemIOManager
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster._core.storage.tags import CODE_LOCATION_TAG, PARENT_RUN_ID_TAG, RESUME_RETRY_TAG, ROOT_RUN_ID_TAG
from dagster._core.system_config.objects import ResolvedRunConfig
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster._grpc.server import LoadedRepositories
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster._utils.schedules import is_valid_cron_string, schedule_execution_time_iterator
from dagster._utils.tags import normalize_tags
from dagster_shared.record import replace as with_fields

__all__ = [
    "ASSET_CHECK_EVENTS",
    "ASSET_EVENTS",
    "CODE_LOCATION_TAG",
    "FINISHED_STATUSES",
    "PARENT_RUN_ID_TAG",
    "RESUME_RETRY_TAG",
    "ROOT_RUN_ID_TAG",
    "ActiveExecution",
    "CapturedLogContext",
    "CapturedLogMetadata",
    "CapturedLogSubscription",
    "CheckRunHealthResult",
    "CodeLocationOrigin",
    "ComputeIOType",
    "ComputeLogManager",
    "ConfigurableClass",
    "ConfigurableClassData",
    "ContextCreationData",
    "DagsterEvent",
    "DagsterExecutionInterruptedError",
    "DagsterLogHandler",
    "DagsterLogManager",
    "DagsterRunAlreadyExists",
    "DagsterUserCodeLoadError",
    "DagsterUserCodeUnreachableError",
    "EngineEventData",
    "ErrorSource",
    "EventLogEntry",
    "EventLogTable",
    "ExecuteRunWithPlanIterable",
    "ExecutionContextManager",
    "ExecutionData",
    "ExecutionPlan",
    "ExecutionStep",
    "Executor",
    "GrpcServerCodeLocationOrigin",
    "IAttachDifferentObjectToOpContext",
    "IJob",
    "InstanceConcurrencyContext",
    "InstanceRef",
    "InstigatorState",
    "InstigatorStatus",
    "InstigatorType",
    "JobPythonOrigin",
    "KnownExecutionState",
    "LaunchRunContext",
    "LoadedRepositories",
    "PickledObjectFilesystemIOManager",
    "PlanData",
    "PlanExecutionContext",
    "PlanOrchestrationContext",
    "PlanOrchestrationContextManager",
    "ReconstructableRepository",
    "RegisteredCodeLocationOrigin",
    "RemoteInstigatorOrigin",
    "RemoteJobOrigin",
    "RemoteRepositoryOrigin",
    "RepoBackedJob",
    "ResolvedRunConfig",
    "Resources",
    "ResumeRunContext",
    "RetryMode",
    "RunLauncher",
    "RunTagsTable",
    "RunsTable",
    "ScheduleInstigatorData",
    "ScopedResourcesBuilder",
    "StepDependencyConfig",
    "StepExecutionContext",
    "StepInput",
    "WorkerStatus",
    "create_compute_log_file_key",
    "create_executor",
    "dagster_event_sequence_for_step",
    "default_job_io_manager",
    "default_job_io_manager_with_fs_schema",
    "get_required_resource_keys_to_init",
    "in_process_executor",
    "is_valid_cron_string",
    "job_execution_iterator",
    "location_origins_from_yaml_paths",
    "multi_or_in_process_executor",
    "normalize_tags",
    "resource_initialization_manager",
    "schedule_execution_time_iterator",
    "trigger_hooks",
    "with_fields",
]
