"""Execution plans, built once per job: most runs of a job differ in nothing but what their ops are configured with."""

import threading
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import dagster as dg

from orchestration.warm.internals import ExecutionPlan, KnownExecutionState, ResolvedRunConfig

_built: "WeakKeyDictionary[dg.JobDefinition, ExecutionPlan]" = WeakKeyDictionary()
_lock = threading.Lock()
_SHAPELESS = frozenset({"ops", "loggers", "resources"})
"""Sections of a run's config that leave its plan alone, but for inputs and outputs of ops."""


def is_plain(run_config: Mapping[str, object], resolved: ResolvedRunConfig) -> bool:
    """Tell whether a run's plan is that of all its job's runs: nothing in its config gives the plan another shape."""
    return run_config.keys() <= _SHAPELESS and not any(
        op.inputs or op.outputs.output_names for op in resolved.ops.values()
    )


def plain_plan(definition: dg.JobDefinition, resolved: ResolvedRunConfig) -> ExecutionPlan:
    """Return the plan of a run that `is_plain`, for this run alone: a run's dynamic outputs add to its plan."""
    plan = _built.get(definition)
    if plan is None:
        plan = ExecutionPlan.build(definition, resolved)
        with _lock:
            _built[definition] = plan
    # Not by Dagster's constructor, which looks at the type of each part.
    return plan._replace(
        step_dict=dict(plan.step_dict),
        step_dict_by_key=dict(plan.step_dict_by_key),
        executable_map=dict(plan.executable_map),
        resolvable_map=dict(plan.resolvable_map),
        known_state=KnownExecutionState(),
    )
