"""A code location of workspace.yaml, loaded into this process."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from integrations.errors import Misconfigured, NotFound
from integrations.settings import Settings
from orchestration.warm.engine import own_executor
from orchestration.warm.internals import (
    CodeLocationOrigin,
    IJob,
    JobPythonOrigin,
    LoadedRepositories,
    ReconstructableRepository,
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
    RepoBackedJob,
    location_origins_from_yaml_paths,
)


@dataclass(frozen=True)
class Location:
    """The jobs of one code location, and how Dagster's other processes call it."""

    name: str
    origin: CodeLocationOrigin
    repositories: Mapping[str, dg.RepositoryDefinition]
    sources: Mapping[str, ReconstructableRepository]
    target: str
    """The module or file that defines it."""
    folders: tuple[Path, ...]
    """Where code of its own may lie."""

    def job(self, name: str) -> IJob:
        """Return a job ready to run; one with an executor of its own can also be loaded by other processes."""
        repository = self._repository_of(name)
        if own_executor(self.repositories[repository].get_job(name)):
            return self.sources[repository].get_reconstructable_job(name)
        return RepoBackedJob(name, self.repositories[repository])

    def remote_origin(self, job: str) -> RemoteJobOrigin:
        """Return what the webserver knows the job by."""
        return RemoteJobOrigin(
            repository_origin=RemoteRepositoryOrigin(
                code_location_origin=self.origin, repository_name=self._repository_of(job)
            ),
            job_name=job,
        )

    def code_origin(self, job: str) -> JobPythonOrigin:
        """Return where the job's code is."""
        source = self.sources[self._repository_of(job)]
        return JobPythonOrigin(job_name=job, repository_origin=source.get_python_origin())

    def _repository_of(self, job: str) -> str:
        for name, repository in self.repositories.items():
            if repository.has_job(job):
                return name
        raise NotFound(f"the code location {self.name} has no job {job}; was it renamed?")


def location_names(settings: Settings) -> list[str]:
    """Return the names of the code locations of workspace.yaml. Raises `Misconfigured`."""
    return [origin.location_name for origin in _origins(settings.dagster.workspace)]


def load_location(settings: Settings, name: str) -> Location:
    """Import the code of a location into this process. Raises `Misconfigured` where workspace.yaml lacks it.

    What the code itself raises goes through as Dagster's `DagsterUserCodeLoadError`.
    """
    workspace = settings.dagster.workspace.resolve()
    wanted = [origin for origin in _origins(workspace) if origin.location_name == name]
    if not wanted:
        raise Misconfigured(f"{workspace} has no code location {name}")
    if str(workspace.parent) not in sys.path:
        sys.path.insert(0, str(workspace.parent))
    loaded = LoadedRepositories(
        wanted[0].loadable_target_origin,
        container_image=None,
        entry_point=["dagster"],
        container_context=None,
        code_location_name=name,
    )
    target = wanted[0].loadable_target_origin
    return Location(
        name=name,
        origin=served_origin(settings, name),
        repositories=loaded.definitions_by_name,
        sources=loaded.reconstructables_by_name,
        target=target.python_file or target.module_name or target.package_name or "",
        folders=(workspace.parent, *([Path(target.working_directory)] if target.working_directory else [])),
    )


def _origins(workspace: Path) -> list[CodeLocationOrigin]:
    if not workspace.is_file():
        raise Misconfigured(f"{workspace} does not exist; set RUNBELL_DAGSTER__WORKSPACE to your workspace.yaml")
    return list(location_origins_from_yaml_paths([str(workspace)]))


def served_origin(settings: Settings, name: str) -> CodeLocationOrigin:
    """Return the location as the webserver has it: served by its code server, where the platform runs one."""
    served = settings.state / "dagster" / "workspace.yaml"
    if served.is_file():
        for origin in location_origins_from_yaml_paths([str(served)]):
            if origin.location_name == name:
                return origin
    return RegisteredCodeLocationOrigin(name)
