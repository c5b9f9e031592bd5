"""Create Dagster's runs: the first of a job by Dagster itself, the others like it, with config and tags of their own.

Dagster makes a snapshot of a run's plan, and a digest of it, for every run: most of what a run's creation takes.
"""

import threading
from weakref import WeakKeyDictionary

import dagster as dg

from orchestration.warm.engine import Preparation
from orchestration.warm.internals import CODE_LOCATION_TAG, normalize_tags, with_fields
from orchestration.warm.location import Location


class Creation:
    """Creates runs of one code location in one instance. Thread-safe."""

    def __init__(self, instance: dg.DagsterInstance, location: Location) -> None:
        self._instance = instance
        self._location = location
        self._first: WeakKeyDictionary[dg.JobDefinition, dg.DagsterRun] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def create(self, run_id: str, prepared: Preparation, parent: dg.DagsterRun | None = None) -> dg.DagsterRun:
        """Store a run that goes by this preparation, and return it; `parent` is the run that it retries."""
        definition = prepared.job.get_definition()
        if parent is not None or not prepared.plain or _materializes(prepared):
            return self._anew(definition, run_id, prepared, parent)
        first = self._first.get(definition)
        if first is None:
            first = self._anew(definition, run_id, prepared, None)
            with self._lock:
                self._first[definition] = first
            return first
        tags = {**normalize_tags(prepared.tags), CODE_LOCATION_TAG: self._location.name}
        run = with_fields(first, run_id=run_id, run_config=prepared.run_config, tags=tags)
        return self._instance.run_storage.add_run(run)

    def _anew(
        self, definition: dg.JobDefinition, run_id: str, prepared: Preparation, parent: dg.DagsterRun | None
    ) -> dg.DagsterRun:
        return self._instance.create_run_for_job(
            definition,
            execution_plan=prepared.plan,
            run_id=run_id,
            run_config=prepared.run_config,
            tags=prepared.tags,
            parent_run_id=parent and parent.run_id,
            root_run_id=parent and (parent.root_run_id or parent.run_id),
            remote_job_origin=self._location.remote_origin(definition.name),
            job_code_origin=self._location.code_origin(definition.name),
        )


def _materializes(prepared: Preparation) -> bool:
    """Tell whether Dagster notes at a run's creation which assets it will make."""
    outputs = (output for step in prepared.plan.steps for output in step.step_outputs)
    return any(output.properties.asset_key or output.properties.asset_check_key for output in outputs)
