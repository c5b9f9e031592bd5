"""Reading models.yaml; without it, the table [serving] of runbell.toml is its short form: one chat model, one embedder.

What is wrong is said with the file's line. `schema()` is the file's JSON Schema, for editors (docs/models.schema.json).
"""

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from integrations.complaints import in_words
from integrations.errors import Misconfigured
from integrations.near import near
from integrations.yaml_lines import Document, read_yaml
from serving.engines import what_is_wrong_with
from serving.fleet import Fleet, ModelSpec

MODELS_FILE = "models.yaml"
SHORT_FORM = ("engine", "model", "base_url", "api_key", "embedder", "slots", "context_tokens", "strong")

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
    document = read_yaml(path)
    try:
        fleet = Fleet.model_validate(document.named("models"))
    except ValidationError as error:
        raise Misconfigured("\n".join(_told(document, found) for found in error.errors()[:10])) from error
    wrong = {name: what_is_wrong_with(spec.engine, embeds=spec.embeds) for name, spec in fleet.models.items()}
    told = [{"loc": ("models", name, "engine"), "msg": said, "type": "engine"} for name, said in wrong.items() if said]
    if told:
        raise Misconfigured("\n".join(_told(document, found) for found in told))
    return fleet


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
    if chat["context_tokens"] is None:
        del chat["context_tokens"]
    name = re.sub(r"[^A-Za-z0-9._:/@-]+", "-", said["model"])[:100].strip("-.:/@_") or "model"
    both = {"load_timeout_s": said["load_timeout_s"]}
    embedder = {"engine": "minilm", "capabilities": ("embed",), **both}
    return Fleet(
        models={name: ModelSpec.model_validate(chat | both), said["embedder"]: ModelSpec.model_validate(embedder)},
    )


def _told(document: Document, error: Mapping[str, Any]) -> str:
    keys, line = document.find(cast("tuple[str | int, ...]", error["loc"]))
    said = in_words(error)
    named = re.match(r"routes\.(\S+) names", said)
    if not keys and named:
        keys, line = document.find(("routes", named[1]))
    if error["type"] == "extra_forbidden":
        said = "there is no such setting" + _meant(str(error["loc"][-1]), _settings_at(error["loc"][:-1]))
    if error["type"] == "string_pattern_mismatch" and error["loc"][-1] == "[key]":
        said = "a name has letters, digits and . _ : / @ -, and begins with a letter or digit"
    if error["type"] == "literal_error":
        said += _meant(str(error["input"]), re.findall(r"'([^']+)'", error["ctx"]["expected"]))
    return f"{document.path}, line {line}: {'.'.join(keys) or 'file'}: {said}"


def _meant(word: str, names: Iterable[str]) -> str:
    found = near(word, names)
    return f"; did you mean {found[0]}?" if found else ""


def _settings_at(where: Iterable[str | int]) -> list[str]:
    """Return the settings that there are at a place in the file."""
    root = Fleet.model_json_schema(mode="validation")
    node: dict[str, Any] = root
    for step in where:
        named: dict[str, Any] = node.get("properties", {})
        patterns = list(node.get("patternProperties", {}).values())
        node = named.get(str(step)) or node.get("items") or next(iter(patterns), node.get("additionalProperties")) or {}
        found = [part["$ref"] for part in (node, *node.get("anyOf", ())) if "$ref" in part]
        node = root["$defs"][found[0].rpartition("/")[2]] if found else node
    return list(node.get("properties", {}))
