"""Workflow files read and checked: all that is wrong with one is told at once, each with its line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dagster_shared.yaml_utils.source_position import SourcePositionTree
from pydantic import ValidationError

from integrations.complaints import in_words
from integrations.errors import Misconfigured
from integrations.yaml_lines import Document, Unreadable, read_yaml
from orchestration.flows.checking import Problem, did_you_mean, problems_of
from orchestration.flows.form import Form
from orchestration.flows.references import Where
from orchestration.flows.schema import Schema, schema

MOST_TOLD = 20


@dataclass(frozen=True)
class Place:
    """Where in which file, and what is wrong there."""

    file: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.text}"


class Unsound(Misconfigured):
    """Something is wrong with workflow files; `places` tells what and where."""

    def __init__(self, places: Sequence[Place]) -> None:
        super().__init__("\n".join(map(str, places)))
        self.places = tuple(places)


def read_form(path: Path) -> tuple[Form, int]:
    """Return the workflow of a file and the line of its command. Raises `Unsound`."""
    try:
        document = read_yaml(path)
        said = document.named("command, steps and reply")
    except Unreadable as error:
        raise Unsound([Place(error.path, error.line, error.text)]) from None
    try:
        form = Form.model_validate(said)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:MOST_TOLD]
        raise Unsound(told(document, [Problem(_where(one), _text(one)) for one in found])) from None
    if problems := list(problems_of(form)):
        raise Unsound(told(document, problems[:MOST_TOLD]))
    return form, document.find(("command",))[1]


def flow_files(folder: Path) -> list[Path]:
    """Return the files of a folder that are workflows, by name."""
    return sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])


def told(document: Document, problems: Sequence[Problem]) -> list[Place]:
    """Return where in the file each problem stands, by line."""
    found = [(document.find(one.where), one.text) for one in problems]
    places = [Place(document.path, line, f"{'.'.join(keys) or 'file'}: {text}") for (keys, line), text in found]
    return sorted(places, key=lambda place: place.line)


def check_form(form: Form, positions: SourcePositionTree | None) -> None:
    """Refuse a component's attributes that don't fit together. Raises `Unsound`."""
    places: list[Place] = []
    for problem in list(problems_of(form))[:MOST_TOLD]:
        where = ("attributes", *problem.where)
        position = positions.lookup_closest_and_path(where, None)[0] if positions is not None else None
        file, line = (Path(position.filename), position.start.line) if position else (Path(form.command), 1)
        places.append(Place(file, line, f"{'.'.join(map(str, where))}: {problem.text}"))
    if places:
        raise Unsound(places)


def _where(error: Mapping[str, Any]) -> Where:
    return cast("Where", error["loc"])


def _text(error: Mapping[str, Any]) -> str:
    where = _where(error)
    if error["type"] == "extra_forbidden":
        return f"there is no such key; {did_you_mean(str(where[-1]), _keys_at(where[:-1]))}"
    if error["type"] == "string_pattern_mismatch" and where[-1] == "[key]":
        return "a name has lower-case letters, digits and _, a letter first"
    return in_words(error)


def _keys_at(where: Where) -> list[str]:
    """Return the keys that the schema has at a place."""
    root = schema()
    at: Schema = root
    for step in where:
        at = _resolved(at, root)
        properties = cast("dict[str, Schema]", at.get("properties", {}))
        others = (*at.get("patternProperties", {}).values(), at.get("additionalProperties"), at.get("items"))
        at = properties.get(str(step), next((one for one in others if isinstance(one, dict)), {}))
    return list(_resolved(at, root).get("properties", {}))


def _resolved(at: Schema, root: Schema) -> Schema:
    """Follow a reference; of several forms take the one with keys, or of a list what it holds."""
    for choice in at.get("anyOf", ()):
        if "$ref" in choice or "properties" in choice or "items" in choice:
            at = choice
            break
    return root["$defs"][at["$ref"].removeprefix("#/$defs/")] if "$ref" in at else at
