"""YAML files whose mistakes are told with their line: what a file says, and on which line what of it stands."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml
from typing_extensions import override

from integrations.errors import Misconfigured

MAX_BYTES = 1_048_576
MAX_TOLD = 300


class Unreadable(Misconfigured):
    """A file is no YAML, or not what it should be as a whole; `path`, `line` and `text` say where and what."""

    def __init__(self, path: Path, line: int, text: str) -> None:
        super().__init__(f"{path}, line {line}: {text}")
        self.path, self.line, self.text = path, line, text


@dataclass(frozen=True)
class Document:
    """What one file says; `find` tells where."""

    path: Path
    value: object
    root: yaml.Node | None

    def named(self, needed: str) -> dict[str, object]:
        """Return the file's names and values. Raises `Unreadable`, saying what is `needed`, where it is no mapping."""
        if isinstance(self.value, dict):
            return cast("dict[str, object]", self.value)
        said = "the file is empty" if self.value is None else "the file is no mapping of names to values"
        raise Unreadable(self.path, 1 if self.root is None else _line(self.root), f"{said}: it needs {needed}")

    def find(self, where: Iterable[str | int]) -> tuple[list[str], int]:
        """Return the part of a path that the file has (and the first member it lacks), and its line."""
        keys, line, node = list[str](), 1, self.root
        for step in where:
            if isinstance(node, yaml.MappingNode):
                pair = next((pair for pair in node.value if pair[0].value == str(step)), None)
                if pair is None:
                    return [*keys, *([] if step == "[key]" else [str(step)])], line
                line, node = _line(pair[0]), pair[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                item: yaml.Node = node.value[step]
                line, node = _line(item), item
            else:
                return keys, line
            keys.append(str(step))
        return keys, line


def read_yaml(path: Path) -> Document:
    """Return what a file says. Raises `Unreadable` with the line of what is no YAML, or stands twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(path, 1, f"the file can't be read: {error}") from error
    if len(text) > MAX_BYTES:
        raise Unreadable(path, 1, f"the file is larger than {MAX_BYTES} bytes")
    try:
        root = yaml.compose(text, Loader=_Loader)
        _no_repetition(root, path)
        return Document(path, yaml.load(text, Loader=_Loader), root)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Unreadable(path, line, f"no YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Unreadable(path, 1, f"no YAML: {' '.join(str(error).split())[:MAX_TOLD]}") from error


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, to which `2026-12-01` is a text as in JSON."""

    @override
    def construct_yaml_timestamp(self, node: yaml.ScalarNode) -> str:  # type: ignore[override]
        return str(node.value)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_timestamp)


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
            name = str(key.value)
            if name in seen:
                raise Unreadable(path, _line(key), f"{name} stands twice")
            seen.add(name)
            _no_repetition(value, path)
