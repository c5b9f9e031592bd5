"""The code locations of workspace.yaml, and the code servers that load them."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from integrations.errors import Misconfigured

_FLAGS = {
    "python_module": ("module_name", "--module-name"),
    "python_package": ("package_name", "--package-name"),
    "python_file": ("relative_path", "--python-file"),
}


@dataclass(frozen=True)
class Location:
    """One code location; `arguments` tell the code server what to load, `python` is who loads it."""

    name: str
    arguments: tuple[str, ...]
    folder: Path
    python: str = sys.executable

    def command(self, socket: Path) -> tuple[str, ...]:
        """Return the command line of its code server, which "Reload" in the UI makes load the code anew.

        Code that can't be loaded is shown in the UI, not fatal.
        """
        return (
            *(self.python, "-m", "dagster", "code-server", "start", "--socket", str(socket)),
            *("--location-name", self.name, "--working-directory", str(self.folder), *self.arguments),
            *("--use-python-environment-entry-point", "--log-level", "warning"),
        )


def read_locations(workspace: Path) -> tuple[Location, ...]:
    """Return the locations of a workspace file. Raises Misconfigured where it can't be understood."""
    try:
        found: object = yaml.safe_load(workspace.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(
            f"{workspace} can't be read ({error.strerror}): run from the project's folder, or set "
            "RUNBELL_DAGSTER__WORKSPACE."
        ) from error
    except yaml.YAMLError as error:
        raise Misconfigured(f"{workspace} is no valid YAML: {error}") from error
    entries = cast("Mapping[str, object]", found).get("load_from") if isinstance(found, Mapping) else None
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise Misconfigured(f"{workspace} must list code locations under load_from.")
    locations = tuple(_location(entry, workspace) for entry in cast("Sequence[object]", entries))
    names = [location.name for location in locations]
    if len(set(names)) < len(names):
        raise Misconfigured(f"{workspace}: two code locations have the same location_name.")
    return locations


def _location(entry: object, workspace: Path) -> Location:
    if not isinstance(entry, Mapping) or len(cast("Mapping[str, object]", entry)) != 1:
        raise Misconfigured(f"{workspace}: each entry of load_from must have one key, not {entry!r}.")
    ((kind, value),) = cast("Mapping[str, object]", entry).items()
    if kind not in _FLAGS:
        raise Misconfigured(f"{workspace}: {kind} is not supported; use one of {', '.join(_FLAGS)}.")
    key, flag = _FLAGS[kind]
    options = cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {key: value}
    target = str(options[key])
    base = workspace.parent.resolve()
    folder = base / str(options.get("working_directory") or ".")
    arguments = [flag, str(base / target) if kind == "python_file" else target]
    if attribute := options.get("attribute"):
        arguments += ["--attribute", str(attribute)]
    name = str(options.get("location_name") or target)
    python = options.get("executable_path")
    return Location(name, tuple(arguments), folder.resolve(), str(base / str(python)) if python else sys.executable)
