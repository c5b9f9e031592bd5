"""Guards against upgrades of Dagster: exercises every API in use that Dagster keeps no promise about.

When a test here fails after an upgrade, read what it says, adapt `orchestration/warm`, and widen the range.
"""

import inspect
import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_definition import JobDefinition
from dagster._core.execution.plan.outputs import StepOutputHandle

from orchestration.warm import internals
from orchestration.warm.engine import Preparation, execute
from orchestration.warm.executor import DurableExecutor
from orchestration.warm.interrupt import interruptible
from orchestration.warm.writing import PARTS
from tests.integration import warm_jobs
from tests.warming import WarmHome, warm

__all__ = ["warm"]

TRIED = "1.13.x"
WARM = Path(internals.__file__).parent


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Name the versions in the message of whatever goes wrong."""
    try:
        yield
    except Exception as error:
        raise AssertionError(
            f"{what} behaves differently in Dagster {version('dagster')}: the warm runtime was made for {TRIED}."
            f" Adapt orchestration/warm. ({type(error).__name__}: {error})"
        ) from error


def test_the_installed_dagster_is_one_that_the_warm_runtime_was_tried_with() -> None:
    assert re.fullmatch(r"1\.13\.\d+", version("dagster")), f"tried with {TRIED} only"
    assert re.fullmatch(r"0\.29\.\d+", version("dagster-postgres")), "tried with 0.29.x only"


@pytest.mark.parametrize("name", internals.__all__)
def test_every_internal_name_is_there_and_in_use(name: str) -> None:
    with guarded(f"internals.{name}"):
        assert getattr(internals, name) is not None
    users = [path for path in WARM.glob("*.py") if path.name != "internals.py"]
    assert any(re.search(rf"\b{name}\b", path.read_text()) for path in users), f"{name} is not used any more"


def test_nothing_but_internals_imports_what_is_not_public() -> None:
    offenders = {
        path.name: found
        for path in WARM.glob("*.py")
        if path.name != "internals.py"
        and (found := re.findall(r"^\s*(?:from|import) dagster\._\S*", path.read_text(), re.MULTILINE))
    }
    assert offenders == {}


PARAMETERS: list[tuple[Any, set[str]]] = [
    (internals.ExecutionPlan.build, {"step_keys_to_execute", "known_state", "instance_ref", "tags"}),
    (
        internals.PlanOrchestrationContextManager,
        {"context_event_generator", "job", "execution_plan", "dagster_run", "resume_from_failure"},
    ),
    (
        internals.ExecuteRunWithPlanIterable,
        {"execution_plan", "iterator", "execution_context_manager"},
    ),
    (
        internals.PlanOrchestrationContext,
        {"plan_data", "log_manager", "executor", "output_capture", "resume_from_failure"},
    ),
    (
        internals.PlanExecutionContext,
        {"plan_data", "execution_data", "log_manager", "output_capture", "event_loop"},
    ),
    (
        internals.resource_initialization_manager,
        {"resource_defs", "resource_configs", "log_manager", "execution_plan", "resource_keys_to_init", "event_loop"},
    ),
    (internals.DagsterLogManager.__init__, {"dagster_handler", "level", "managed_loggers"}),
    (internals.DagsterLogManager.log_dagster_event, {"level", "msg", "dagster_event", "batch_metadata"}),
    (internals.LoadedRepositories, {"container_image", "entry_point", "container_context", "code_location_name"}),
    (internals.CheckRunHealthResult, {"status", "msg", "run_worker_id"}),
    (internals.ComputeLogManager.get_log_data_for_type, {"log_key", "io_type", "offset", "max_bytes"}),
    (
        dg.DagsterInstance.create_run_for_job,
        {"execution_plan", "run_id", "run_config", "tags", "remote_job_origin", "job_code_origin"},
    ),
    (dg.DagsterInstance.report_run_failed, {"dagster_run", "message"}),
    (dg.DagsterInstance.report_engine_event, {"message", "dagster_run", "job_name", "run_id"}),
]


@pytest.mark.parametrize(("api", "names"), PARAMETERS, ids=lambda value: getattr(value, "__qualname__", ""))
def test_internal_calls_take_the_arguments_that_we_pass(api: Any, names: set[str]) -> None:
    with guarded(getattr(api, "__qualname__", str(api))):
        assert names <= set(inspect.signature(api).parameters)


def test_active_execution_has_the_state_that_a_replay_sets() -> None:
    definition = _job("five")
    plan = internals.ExecutionPlan.build(definition, internals.ResolvedRunConfig.build(definition, {}))
    with (
        guarded("ActiveExecution"),
        plan.start(retry_mode=internals.RetryMode.ENABLED) as active,
    ):
        assert active._instance_concurrency_context is None
        (step,) = active.get_steps_to_execute()
        assert active._in_flight == {step.key}
        assert active._executable == []
        assert active._waiting_to_retry == {}
        assert list(active.get_steps_to_skip()) == []
        assert list(active.get_steps_to_abandon()) == []
        assert active.sleep_interval() == 0
        assert active.get_known_state() is not None
        active._in_flight.remove(step.key)
        active._waiting_to_retry[step.key] = math.inf
        assert active.get_next_step() is None
        assert active.sleep_interval() == math.inf
        assert not active.is_complete
        active._waiting_to_retry[step.key] = 0.0
        assert active.get_next_step() is step
        active.mark_up_for_retry(step.key, None)
        for key in ("one", "more", "more_2", "more_3", "told"):
            assert [ready.key for ready in active.get_steps_to_execute()] == [key]
            active.mark_step_produced_output(StepOutputHandle(key))
            active.mark_success(key)
        assert active.is_complete


def test_what_is_left_of_a_failed_run_is_derived_from_its_events() -> None:
    with guarded("KnownExecutionState"), dg.DagsterInstance.local_temp() as instance:
        failed = _job("failing").execute_in_process(instance=instance, raise_on_error=False)
        run = instance.get_run_by_id(failed.run_id)
        assert run is not None
        steps, known = internals.KnownExecutionState.build_resume_retry_reexecution(instance, run)
        assert list(steps) == ["broken", "told"]
        assert known.parent_state is not None
        assert known.parent_state.run_id == failed.run_id


def test_the_hooks_of_the_instance_are_asked() -> None:
    asked: list[str] = []

    class Asked(dg.DagsterInstance):
        def get_yaml_python_handlers(self) -> list[logging.Handler]:
            asked.append("handlers")
            return []

        def run_will_resume(self, run_id: str) -> bool:
            asked.append("resume")
            return True

    with guarded("DagsterInstance"), dg.DagsterInstance.local_temp() as stock:
        ref = stock.get_ref()
        instance = Asked(
            instance_type=stock._instance_type,
            local_artifact_storage=stock._local_artifact_storage,
            run_storage=ref.run_storage,  # pyright: ignore
            event_storage=ref.event_storage,  # pyright: ignore
            compute_log_manager=None,
            run_coordinator=None,
            run_launcher=None,
            ref=ref,
        )
        assert list(instance.get_handlers())
        assert instance.run_will_resume("x")
        assert asked == ["handlers", "resume"]


def test_an_interrupted_run_that_will_resume_is_no_failure_and_resumes(warm: WarmHome) -> None:
    run = warm.instance.create_run_for_job(_job("five"))
    job = internals.RepoBackedJob("five", warm_jobs.defs.get_repository_def())
    warm.instance.parked.add(run.run_id)
    with guarded("job_execution_iterator with run_will_resume"), interruptible() as interrupt:
        prepared = Preparation(job, {}, {}, warm.instance)
        events = execute(prepared, run, DurableExecutor(prepared, interrupt))
        for event in events:
            if event.is_step_success and event.step_key == "more":
                from orchestration.warm.interrupt import Reason

                interrupt.request(Reason.DRAIN)
        assert warm.status(run.run_id) == "STARTED"

    stored = warm.instance.get_run_by_id(run.run_id)
    assert stored is not None
    with guarded("resume_from_failure"), interruptible() as interrupt:
        prepared = Preparation(job, {}, {}, warm.instance)
        for _ in execute(prepared, stored, DurableExecutor(prepared, interrupt), resume=True):
            pass
        assert warm.status(run.run_id) == "SUCCESS"
        steps = [step for kind, step in warm.kinds(run.run_id) if kind == "STEP_SUCCESS"]
        assert steps == ["one", "more", "more_2", "more_3", "told"]


def test_storages_keep_the_stock_schema_and_are_read_by_the_stock_classes(warm: WarmHome, database_url: str) -> None:
    from dagster_postgres.event_log.event_log import PostgresEventLogStorage
    from dagster_postgres.run_storage.run_storage import PostgresRunStorage

    from integrations.database.engine import driver_url

    run = warm.instance.create_run_for_job(_job("five"))
    warm.instance.report_engine_event("hello", run)
    url = driver_url(database_url, "psycopg2").render_as_string(hide_password=False)
    with guarded("dagster-postgres"):
        events = PostgresEventLogStorage(url, should_autocreate_tables=False)
        runs = PostgresRunStorage(url, should_autocreate_tables=False)
        assert [entry.message for entry in events.get_logs_for_run(run.run_id)] == ["hello"]
        assert runs.has_run(run.run_id)
        assert events.alembic_version()[0] == events.alembic_version()[1]
        warm.instance.upgrade()
        events.dispose()


def test_the_event_storage_is_asked_by_the_names_that_we_override() -> None:
    from dagster_postgres.event_log.event_log import PostgresEventLogStorage
    from dagster_postgres.run_storage.run_storage import PostgresRunStorage

    with guarded("dagster-postgres"):
        for name in ("store_event", "has_table", "_event_to_row", "dispose", "from_config_value"):
            assert callable(getattr(PostgresEventLogStorage, name))
        for name in (
            "has_run_stats_index_cols",
            "has_backfill_id_column",
            "has_job_snapshot",
            "has_execution_plan_snapshot",
            "_core_add_run",
        ):
            assert callable(getattr(PostgresRunStorage, name))


def test_dagster_keeps_an_entry_for_every_run_until_it_is_forgotten(warm: WarmHome) -> None:
    run = warm.instance.create_run_for_job(_job("five"))
    warm.instance.report_engine_event("hello", run)
    kept = warm.instance._subscribers
    with guarded("DagsterInstance._subscribers"):
        assert run.run_id in kept, "it grows no more: forget() can go"

    warm.instance.forget(run.run_id)

    assert run.run_id not in kept


def test_the_tables_have_the_columns_that_a_group_commit_writes() -> None:
    with guarded("dagster's schema"):
        assert set(internals.EventLogTable.c.keys()) - {"id"} == set(PARTS["event"].columns)
        assert set(internals.RunsTable.c.keys()) - {"id", "mode"} == set(PARTS["created"].columns)
        assert set(internals.RunTagsTable.c.keys()) - {"id"} == set(PARTS["tag"].columns)


def _job(name: str) -> JobDefinition:
    return warm_jobs.defs.get_repository_def().get_job(name)
