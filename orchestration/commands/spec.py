"""A typed command: a job of some code location, with the arguments that its config class asks for.

Compiled by `catalogue.py` where the code is loaded, stored as JSON, and read by processes that have none of
that code. `json_schema` stands alone (references are inlined); an enum that Dagster knows by its members'
names carries them as `x-names`, in the order of `enum`.
"""

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from string import Formatter
from typing import cast

from pydantic import BaseModel, ConfigDict, Field

from integrations.database.turns import AtOnce
from orchestration.commands.language import Language
from orchestration.commands.policy import Traits
from orchestration.commands.values import Schema, in_config_form, without_null

MAX_KEY = 300


class Frozen(BaseModel):
    """Base of values that cross a process."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Argument(Frozen):
    """One argument, and where it goes in the run config (`path` ends in its own key)."""

    name: str
    path: tuple[str, ...]
    json_schema: dict[str, object]
    required: bool = False
    description: str = ""
    description_zh: str = ""
    secret: bool = False

    def described(self, language: Language) -> str:
        """Return what it is, in this language where its author gave that, without the full stop of a sentence."""
        said = self.description_zh if language == "zh" and self.description_zh else self.description
        return said.rstrip(" .。")

    @property
    def kind(self) -> str:
        """The JSON type, Optional or not: `string`, `integer`, `array`, …; empty where anything goes."""
        return str(without_null(self.json_schema).get("type", ""))

    @property
    def is_text(self) -> bool:
        """Whether any text will do, so that it may take the rest of a line."""
        schema = without_null(self.json_schema)
        return schema.get("type") == "string" and not schema.keys() & {"enum", "const", "format"}

    @property
    def form(self) -> str:
        """The `format` of a text that must have one: `date`, `duration`, `file`, …; else empty."""
        return str(without_null(self.json_schema).get("format", ""))

    @property
    def options(self) -> list[str]:
        """The values of a choice, as they are typed; empty for anything else."""
        schema = without_null(self.json_schema)
        return [str(option) for option in cast("list[object]", schema.get("enum", []))]


class CommandSpec(Traits):
    """What is known of a command outside its code location: `Traits`, and these."""

    name: str
    location: str
    job: str
    description: str = ""
    arguments: tuple[Argument, ...] = ()
    run_config: dict[str, object] = Field(default_factory=dict[str, object])
    """The job's own default config; arguments are laid over it."""
    stale: str = ""
    """Why its choices are those of an earlier time."""

    @cached_property
    def by_name(self) -> dict[str, Argument]:
        """Arguments by name."""
        return {argument.name: argument for argument in self.arguments}

    @property
    def positional(self) -> tuple[Argument, ...]:
        """Arguments in the order in which bare words fill them: the required ones first."""
        return tuple(sorted(self.arguments, key=lambda argument: not argument.required))

    @property
    def schema_of_arguments(self) -> dict[str, object]:
        """One JSON Schema of all arguments, as `GET /v1/commands` shows it and tools of a model take it."""
        return _schema_of(self.arguments)

    @property
    def schema_for_models(self) -> Schema:
        """The same of what our own models may fill in: secrets are given by people."""
        return _schema_of([argument for argument in self.arguments if not argument.secret])

    def at_once(self, args: Mapping[str, object]) -> AtOnce | None:
        """Return the concurrency key that a run with these arguments has, and how many of it may run at once."""
        return None if self.concurrency_key is None else self.at_once_with(self.run_config_for(args))

    def at_once_with(self, run_config: Mapping[str, object]) -> AtOnce | None:
        """Return the same of a run with this run config, wherever it was launched."""
        if self.concurrency_key is None:
            return None
        parts: list[str] = []
        for literal, place, _, _ in Formatter().parse(self.concurrency_key):
            value = _configured(self.by_name[place], run_config, self.run_config) if place in self.by_name else None
            parts += [literal, "" if value is None else str(value)]
        return AtOnce("".join(parts)[:MAX_KEY], self.concurrency)

    def run_config_for(self, args: Mapping[str, object]) -> dict[str, object]:
        """Return the run config that starts the job with these checked arguments."""
        config = copy.deepcopy(self.run_config)
        for name, value in args.items():
            argument = self.by_name[name]
            section = config
            for key in argument.path[:-1]:
                section = cast("dict[str, object]", section.setdefault(key, {}))
            section[argument.path[-1]] = in_config_form(value, argument.json_schema)
        return config


def _configured(argument: Argument, *configs: Mapping[str, object]) -> object:
    """Return what the first of these run configs that says so gives to an argument; else its default."""
    for config in configs:
        if (value := _at(argument.path, config)) is not None:
            return value
    default = argument.json_schema.get("default")
    return None if default is None else in_config_form(default, argument.json_schema)


def _at(path: Sequence[str], config: object) -> object:
    for key in path:
        config = cast("Mapping[str, object]", config).get(key) if isinstance(config, Mapping) else None
    return config


def _schema_of(arguments: Sequence[Argument]) -> Schema:
    return {
        "type": "object",
        "properties": {argument.name: _described(argument) for argument in arguments},
        "required": [argument.name for argument in arguments if argument.required],
        "additionalProperties": False,
    }


def _described(argument: Argument) -> Schema:
    words = {"description": argument.description} if argument.description else {}
    return {**argument.json_schema, **words}
