"""Bringing Serve to what models.yaml says, also while requests go on.

A change is taken in four steps, and none of them fails a request: new and changed models start beside the old ones;
when all of them answer, the table by which requests are routed changes; models that left it drain; then they go. What
can't be read or does not start changes nothing: requests go on as before, and `problem` says why.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from integrations.errors import RunbellError
from serving import deployment, openai_app
from serving.accounts import Opening
from serving.config import Config
from serving.fleet import Fleet, ModelSpec
from serving.models_file import MODELS_FILE, read_fleet
from serving.ray_door import GATE

LEAVE_S = 10.0
"""How long callers may still go by the old table: three times what a caller takes to notice another."""

Answers = Callable[[str], None]
"""Raises an error of `integrations.errors` where the model that an application serves can't answer."""

_log = logging.getLogger(__name__)


class Switching:
    """The fleet that is served, and the one that is to be. Used from one thread."""

    def __init__(self, config: Config, fleet: Fleet, open_accounts: Opening | None = None) -> None:
        self._config = config
        self._open_accounts = open_accounts
        self._fleet = fleet
        self._next: Fleet | None = None
        self._since = 0.0
        self._leaving: dict[str, float] = {}
        self._path = Path(config.serving.models_file or MODELS_FILE)
        self._seen = self._stamp()
        self.problem: str | None = None
        self._refused: str | None = None

    def about(self) -> dict[str, object]:
        """Tell which fleet is served, and which one was refused."""
        refused = {"refused": self._refused, "problem": self.problem} if self.problem else {}
        return {"fleet": self._fleet.digest, **refused}

    @property
    def needed(self) -> tuple[str, ...]:
        """The applications without which requests fail."""
        return (*(spec.app for spec in self._fleet.models.values()), GATE)

    def deploy(self) -> None:
        """Bring all applications to the fleet; what other fleets left behind goes."""
        from ray import serve

        targets: Any = [self._target(spec) for spec in self._fleet.models.values()]
        targets.append(self._gate(self._fleet))
        serve.run_many(targets, wait_for_applications_running=False)
        wanted = {*self.needed}
        for name in serve.status().applications:
            if name not in wanted:
                serve.delete(name, _blocking=False)

    def look(self, answers: Answers) -> None:
        """Notice a changed file, and go on with the change that is under way. Takes milliseconds.

        New models must have `answers` before requests go to them.
        """
        if (stamp := self._stamp()) != self._seen and self._next is None:
            self._seen = stamp
            self._begin()
        if self._next is not None:
            self._go_on(self._next, answers)
        self._dismiss()

    def _begin(self) -> None:
        try:
            fleet = read_fleet(self._config.serving)
        except RunbellError as error:
            self._give_up(str(error))
            return
        self.problem = None
        if fleet == self._fleet:
            return
        from ray import serve

        self._next, self._since = fleet, time.monotonic()
        fresh = [spec for name, spec in fleet.models.items() if self._fleet.models.get(name) != spec]
        for spec in fresh:
            self._leaving.pop(spec.app, None)
        _log.info("models.yaml has changed: %s", ", ".join(spec.name for spec in fresh) or "routes only")
        if fresh:
            targets: Any = [self._target(spec) for spec in fresh]
            serve.run_many(targets, wait_for_applications_running=False)

    def _go_on(self, fleet: Fleet, answers: Answers) -> None:
        from ray import serve

        states = {name: str(app.status.value) for name, app in serve.status().applications.items()}
        waiting = [name for name, spec in fleet.models.items() if states.get(spec.app) != "RUNNING"]
        failed = [name for name in waiting if states.get(fleet.models[name].app) in {"DEPLOY_FAILED", "UNHEALTHY"}]
        late = time.monotonic() - self._since > max(spec.load_timeout_s for spec in fleet.models.values())
        if failed or (waiting and late):
            self._roll_back(fleet, f"{', '.join(failed or waiting)} did not start")
        elif not waiting:
            if wrong := self._wrong(fleet, answers):
                self._roll_back(fleet, wrong)
            else:
                self._change(fleet)

    def _wrong(self, fleet: Fleet, answers: Answers) -> str | None:
        """Return what is wrong with a model that is new or changed: its replica lives also without it."""
        for name, spec in fleet.models.items():
            if spec.embeds or spec.app in self.needed:
                continue
            try:
                answers(spec.app)
            except RunbellError as error:
                return f"{name}: {str(error).rstrip('.')}"
        return None

    def _change(self, fleet: Fleet) -> None:
        from ray import serve

        targets: Any = [self._gate(fleet)]
        serve.run_many(targets, wait_for_applications_running=False)
        until = time.monotonic() + LEAVE_S
        kept = {spec.app for spec in fleet.models.values()}
        self._leaving |= {app: until for app in self.needed if app not in {*kept, GATE}}
        self._fleet, self._next, self.problem = fleet, None, None
        _log.info("requests go by the changed models.yaml now")

    def _roll_back(self, fleet: Fleet, why: str) -> None:
        from ray import serve

        self._next, self._refused = None, fleet.digest
        self._leaving |= {spec.app: 0.0 for spec in fleet.models.values() if spec.app not in self.needed}
        changed = [spec for name, spec in self._fleet.models.items() if _lightly_changed(spec, fleet.models.get(name))]
        if changed:
            targets: Any = [self._target(spec) for spec in changed]
            serve.run_many(targets, wait_for_applications_running=False)
        self._give_up(why)

    def _give_up(self, why: str) -> None:
        self.problem = f"{why}. The models go on as before."
        _log.error("models.yaml is not taken over: %s", self.problem)

    def _dismiss(self) -> None:
        """Let models go that nobody asks any more; their replicas finish what they have."""
        from ray import serve

        for app, until in list(self._leaving.items()):
            if time.monotonic() > until:
                del self._leaving[app]
                serve.delete(app, _blocking=False)

    def _target(self, spec: ModelSpec) -> Any:  # noqa: ANN401 - Ray has no public type for it
        from ray import serve

        return serve.RunTarget(deployment.application(spec, self._config), name=spec.app, route_prefix=None)

    def _gate(self, fleet: Fleet) -> Any:  # noqa: ANN401 - Ray has no public type for it
        from ray import serve

        application = openai_app.application(self._config, fleet.table(), self._open_accounts)
        return serve.RunTarget(application, name=GATE, route_prefix="/")

    def _stamp(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return (stat.st_mtime_ns, stat.st_size)


def _lightly_changed(spec: ModelSpec, other: ModelSpec | None) -> bool:
    """Whether the same application was told something else: how many replicas there are."""
    return other is not None and other != spec and other.app == spec.app
