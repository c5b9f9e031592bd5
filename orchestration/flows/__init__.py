"""Workflows without Python: one YAML file is a command and the plain Dagster job behind it (docs/yaml-workflows.md).

    # shop/definitions.py
    defs = load_flows(Path(__file__).parent / "flows")

`Flow` is the Dagster component that such a file describes; in a project of Dagster's `dg` it may as well stand in a
`defs.yaml`, as `type: orchestration.flows.Flow`, with the file's content below `attributes`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import dagster as dg
from pydantic import BaseModel
from typing_extensions import override

from integrations.errors import Misconfigured
from integrations.settings import Settings
from orchestration.flows.building import job_of
from orchestration.flows.form import Form
from orchestration.flows.reading import Place, Unsound, check_form, flow_files, read_form

__all__ = ["Flow", "Unsound", "load_flows"]


def load_flows(folder: Path) -> dg.Definitions:
    """Return the jobs of all workflows in a folder. Raises `Unsound`, with all that is wrong in all files."""
    if not folder.is_dir():
        raise Misconfigured(f"{folder} is no folder; workflows in YAML are read from one.")
    flows: dict[str, Flow] = {}
    wrong: list[Place] = []
    for path in flow_files(folder):
        try:
            form, line = read_form(path)
        except Unsound as error:
            wrong += error.places
            continue
        if form.job_name in flows:
            wrong.append(Place(path, line, f"command: another file here has the job {form.job_name}, too"))
        flows[form.job_name] = Flow(form, path, line)
    if wrong:
        raise Unsound(wrong)
    return dg.Definitions.merge(*map(dg.build_defs_for_component, flows.values()))


class Flow(dg.Component):
    """A chat command and the job behind it: arguments, steps that carry out actions, and a reply."""

    def __init__(self, form: Form, file: Path | None = None, line: int = 1) -> None:
        self.form = form
        self._file = file
        self._line = line

    @classmethod
    @override
    def get_model_cls(cls) -> type[BaseModel]:
        """Return what stands below `attributes`."""
        return Form

    @classmethod
    @override
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "Flow":
        """Take the attributes as they are: Dagster's templates evaluate expressions, and none are wanted here."""
        form = cast("Form", attributes)
        check_form(form, context.resolution_context.source_position_tree)
        return cls(form)

    @override
    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the job, and the platform's objects that its steps use."""
        job = job_of(self.form)
        if self._file is not None:
            here = dg.LocalFileCodeReference(file_path=str(self._file), line_number=self._line)
            found = dg.CodeReferencesMetadataValue(code_references=[here])
            job = job.with_metadata({**job.metadata, "dagster/code_references": found})
        return dg.Definitions(jobs=[job], resources=_RESOURCES)


def _built(name: str) -> dg.ResourceDefinition:
    def made(_: dg.InitResourceContext) -> object:
        from orchestration.resources import build

        return build(Settings())[name]

    return dg.ResourceDefinition(cast("Callable[..., object]", made), description=f"Runbell's {name}.")


_RESOURCES = {name: _built(name) for name in ("settings", "database", "models", "memory")}
