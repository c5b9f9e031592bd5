"""Every name of Dagster's that is not public API and that the warm runtime rests on, in one place.

Dagster keeps no promise about these: `tests/integration/test_warm_upgrade_guard.py` exercises each of them, and
names the versions they were tried with.
"""

from dagster._core.definitions.executor_definition import in_process_executor as in_process_executor
from dagster._core.definitions.executor_definition import (
    multi_or_in_process_executor as multi_or_in_process_executor,
)
from dagster._core.definitions.job_base import IJob as IJob
from dagster._core.definitions.job_base import RepoBackedJob as RepoBackedJob
from dagster._core.definitions.job_definition import default_job_io_manager as default_job_io_manager
from dagster._core.definitions.job_definition import (
    default_job_io_manager_with_fs_io_manager_schema as default_job_io_manager_with_fs_schema,
)
from dagster._core.definitions.reconstruct import ReconstructableJob as ReconstructableJob
from dagster._core.definitions.reconstruct import ReconstructableRepository as ReconstructableRepository
from dagster._core.definitions.resource_definition import ScopedResourcesBuilder as ScopedResourcesBuilder
from dagster._core.errors import DagsterExecutionInterruptedError as DagsterExecutionInterruptedError
from dagster._core.errors import DagsterRunAlreadyExists as DagsterRunAlreadyExists
from dagster._core.events import ASSET_CHECK_EVENTS as ASSET_CHECK_EVENTS
from dagster._core.events import ASSET_EVENTS as ASSET_EVENTS
from dagster._core.events import DagsterEvent as DagsterEvent
from dagster._core.events import EngineEventData as EngineEventData
from dagster._core.events import JobFailureData as JobFailureData
from dagster._core.events import RunFailureReason as RunFailureReason
from dagster._core.events.log import EventLogEntry as EventLogEntry
from dagster._core.execution.api import ExecuteRunWithPlanIterable as ExecuteRunWithPlanIterable
from dagster._core.execution.api import create_execution_plan as create_execution_plan
from dagster._core.execution.api import job_execution_iterator as job_execution_iterator
from dagster._core.execution.compute_logs import create_compute_log_file_key as create_compute_log_file_key
from dagster._core.execution.context.system import ExecutionData as ExecutionData
from dagster._core.execution.context.system import PlanData as PlanData
from dagster._core.execution.context.system import PlanExecutionContext as PlanExecutionContext
from dagster._core.execution.context.system import PlanOrchestrationContext as PlanOrchestrationContext
from dagster._core.execution.context.system import StepExecutionContext as StepExecutionContext
from dagster._core.execution.context_creation_job import ContextCreationData as ContextCreationData
from dagster._core.execution.context_creation_job import ExecutionContextManager as ExecutionContextManager
from dagster._core.execution.context_creation_job import (
    PlanOrchestrationContextManager as PlanOrchestrationContextManager,
)
from dagster._core.execution.context_creation_job import create_executor as create_executor
from dagster._core.execution.plan.active import ActiveExecution as ActiveExecution
from dagster._core.execution.plan.execute_plan import _trigger_hook as trigger_hooks
from dagster._core.execution.plan.execute_plan import (
    dagster_event_sequence_for_step as dagster_event_sequence_for_step,
)
from dagster._core.execution.plan.instance_concurrency_context import (
    InstanceConcurrencyContext as InstanceConcurrencyContext,
)
from dagster._core.execution.plan.objects import ErrorSource as ErrorSource
from dagster._core.execution.plan.outputs import StepOutputHandle as StepOutputHandle
from dagster._core.execution.plan.plan import ExecutionPlan as ExecutionPlan
from dagster._core.execution.plan.step import ExecutionStep as ExecutionStep
from dagster._core.execution.resources_init import (
    get_required_resource_keys_to_init as get_required_resource_keys_to_init,
)
from dagster._core.execution.resources_init import (
    resource_initialization_manager as resource_initialization_manager,
)
from dagster._core.execution.retries import RetryMode as RetryMode
from dagster._core.execution.step_dependency_config import StepDependencyConfig as StepDependencyConfig
from dagster._core.executor.base import Executor as Executor
from dagster._core.instance.ref import InstanceRef as InstanceRef
from dagster._core.launcher import CheckRunHealthResult as CheckRunHealthResult
from dagster._core.launcher import LaunchRunContext as LaunchRunContext
from dagster._core.launcher import ResumeRunContext as ResumeRunContext
from dagster._core.launcher import RunLauncher as RunLauncher
from dagster._core.launcher import WorkerStatus as WorkerStatus
from dagster._core.log_manager import DagsterLogHandler as DagsterLogHandler
from dagster._core.log_manager import DagsterLogHandlerMetadata as DagsterLogHandlerMetadata
from dagster._core.log_manager import DagsterLogManager as DagsterLogManager
from dagster._core.origin import JobPythonOrigin as JobPythonOrigin
from dagster._core.remote_origin import CodeLocationOrigin as CodeLocationOrigin
from dagster._core.remote_origin import RegisteredCodeLocationOrigin as RegisteredCodeLocationOrigin
from dagster._core.remote_origin import RemoteJobOrigin as RemoteJobOrigin
from dagster._core.remote_origin import RemoteRepositoryOrigin as RemoteRepositoryOrigin
from dagster._core.snap import snapshot_from_execution_plan as snapshot_from_execution_plan
from dagster._core.storage.compute_log_manager import CapturedLogContext as CapturedLogContext
from dagster._core.storage.compute_log_manager import CapturedLogMetadata as CapturedLogMetadata
from dagster._core.storage.compute_log_manager import CapturedLogSubscription as CapturedLogSubscription
from dagster._core.storage.compute_log_manager import ComputeIOType as ComputeIOType
from dagster._core.storage.compute_log_manager import ComputeLogManager as ComputeLogManager
from dagster._core.storage.dagster_run import FINISHED_STATUSES as FINISHED_STATUSES
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as EventLogTable
from dagster._core.storage.fs_io_manager import (
    PickledObjectFilesystemIOManager as PickledObjectFilesystemIOManager,
)
from dagster._core.system_config.objects import ResolvedRunConfig as ResolvedRunConfig
from dagster._core.workspace.load import location_origins_from_yaml_paths as location_origins_from_yaml_paths
from dagster._grpc.server import LoadedRepositories as LoadedRepositories
from dagster._serdes import ConfigurableClass as ConfigurableClass
from dagster._serdes import ConfigurableClassData as ConfigurableClassData
from dagster._utils.error import (
    serializable_error_info_from_exc_info as serializable_error_info_from_exc_info,
)
