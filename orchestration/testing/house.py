"""One small installation for tests: a database of its own, one worker, a scripted model, recorded actions."""

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import dagster as dg

from integrations.database import Database
from integrations.memory import Recollection, Scope
from integrations.settings import Settings
from orchestration.actions import rehearsed
from orchestration.commands.catalogue import compile_location
from orchestration.commands.dispatch import CORE, Dispatcher
from orchestration.commands.publishing import publish
from orchestration.testing.conversation import Conversation
from orchestration.testing.effects import Effects, Scripted
from orchestration.testing.server import Server, open_instance
from orchestration.warm.clockwork import Clockwork
from orchestration.warm.internals import ReconstructableRepository, RegisteredCodeLocationOrigin
from orchestration.warm.location import Location
from orchestration.warm.runs import Runtime
from orchestration.warm.worker import Worker, worker_id
from serving.client import Models, ScriptedModels

_THREADS = 4


class House:
    """Runs the jobs of `defs` (one location's, or several by name) and our own. A context manager.

    `model` is what the model says, in order, or models of one's own; `actions` what actions give, by name;
    `resources` stand in for those of `defs`; `settings` are sections as runbell.toml has them.
    """

    def __init__(
        self,
        server: Server,
        defs: dg.Definitions | Mapping[str, dg.Definitions],
        *,
        model: Sequence[str | Exception] | Models = (),
        actions: Mapping[str, Scripted] | None = None,
        resources: Mapping[str, object] | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.models: Models = ScriptedModels(model) if isinstance(model, Sequence) else model
        self.effects = Effects(actions)
        self.rooms = itertools.count(1)
        self._server = server
        self._defs = {"workflows": defs} if isinstance(defs, dg.Definitions) else dict(defs)
        self._own = dict(resources or {})
        self._sections = dict(settings or {})
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="runbell-house-")))
            url = stack.enter_context(self._server.database())
            self.settings = Settings.model_validate(
                {"home": home, "database": {"url": url}, "actions": {"allow": ["*"]}, **self._sections}
            )
            files = self.settings.state / "files"
            self.database = Database(url, files=files, pool_size=_THREADS, access=self.settings.access)
            stack.callback(self.database.close)
            self.instance = open_instance(self.settings, url)
            stack.callback(self.instance.dispose)
            stack.enter_context(rehearsed(self.effects))
            worker = self._worker()
            stack.callback(worker.drain, grace_s=0.2)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def person(self, name: str = "Ada", *, roles: Sequence[str] = ("user",), channel: str = "web") -> Conversation:
        """Return a new direct conversation of this person."""
        return Conversation(self, name, tuple(roles), channel, f"room-{next(self.rooms)}")

    def _worker(self) -> Worker:
        repositories = self._repositories()
        location = Location(
            name=CORE,
            origin=RegisteredCodeLocationOrigin(CORE),
            repositories=repositories,
            sources={
                name: ReconstructableRepository.for_module("orchestration.definitions", "defs") for name in repositories
            },
            target="",
            folders=(),
        )
        workers = self.settings.workers.model_copy(update={"threads": _THREADS})
        settings = self.settings.model_copy(update={"workers": workers})
        runtime = Runtime(settings, self.database, self.instance, location, worker_id(CORE), version="test")
        publish(self.database, CORE, [spec for one in repositories.values() for spec in compile_location(one, CORE)])
        dispatch = Dispatcher(
            self.database,
            settings,
            location=CORE,
            worker=runtime.worker,
            memory=_Blank(),
            switches=Clockwork(runtime.instance, settings),
        )
        return Worker(runtime, dispatch).start()

    def _repositories(self) -> dict[str, dg.RepositoryDefinition]:
        from orchestration.jobs.assistant import assistant
        from orchestration.jobs.digest import digest
        from orchestration.jobs.housekeeping import housekeeping
        from orchestration.ops.answering.offers import Offers

        platform: dict[str, object] = {
            "settings": self.settings,
            "database": self.database,
            "models": self.models,
            "memory": _Blank(),
            "offers": Offers(self.database, self.models, self.settings.access),
        }
        ours = dg.Definitions(jobs=[assistant, digest, housekeeping], resources=platform)
        found = {"platform": ours.get_repository_def()}
        for name, defs in self._defs.items():
            theirs = dict(defs.resources or {})
            stand_ins = {key: value for key, value in platform.items() if key in theirs} | self._own
            found[name] = _with_resources(defs, {**theirs, **stand_ins}).get_repository_def()
        return found


class _Blank:
    """A memory that remembers nothing."""

    def query(self, scope: Scope, text: str, limit: int = 8) -> list[Recollection]:
        """Find nothing."""
        del scope, text, limit
        return []

    def remember(self, scope: Scope, notes: Sequence[object]) -> list[str]:
        """Keep nothing."""
        del scope, notes
        return []

    def forget(self, scope: Scope) -> int:
        """Have nothing to forget."""
        del scope
        return 0


def _with_resources(defs: dg.Definitions, resources: dict[str, Any]) -> dg.Definitions:
    return dg.Definitions(
        assets=defs.assets,
        schedules=defs.schedules,
        sensors=defs.sensors,
        jobs=defs.jobs,
        resources=resources,
        executor=defs.executor,
        loggers=defs.loggers,
        asset_checks=defs.asset_checks,
    )
