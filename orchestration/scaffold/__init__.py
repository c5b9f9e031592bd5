"""`runbell new NAME`: a code location to start from, written into the project and entered in workspace.yaml."""

import importlib.util
import keyword
import re
from pathlib import Path
from string import Template
from typing import cast

import yaml

from integrations.errors import InvalidInput, Misconfigured

TEMPLATES = Path(__file__).parent / "location"
WITHOUT_PYTHON = Path(__file__).parent / "yaml_location"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_ENTRY = Template(
    """  - python_module:
      location_name: $name
      module_name: $name.definitions
      working_directory: .
"""
)


def create(name: str, workspace: Path, *, templates: Path = TEMPLATES) -> list[Path]:
    """Write the files of a new location beside workspace.yaml and enter it there; return what was written.

    `templates` is `WITHOUT_PYTHON` for a workflow in YAML.
    Raises `InvalidInput` for a name that can't be used or is taken, `Misconfigured` where workspace.yaml can't be
    extended; then nothing was written.
    """
    workspace = workspace.resolve()
    folder = workspace.parent / name
    _check(name, folder)
    extended = _extended(name, workspace)
    folder.mkdir()
    written: list[Path] = []
    for template in sorted(templates.rglob("*.template")):
        relative = template.relative_to(templates).as_posix().removesuffix(".template")
        path = folder / Template(relative).substitute(name=name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(Template(template.read_text(encoding="utf-8")).substitute(name=name), encoding="utf-8")
        written.append(path)
    workspace.write_text(extended, encoding="utf-8")
    importlib.invalidate_caches()  # whoever looked for the name a moment ago remembers that it was not there
    return [*written, workspace]


def _check(name: str, folder: Path) -> None:
    if keyword.iskeyword(name):
        raise InvalidInput(f"{name!r} is a word of Python's; choose another name.", field="name")
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} can't be a name: lower-case letters, digits and _, a letter first.", field="name")
    if folder.exists():
        raise InvalidInput(f"{folder} is there already; choose another name.", field="name")
    if importlib.util.find_spec(name) is not None:
        raise InvalidInput(f"A Python module is called {name} already; choose another name.", field="name")


def _names(entries: object) -> set[object]:
    """Return the names of locations; entries of another form are for `read_locations` to refuse."""
    try:
        known = cast("list[dict[str, dict[str, object]]]", entries)
        return {target.get("location_name") for entry in known for target in entry.values()}
    except (AttributeError, TypeError):
        return set()


def _extended(name: str, workspace: Path) -> str:
    """Return the text of workspace.yaml with the new location; what stands there, comments too, stays."""
    try:
        text = workspace.read_text(encoding="utf-8") if workspace.exists() else "load_from:\n"
        before = yaml.safe_load(text) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Misconfigured(f"{workspace} can't be read: {error}") from error
    entry = _ENTRY.substitute(name=name)
    extended = text.rstrip() + "\n" + entry
    known = before.get("load_from") or [] if isinstance(before, dict) else []
    if name in _names(known):
        raise InvalidInput(f"{workspace} has a code location {name} already; choose another name.", field="name")
    try:
        well = yaml.safe_load(extended) == {**before, "load_from": [*known, *yaml.safe_load(entry)]}
    except (yaml.YAMLError, TypeError):
        well = False
    if not well:
        raise Misconfigured(
            f"{workspace} does not end with its list load_from; add this to the list yourself:\n{entry}"
        )
    return extended
