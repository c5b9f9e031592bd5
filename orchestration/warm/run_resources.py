"""The resources of a run: values that are there already are handed out as they are, the others are made by Dagster.

For each resource of each run Dagster makes a context, a logger, a generator and two classes, and two classes more for
what each op needs. Beside 200 answers under way that was most of what a garbage collection of a worker walked: 0.2 s in
which nobody was answered, every ten seconds.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ContextDecorator
from inspect import isgenerator
from typing import cast

import dagster as dg

from orchestration.warm.internals import (
    DagsterEvent,
    DagsterLogManager,
    ExecutionPlan,
    ExecutionStep,
    IAttachDifferentObjectToOpContext,
    Resources,
    ScopedResourcesBuilder,
)
from orchestration.warm.io_manager import durable_io_manager, manager_of

_PLAIN = getattr(dg.ResourceDefinition.hardcoded_resource(None).resource_fn, "__code__", None)
"""The code behind all definitions of plain values, such as those that `Definitions` makes of any object."""


class SharedResources(ScopedResourcesBuilder):
    """What the ops of a run receive; those with the same needs share it."""

    def build(self, required_resource_keys: AbstractSet[str] | None) -> Resources:
        """Return the resources with these keys, as far as they are there."""
        built: dict[frozenset[str], Resources] = self.__dict__.setdefault("built", {})
        keys = frozenset(required_resource_keys or ())
        if keys not in built:
            built[keys] = super().build(keys) if self.contains_generator else _Chosen(self.resource_instance_dict, keys)
        return built[keys]


class _Chosen(Resources):
    """Resources as attributes, without a class for each choice; an unknown name is Dagster's error."""

    def __init__(self, values: Mapping[str, object], keys: AbstractSet[str]) -> None:
        chosen = {key: values[key] for key in keys if key in values}
        self.__dict__.update({key: _attached(value) for key, value in chosen.items()}, _originals=chosen)

    def __iter__(self) -> Iterator[object]:
        """Iterate over the resources, without their names, as over Dagster's tuple of them."""
        return (self.__dict__[key] for key in self.original_resource_dict)

    @property
    def original_resource_dict(self) -> Mapping[str, object]:
        """The resources as they were set up."""
        return self.__dict__["_originals"]


def values_at_hand(
    definitions: Mapping[str, dg.ResourceDefinition], keys: AbstractSet[str], instance: dg.DagsterInstance
) -> dict[str, object] | None:
    """Return the resources with these keys; None where Dagster has to make one of them."""
    values: dict[str, object] = {}
    for key in sorted(keys):
        definition = definitions[key]
        if definition is durable_io_manager:
            values[key] = manager_of(instance)
        elif _PLAIN is not None and getattr(definition.resource_fn, "__code__", None) is _PLAIN:
            value = values[key] = definition.resource_fn(None)  # pyright: ignore[reportArgumentType, reportCallIssue] - it takes a context, and leaves it alone
            if isinstance(value, ContextDecorator) or isgenerator(value):
                return None  # Dagster enters it, and leaves it in the end
        else:
            return None
    return values


def told(
    run: dg.DagsterRun, plan: ExecutionPlan, log_manager: DagsterLogManager, values: Mapping[str, object]
) -> Iterator[DagsterEvent]:
    """Yield what Dagster tells of resources that it has set up."""
    if not values:
        return
    single = plan.step_handle_for_single_step_plans()
    log = log_manager.with_tags(**cast("ExecutionStep", plan.get_step(single)).logging_tags) if single else log_manager
    yield DagsterEvent.resource_init_start(run.job_name, plan, log, values.keys())
    yield DagsterEvent.resource_init_success(run.job_name, plan, log, values, dict.fromkeys(values, "0ms"))


def _attached(value: object) -> object:
    return (
        value.get_object_to_set_on_execution_context()
        if isinstance(value, IAttachDifferentObjectToOpContext)
        else value
    )
