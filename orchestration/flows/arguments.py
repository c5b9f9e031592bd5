"""The config class of a workflow's command, made from its arguments; Dagster and the catalogue read it as any other."""

from typing import Annotated, Any, Literal, Optional

import dagster as dg
from pydantic import Field, TypeAdapter, ValidationError, create_model
from pydantic_core import SchemaError

from integrations.complaints import in_words
from orchestration import arguments as kinds
from orchestration.flows.form import Argument, Form

_TYPES: dict[str, Any] = {
    "text": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "day": kinds.Day,
    "instant": kinds.Instant,
    "duration": kinds.Duration,
    "amount": kinds.Amount,
    "person": kinds.Person,
    "file": kinds.File,
    "secret": kinds.Secret,
}
_NUMBERS, _TEXTS = ("integer", "number", "amount"), ("text", "secret")
_BOUNDED = {"minimum": _NUMBERS, "maximum": _NUMBERS, **dict.fromkeys(("min_length", "max_length", "pattern"), _TEXTS)}
_BOUNDS = {"minimum": "ge", "maximum": "le", "min_length": "min_length", "max_length": "max_length"}


def config_of(form: Form) -> type[dg.Config]:
    """Return the class whose fields are the command's arguments."""
    fields: dict[str, Any] = {name: _field(argument) for name, argument in form.arguments.items()}
    return create_model(f"Arguments of {form.command}", __base__=dg.Config, **fields)


def doubt(argument: Argument) -> str | None:
    """Return why an argument can't be what it says; None where it can."""
    for bound, types in _BOUNDED.items():
        if getattr(argument, bound) is not None and argument.type not in types:
            return f"{bound} is for the types {', '.join(types)}"
    try:
        kind = TypeAdapter(_kind(argument))
        if argument.default is not None:
            kind.validate_python(argument.default, strict=True)
    except ValidationError as error:
        return f"default: {in_words(error.errors(include_url=False, include_input=False)[0])}"
    except SchemaError as error:
        return f"pattern: no regular expression ({' '.join(str(error).split())[:200]})"
    return None


def _kind(argument: Argument) -> Any:  # noqa: ANN401 - a type
    kind = Literal[tuple(argument.choices)] if argument.choices else _TYPES[argument.type]
    kind = Annotated[kind, Field(**_bounds(argument))]
    return list[kind] if argument.several else kind


def _field(argument: Argument) -> tuple[Any, Any]:
    kind = _kind(argument)
    said: dict[str, Any] = {"description": argument.description}
    extra: dict[str, Any] = {"description_zh": argument.description_zh} if argument.description_zh else {}
    if argument.type == "secret":  # where it is looked for, also if it is optional
        extra["dagster__is_secret"] = True
    if extra:
        said["json_schema_extra"] = extra
    if argument.default is not None:
        return kind, Field(default=argument.default, validate_default=True, **said)
    if argument.optional:
        return Optional[kind], Field(default=None, **said)  # noqa: UP045 - `|` knows no Annotated
    return kind, Field(**said)


def _bounds(argument: Argument) -> dict[str, Any]:
    said = {name: value for name in _BOUNDS if (value := getattr(argument, name)) is not None}
    if argument.type == "amount":  # a text to pydantic: the command's own reading keeps its bounds
        return {"json_schema_extra": said} if said else {}
    found: dict[str, Any] = {_BOUNDS[name]: value for name, value in said.items()}
    if argument.type == "integer":
        found = {name: int(value) if float(value).is_integer() else value for name, value in found.items()}
    return found | ({"pattern": argument.pattern} if argument.pattern is not None else {})
