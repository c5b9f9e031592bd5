"""Put a worker together: the one place where the warm runtime meets settings, commands and telemetry."""

import os
import time
from typing import cast

import dagster as dg

from integrations.database import Database
from integrations.errors import Misconfigured
from integrations.security.secrets import resolve
from integrations.settings import Settings
from orchestration.warm.clockwork import Clockwork
from orchestration.warm.instance import WarmInstance
from orchestration.warm.location import Location, load_location, location_names
from orchestration.warm.routing import CORE, Dispatch
from orchestration.warm.runs import Runtime
from orchestration.warm.sources import loaded, loaded_roots
from orchestration.warm.worker import Worker, worker_id


def open_database(settings: Settings, name: str = "runbell-worker") -> Database:
    """Return this process's database. Raises `Misconfigured` where no URL is set."""
    if settings.database.url is None:
        raise Misconfigured("no database: set RUNBELL_DATABASE__URL, or start everything with `runbell up`")
    return Database(
        resolve(settings.database.url, name="database.url").get_secret_value(),
        files=settings.state / "files",
        pool_size=settings.database.pool_size,
        name=name,
        access=settings.access,
    )


def open_instance(settings: Settings) -> WarmInstance:
    """Return the Dagster instance of RUNBELL_HOME/dagster. Raises `Misconfigured` where it is another kind."""
    os.environ.setdefault("DAGSTER_HOME", str(settings.state / "dagster"))
    instance = dg.DagsterInstance.get()
    if not isinstance(instance, WarmInstance):
        raise Misconfigured(f"{os.environ['DAGSTER_HOME']}/dagster.yaml does not name WarmInstance")
    return instance


def build_runtime(location_name: str, settings: Settings) -> Runtime:
    """Load a code location into this process."""
    database, instance = open_database(settings), open_instance(settings)
    began = time.time()
    location = load_location(settings, location_name)
    code = loaded(loaded_roots(location.folders, location.target), began)
    return Runtime(
        settings=settings,
        database=database,
        instance=instance,
        location=location,
        worker=worker_id(location_name),
        version=code.label,
        code=code,
    )


def build_worker(location_name: str, settings: Settings | None = None) -> Worker:
    """Return a worker of a code location, ready to start; it makes the location's commands known when it does."""
    runtime = build_runtime(location_name, settings or Settings())

    publishing = Publishing(runtime.database, runtime.location)

    def publish() -> None:
        publishing()
        if location_name == CORE:
            runtime.database.commands.keep(location_names(runtime.settings))

    return Worker(runtime, build_dispatch(runtime) if location_name == CORE else None, publish)


class Publishing:
    """Compiles the location's jobs into typed commands and stores them for everybody.

    Called again, it stores them only where they have changed since: functions compute the choices of arguments anew.
    """

    def __init__(self, database: Database, location: Location) -> None:
        self._database = database
        self._location = location
        self._published: object = None

    def __call__(self) -> None:
        """Compile, and store what is new."""
        from orchestration.commands.catalogue import compile_location
        from orchestration.commands.publishing import load, publish

        name = self._location.name
        before = {spec.job: spec for spec in load(self._database).specs if spec.location == name}
        repositories = self._location.repositories.values()
        specs = [spec for repository in repositories for spec in compile_location(repository, name, before)]
        if specs != self._published:
            publish(self._database, name, specs)
            self._published = specs


def build_dispatch(runtime: Runtime) -> Dispatch:
    """Return what routes messages; what the core location's ops use is warmed up on the way."""
    from integrations.memory import Memory
    from orchestration.commands.dispatch import Dispatcher
    from orchestration.resources import build, warm_up

    resources = build(runtime.settings)
    warm_up(resources)
    return Dispatcher(
        runtime.database,
        runtime.settings,
        location=runtime.location.name,
        worker=runtime.worker,
        memory=cast("Memory", resources["memory"]),
        switches=Clockwork(runtime.instance, runtime.settings),
    )
