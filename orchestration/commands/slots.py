"""Where a job takes config: walk the run config type of a job and find each op's place in it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import dagster as dg
from dagster._config import ConfigTypeKind, Field, Shape
from dagster._core.definitions.decorators.op_decorator import DecoratedOpFunction
from dagster._core.definitions.dependency import Node

from orchestration.commands.schemas import Inexpressible


@dataclass(frozen=True)
class Slot:
    """One place of config: `path` leads to it; `defaults` is what the job itself puts there."""

    label: str
    path: tuple[str, ...]
    field: Field
    config_class: type[dg.Config] | None
    defaults: Mapping[str, object]

    @property
    def whole(self) -> bool:
        """Whether the config is a single value and not a set of fields."""
        return not isinstance(self.field.config_type, Shape)

    def path_of(self, name: str) -> tuple[str, ...]:
        """Return where the argument of this name goes."""
        return self.path if self.whole else (*self.path, name)

    def has_default(self, name: str) -> bool:
        """Whether the job has a value of its own for it."""
        return bool(self.defaults) if self.whole else name in self.defaults


def slots_of(job: dg.JobDefinition) -> list[Slot]:
    """Return every place where the job takes config. Raises `Inexpressible` where something else is required."""
    defaults = cast("Mapping[str, object]", job.run_config or {})
    if job.config_mapping is not None and job.run_config is None:
        # The author mapped the whole run config to a schema of their own: its fields are the arguments.
        return [Slot(job.name, (), job.config_mapping.config_schema.as_field(), None, {})]
    root = _shape(job.run_config_schema.run_config_schema_type)
    slots: list[Slot] = []
    for key, field in root.fields.items():
        if key == "ops":
            slots.extend(_slots_of_nodes(field, job.graph, ("ops",), _inside(defaults, "ops")))
        elif field.is_required and key not in defaults:
            raise Inexpressible(f"it requires {key} in its run config")
    return slots


def _slots_of_nodes(
    field: Field, graph: dg.GraphDefinition, path: tuple[str, ...], defaults: Mapping[str, object]
) -> Iterator[Slot]:
    shape = _shape(field.config_type)
    if graph.has_config_mapping:
        yield Slot(graph.name, (*path, "config"), shape.fields["config"], None, _inside(defaults, "config"))
        return
    for node in _in_order(graph):
        if node.name in shape.fields:
            yield from _slots_of_node(node, shape.fields[node.name], (*path, node.name), _inside(defaults, node.name))


def _slots_of_node(node: Node, field: Field, path: tuple[str, ...], defaults: Mapping[str, object]) -> Iterator[Slot]:
    for key, inner in _shape(field.config_type).fields.items():
        if key == "config" and inner.config_type.kind == ConfigTypeKind.ANY:
            continue  # an op that asks for nothing takes anything
        if key == "config":
            config_class = _config_class(node.definition)
            yield Slot(node.name, (*path, "config"), inner, config_class, _inside(defaults, "config"))
        elif key == "ops":
            graph = cast("dg.GraphDefinition", node.definition)
            yield from _slots_of_nodes(inner, graph, (*path, "ops"), _inside(defaults, "ops"))
        elif inner.is_required and key not in defaults:
            raise Inexpressible(f"the op {node.name} requires {key} in its run config")


def _in_order(graph: dg.GraphDefinition) -> Sequence[Node]:
    """Ops in the order of the graph, so that arguments come in the order of the story."""
    return graph.nodes_in_topological_order


def _config_class(definition: object) -> type[dg.Config] | None:
    if not isinstance(definition, dg.OpDefinition):
        return None
    function = definition.compute_fn
    if not isinstance(function, DecoratedOpFunction) or not function.has_config_arg():
        return None
    annotation = cast("object", function.get_config_arg().annotation)
    return annotation if isinstance(annotation, type) and issubclass(annotation, dg.Config) else None


def _shape(config: object) -> Shape:
    if not isinstance(config, Shape):
        raise Inexpressible("its run config has an unusual form")
    return config


def _inside(defaults: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = defaults.get(key, {})
    return cast("Mapping[str, object]", found) if isinstance(found, Mapping) else {"": found}
