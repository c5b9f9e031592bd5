"""How a command is typed after `runbell run`, told from its JSON Schema: its form, and an example that would do."""

import json
from collections.abc import Mapping, Sequence
from typing import cast

from integrations.gateway.installation import program

Json = Mapping[str, object]
_FORMATS = {
    "date": "2026-12-01",
    "date-time": "'2026-12-01 09:30'",
    "duration": "90s",
    "decimal": "12.50",
    "principal": "me",
    "file": "report.pdf",
    "password": "env:NAME",
}
_KINDS = {"boolean": "true", "integer": "1", "number": "1.5", "object": '\'{"key": "value"}\'', "string": "text"}


def form(command: Json) -> str:
    """Return the arguments, those that may be left out in brackets."""
    required = _required(command)
    return " ".join(f"{name}=…" if name in required else f"[{name}=…]" for name in _properties(command))


def usage(command: Json) -> str:
    """Return how the command is typed, and an example with what it needs, a line each."""
    typed = f"{program()} run {command['name']}"
    needed = [f"{name}={_sample(name, schema)}" for name, schema in _properties(command).items()
              if name in _required(command)]  # fmt: skip
    lines = [f"Usage: {typed} {form(command)}".rstrip()]
    return "\n".join([*lines, f"Example: {typed} {' '.join(needed)}"] if needed else lines)


def options(schema: Json) -> Sequence[Json]:
    """Return the schemas of which a value may fit any."""
    return cast("Sequence[Json]", schema.get("anyOf") or schema.get("oneOf") or (schema,))


def _properties(command: Json) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", cast("Json", command.get("schema") or {}).get("properties") or {})


def _required(command: Json) -> Sequence[str]:
    return cast("Sequence[str]", cast("Json", command.get("schema") or {}).get("required") or ())


def _sample(name: str, schema: Json) -> str:
    """Return a value of the right kind, as it is typed."""
    first = next(option for option in options(schema) if option.get("type") != "null")
    if values := cast("Sequence[object]", first.get("enum") or ()):
        return _typed(values[0])
    if first.get("type") == "array":
        return _sample(name, cast("Json", first.get("items") or {}))
    if (known := _FORMATS.get(str(first.get("format")))) is not None:
        return known
    if "minimum" in first:
        return _typed(first["minimum"])
    if first.get("type") == "string" and "url" in name.lower():
        return "https://example.com"
    return _KINDS.get(str(first.get("type")), "text")


def _typed(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
