"""The JSON Schema of workflows in YAML, for editors and for `checking.py`; `make schemas` prints it.

An argument of an action may be a reference in the place of a value, unless the action says that its author alone
decides it (`orchestration.actions.FIXED`).
"""

from functools import cache
from typing import Any, TypeAlias, cast

from orchestration import actions
from orchestration.flows.form import ACTIONS, MOST_RETRIES, Form

Schema: TypeAlias = dict[str, Any]
_REFERENCE: Schema = {"type": "string", "pattern": r"^\s*\{\{[^{}]*\}\}\s*$"}
_TEXT: Schema = {"type": "string"}
_RETRIES: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_RETRIES}


@cache
def schema() -> Schema:
    """Return the schema of a file."""
    found = Form.model_json_schema()
    parts: dict[str, Schema] = found["$defs"]
    steps = parts["Step"]["properties"]
    for name in ACTIONS:
        steps[name] = {"description": actions.find(name).summary, **arguments_of(name)}
    steps["wait"] = {**steps["wait"], "anyOf": [_TEXT, {"$ref": "#/$defs/Wait"}]}
    steps["retries"] = {**steps["retries"], "anyOf": [_RETRIES, {"$ref": "#/$defs/Retries"}]}
    named = found["properties"]["arguments"]["patternProperties"]
    for pattern in named:
        named[pattern] = {"anyOf": [{"$ref": "#/$defs/Argument"}, parts["Argument"]["properties"]["type"]]}
    for place in ("arguments", "steps"):
        found["properties"][place]["additionalProperties"] = False
    found["properties"]["reply"] = {
        "anyOf": [_TEXT, {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Case"}}],
        "description": "What is answered: a text, or several with conditions, of which the first that holds is sent.",
    }
    scalar: Schema = {"type": ["string", "number", "boolean", "null"]}
    wanted: Schema = {"anyOf": [scalar, {"type": "array"}, {"$ref": "#/$defs/Compared"}]}
    for part in ("Step", "Case"):
        parts[part]["properties"]["when"]["additionalProperties"] = wanted
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "A workflow of Runbell"}


@cache
def arguments_of(action: str) -> Schema:
    """Return the schema of an action's arguments as a step may write them."""
    plain = actions.find(action).arguments.model_json_schema()
    properties = cast("dict[str, Schema]", plain.get("properties", {}))
    return {
        "type": "object",
        "properties": {name: _open(value) for name, value in properties.items()},
        "required": plain.get("required", []),
        "additionalProperties": False,
    }


def is_fixed(action: str, argument: str) -> bool:
    """Whether an argument of an action may hold no reference."""
    return _marked(action, argument) == actions.FIXED["x-runbell"]


def is_url(action: str, argument: str) -> bool:
    """Whether an argument of an action is an address."""
    return _marked(action, argument) == actions.IN_URL["x-runbell"]


def _marked(action: str, argument: str) -> object:
    return actions.find(action).arguments.model_json_schema()["properties"].get(argument, {}).get("x-runbell")


def _open(value: Schema) -> Schema:
    """Let a reference stand in the place of each value."""
    if value.get("x-runbell") == actions.FIXED["x-runbell"]:
        return value
    value = dict(value)
    for inner in ("items", "additionalProperties"):
        if isinstance(value.get(inner), dict) and value[inner]:
            value[inner] = _open(value[inner])
    if "anyOf" in value:
        choices = cast("list[Schema]", value.pop("anyOf"))
        return {**value, "anyOf": [*(_open_members(choice) for choice in choices), _REFERENCE]}
    if value.get("type") == "string" and "enum" not in value:
        return value
    words = {key: value.pop(key) for key in ("title", "description", "default") if key in value}
    return {**words, "anyOf": [value, _REFERENCE]}


def _open_members(value: Schema) -> Schema:
    opened = _open(value)
    return opened["anyOf"][0] if "anyOf" in opened else opened
