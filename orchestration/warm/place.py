"""One worker as the pool sees it: the actor that is it, what it last said of itself, and telling it what to do."""

import logging
import os
from typing import Any

from integrations.errors import Misconfigured
from orchestration.warm.actor import NAMESPACE, PASSED_ON, Report, make_actor

log = logging.getLogger(__name__)

START_S = 180.0
"""How long a worker may take to load its code."""
PING_S = 30.0
"""How long a worker may take to answer a ping before it counts as hung."""
PING_APART_S = 0.5
TOLD_S = 5.0


class Gone(Exception):
    """The worker has died, or is as good as dead."""


class Place:
    """One actor; `current` until something says that another shall take its place."""

    def __init__(self, name: str, actor: Any, now: float) -> None:  # noqa: ANN401 - Ray types handles by class only
        self.name = name
        self.since = now
        self.report: Report | None = None
        self.current = True
        self.left_at: float | None = None
        self._begun = self._handing_back = False
        self._actor = actor
        self._ask(now)

    @classmethod
    def start(cls, name: str, location: str, now: float, python: str | None = None) -> "Place":
        """Start a worker; the call returns at once."""
        environment = {key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)}
        log.info("worker starts", extra={"worker": name})
        return cls(name, make_actor(name, location, environment, os.getcwd(), python), now)  # noqa: PTH109

    @classmethod
    def adopt(cls, name: str, now: float) -> "Place":
        """Return a worker that an earlier pool started. Raises `ValueError` where there is none."""
        import ray

        return cls(name, ray.get_actor(name, namespace=NAMESPACE), now)

    @property
    def state(self) -> str:
        """Either `starting`, or as its report says."""
        if self.report is None:
            return "starting"
        return "ready" if self._begun and self.report.state == "loaded" else self.report.state

    @property
    def leaving(self) -> bool:
        """Whether it takes nothing new."""
        return self.left_at is not None or self.state in {"leaving", "draining"}

    def look(self, now: float) -> bool:
        """Take in what it answers; tell whether that was its first answer. Raises `Gone`. Does not block."""
        import ray
        from ray.exceptions import RayError

        done, _ = ray.wait([self._ping], timeout=0)
        if not done:
            if now - self._asked_at > (START_S if self.report is None else PING_S):
                raise Gone("it does not answer")
            return False
        first = self.report is None
        if not first and now - self._asked_at < PING_APART_S:
            return False
        try:
            self.report = ray.get(self._ping)
        except RayError as error:
            raise Gone(_reason(error)) from error
        self._ask(now)
        return first

    def begin(self) -> None:
        """Let it take work."""
        self._begun = self._tell("begin")

    def leave(self, now: float) -> None:
        """Let it go on with what it has, and end."""
        self.left_at = now
        self._tell("leave")

    def drain(self, grace_s: float) -> Any:  # noqa: ANN401 - a Ray object reference
        """Ask it to hand back what does not end within the grace; returns what to wait for."""
        return self._actor.drain.remote(grace_s)

    def hand_back(self, grace_s: float) -> None:
        """Let it hand back what does not end within the grace, and end. Idempotent; does not block."""
        if not self._handing_back:
            self._handing_back = True
            self._actor.end.remote(grace_s)

    def kill(self) -> None:
        """End it at once."""
        import ray

        ray.kill(self._actor, no_restart=True)

    def _tell(self, word: str) -> bool:
        import ray
        from ray.exceptions import RayError

        try:
            ray.get(getattr(self._actor, word).remote(), timeout=TOLD_S)
        except RayError as error:  # the next look finds out what is wrong with it
            log.warning("a worker did not %s", word, extra={"worker": self.name, "reason": _reason(error)})
            return False
        self._ping = self._actor.ping.remote()  # the answer under way was given before it was told
        return True

    def _ask(self, now: float) -> None:
        self._ping = self._actor.ping.remote()
        self._asked_at = now


def _reason(error: Exception) -> str:
    """Return Ray's words in one line; the last of them is what was raised, without its traceback."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    raised = lines[-1].removeprefix(f"{Misconfigured.__module__}.{Misconfigured.__name__}: ")
    return raised[:2_000] if raised != lines[-1] else " … ".join(lines[:1] + lines[-3:])[:2_000]
