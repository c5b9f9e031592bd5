"""JSON Schemas of config: out of pydantic where the op has a config class, else out of Dagster's own types.

Dagster differs from pydantic in one place: in a run config an enum is told by its members' *names*, while
people (and the schema) say its values. The names travel beside the values as `x-names`.
"""

from collections.abc import Mapping
from enum import Enum
from typing import cast

import dagster as dg
from dagster import Array, Map, Noneable, Permissive, Selector, Shape
from dagster._config import ConfigType, ConfigTypeKind
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema
from typing_extensions import override

from orchestration.commands.values import NAMES, Schema

_SCALARS = {
    "String": "string",
    "Int": "integer",
    "Float": "number",
    "Bool": "boolean",
    "StringSourceType": "string",
    "IntSourceType": "integer",
    "BoolSourceType": "boolean",
}


class Inexpressible(Exception):
    """This config can't be said as typed arguments."""


class ChoicesFailed(Inexpressible):
    """The function of the author's that computes an argument's choices has failed."""


class _WithNames(GenerateJsonSchema):
    """Keeps the names of enum members."""

    @override
    def enum_schema(self, schema: core_schema.EnumSchema) -> dict[str, object]:
        members = cast("list[Enum]", schema["members"])
        return {**super().enum_schema(schema), NAMES: [member.name for member in members]}


def schemas_of_class(config: type[dg.Config]) -> dict[str, Schema]:
    """Return the JSON Schema of each field of a config class, by its key in the run config."""
    schema = cast("Schema", config.model_json_schema(schema_generator=_WithNames))
    definitions = cast("Mapping[str, Schema]", schema.get("$defs", {}))
    properties = cast("Mapping[str, Schema]", schema.get("properties", {}))
    return {name: cast("Schema", _inlined(value, definitions, depth=8)) for name, value in properties.items()}


def schema_of_type(config: ConfigType) -> Schema:
    """Return the JSON Schema of a Dagster config type. Raises `Inexpressible` for a choice between shapes."""
    if isinstance(config, Noneable):
        return {"anyOf": [schema_of_type(config.inner_type), {"type": "null"}]}
    if isinstance(config, Array):
        return {"type": "array", "items": schema_of_type(config.inner_type)}
    if isinstance(config, Map):
        return {"type": "object", "additionalProperties": schema_of_type(config.inner_type)}
    if isinstance(config, Shape | Permissive):
        return _schema_of_shape(config)
    return _schema_of_leaf(config)


def _schema_of_shape(config: Shape | Permissive) -> Schema:
    fields = config.fields
    return {
        "type": "object",
        "properties": {name: schema_of_type(field.config_type) for name, field in fields.items()},
        "required": [name for name, field in fields.items() if field.is_required],
        "additionalProperties": isinstance(config, Permissive),
    }


def _schema_of_leaf(config: ConfigType) -> Schema:
    if isinstance(config, Selector):
        raise Inexpressible(f"a choice between {', '.join(config.fields)} can't be typed in one line")
    if isinstance(config, dg.Enum):
        return {"type": "string", "enum": [value.config_value for value in config.enum_values]}
    if config.kind == ConfigTypeKind.ANY:
        return {}
    scalar = cast("ConfigType", getattr(config, "scalar_type", config))
    if scalar.key not in _SCALARS:
        raise Inexpressible(f"the config type {config.key} has no form that can be typed")
    return {"type": _SCALARS[scalar.key]}


def _inlined(value: object, definitions: Mapping[str, Schema], *, depth: int) -> object:
    if depth == 0:
        raise Inexpressible("its config class is nested too deeply")
    if isinstance(value, list):
        return [_inlined(item, definitions, depth=depth) for item in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    schema = cast("Schema", value)
    reference = schema.get("$ref")
    if isinstance(reference, str):
        found = definitions[reference.removeprefix("#/$defs/")]
        schema = {**found, **{key: item for key, item in schema.items() if key != "$ref"}}
        depth -= 1
    return {
        key: item if key in {"default", "enum", "const"} else _inlined(item, definitions, depth=depth)
        for key, item in schema.items()
    }
