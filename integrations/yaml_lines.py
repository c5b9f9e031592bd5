"""YAML files whose mistakes are told with their line: what a file says, and on which line what of it stands."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from typing_extensions import override

from integrations.errors import Misconfigured

MAX_BYTES = 1_048_576


@dataclass(frozen=True)
class Document:
    """What one file says; `find` tells where."""

    path: Path
    value: object
    root: yaml.Node | None

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
    """Return what a file says. Raises `Misconfigured` with the line of what is no YAML, or stands twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} can't be read: {error}") from error
    if len(text) > MAX_BYTES:
        raise Misconfigured(f"{path} is larger than {MAX_BYTES} bytes.")
    try:
        root = yaml.compose(text, Loader=_Loader)
        _no_repetition(root, path)
        return Document(path, yaml.load(text, Loader=_Loader), root)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Misconfigured(f"{path}, line {line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Misconfigured(f"{path} is no YAML: {error}") from error


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
                raise Misconfigured(f"{path}, line {_line(key)}: {name} stands twice")
            seen.add(name)
            _no_repetition(value, path)
