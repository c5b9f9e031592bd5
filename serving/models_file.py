"""Reading models.yaml; without it, the table [serving] of runbell.toml is its short form: one chat model, one embedder.

What is wrong is said with the file's line. `schema()` is the file's JSON Schema, for editors (docs/models.schema.json).
"""

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, ValidationError

from integrations.errors import Misconfigured
from serving.fleet import Fleet, ModelSpec

MODELS_FILE = "models.yaml"
SHORT_FORM = ("engine", "model", "base_url", "api_key", "embedder", "slots", "context_tokens", "strong")
MAX_BYTES = 1_048_576

EXAMPLE = """\
# Which models there are, and how they are served. Without this file: the starter models, as here.
# yaml-language-server: $schema=docs/models.schema.json
models:
  smollm2-135m:
    engine: llama_cpp
    capabilities: [fast, deep]
    languages: [en]
    slots: 4
    context_tokens: 2048
  minilm-l6-v2:
    engine: minilm
    capabilities: [embed]

# A name that ops and programs may ask for, and who answers it: the first that can.
routes:
  default: [smollm2-135m]
"""


def read_fleet(serving: BaseModel) -> Fleet:
    """Return the models that the settings' table [serving] leads to. Raises `Misconfigured` with file and line."""
    said: dict[str, Any] = serving.model_dump(exclude_unset=True)
    path = Path(said.get("models_file") or MODELS_FILE)
    if not path.is_file():
        if said.get("models_file"):
            raise Misconfigured(f"{path} is missing (serving.models_file).")
        return _short_form(serving)
    both = [name for name in SHORT_FORM if name in said]
    if both:
        raise Misconfigured(
            f"Models are told twice: {path} is there, and serving.{both[0]} is set."
            f" Move it into {path}, or remove {path}."
        )
    return parse(path)


class FleetFile:
    """The models that the settings lead to, read again when the file changes; what can't be read changes nothing."""

    def __init__(self, serving: BaseModel) -> None:
        self._serving = serving
        self._path = Path(serving.model_dump().get("models_file") or MODELS_FILE)
        self._stamp = self._now()
        self._fleet = read_fleet(serving)

    def fleet(self) -> Fleet:
        """Return the models."""
        if (stamp := self._now()) != self._stamp:
            self._stamp = stamp
            with contextlib.suppress(Misconfigured):  # serving.app tells what is wrong
                self._fleet = read_fleet(self._serving)
        return self._fleet

    def _now(self) -> int | None:
        return self._path.stat().st_mtime_ns if self._path.is_file() else None


def parse(path: Path) -> Fleet:
    """Return what a file says. Raises `Misconfigured` with the line of what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} can't be read: {error}") from error
    if len(text) > MAX_BYTES:
        raise Misconfigured(f"{path} is larger than {MAX_BYTES} bytes.")
    root: yaml.Node | None = None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _no_repetition(root, path)
        return Fleet.model_validate(yaml.safe_load(text) or {})
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Misconfigured(f"{path}, line {line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise Misconfigured(f"{path} is no YAML: {error}") from error
    except ValidationError as error:
        raise Misconfigured("\n".join(_told(path, root, found) for found in error.errors()[:10])) from error


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file."""
    found = Fleet.model_json_schema(mode="validation")
    definitions = found["$defs"]
    # What the validators take beside the full form.
    models = definitions["ModelSpec"]["properties"]
    models.pop("name")
    models["replicas"] = {"anyOf": [{"type": "integer", "minimum": 1}, {"$ref": "#/$defs/Replicas"}]}
    full = {"$ref": "#/$defs/Route"}
    names = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    routes = {"type": "object", "additionalProperties": {"anyOf": [full, names, {"type": "string"}]}}
    found["properties"]["routes"] = routes
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "Runbell's models.yaml"}


def _short_form(serving: BaseModel) -> Fleet:
    said: dict[str, Any] = serving.model_dump()
    chat = {name: said[name] for name in ("engine", "base_url", "api_key", "slots", "context_tokens", "strong")}
    chat |= {"model": said["model"], "request_timeout_s": said["request_timeout_s"]}
    name = re.sub(r"[^A-Za-z0-9._:/@-]+", "-", said["model"])[:100].strip("-.:/@_") or "model"
    both = {"load_timeout_s": said["load_timeout_s"]}
    embedder = {"engine": "minilm", "capabilities": ("embed",), **both}
    return Fleet(
        models={name: ModelSpec.model_validate(chat | both), said["embedder"]: ModelSpec.model_validate(embedder)},
    )


def _told(path: Path, root: yaml.Node | None, error: Mapping[str, Any]) -> str:
    where = cast("tuple[str | int, ...]", error["loc"])
    keys, line = _find(root, where)
    said = str(error["msg"]).removeprefix("Value error, ")
    named = re.match(r"routes\.(\S+) names", said)
    if not keys and named:
        keys, line = _find(root, ("routes", named[1]))
    if error["type"] == "extra_forbidden":
        said = "there is no such setting"
    return f"{path}, line {line}: {'.'.join(keys) or 'file'}: {said}"


def _find(node: yaml.Node | None, where: Iterable[str | int]) -> tuple[list[str], int]:
    """Return the part of a path that the file has, and the line on which that stands."""
    keys, line = list[str](), 1
    for step in where:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(step)), None)
            if pair is None:
                if step != "[key]":
                    keys.append(str(step))
                return keys, line
            line, node = _line(pair[0]), pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            item: yaml.Node = node.value[step]
            line, node = _line(item), item
        else:
            return keys, line
        keys.append(str(step))
    return keys, line


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1 if node.start_mark else 1


def _no_repetition(node: yaml.Node | None, path: Path) -> None:
    """Refuse a key that stands twice: YAML would silently take the last."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _no_repetition(item, path)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise Misconfigured(f"{path}, line {_line(key)}: {key.value} stands twice")
            seen.add(str(key.value))
            _no_repetition(value, path)
