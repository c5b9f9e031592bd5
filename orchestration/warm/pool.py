"""Keep the warm workers alive: `python -m orchestration.warm.pool`.

Ray places and supervises them: per code location N detached, named actors. This process only looks after them; they
pull their work from the database, so its own death stops nothing. On SIGTERM it drains and ends them all.
"""

import logging
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from integrations import telemetry
from integrations.database import Database
from integrations.errors import Misconfigured, Unavailable
from integrations.settings import Settings
from orchestration.warm.assembly import open_database
from orchestration.warm.location import location_names
from orchestration.warm.raylet import Raylet

log = logging.getLogger(__name__)

NAMESPACE = "runbell"
DRAIN_S = 10.0
LONGEST_BACKOFF_S = 30.0
START_S = 180.0
"""How long a worker may take to load its code."""
PING_S = 30.0
"""How long a worker may take to answer a ping before it counts as hung."""
_PASSED_ON = ("RUNBELL_", "DAGSTER_", "RAY_SERVE_", "ORT_", "ANONYMIZED_", "OTEL_", "PATH", "TZ", "LANG", "LC_")


class Place:
    """One worker that there shall be, and the actor that is it now."""

    def __init__(self, location: str, number: int, database: Database) -> None:
        self.location = location
        self._database = database
        self._worker: str | None = None
        self.name = f"worker-{location}-{number}"
        self._actor: Any = None
        self._ping: Any = None
        self._asked_at = 0.0
        self._answered = False
        self._failures = 0
        self._not_before = 0.0

    def look_after(self) -> None:
        """Start the worker where there is none; find out whether it lives. Does not block."""
        import ray
        from ray.exceptions import RayError

        now = time.monotonic()
        if self._actor is None:
            if now >= self._not_before:
                self._start(now)
            return
        done, _ = ray.wait([self._ping], timeout=0)
        if not done:
            if now - self._asked_at > (PING_S if self._answered else START_S):
                self._replace("it does not answer", now)
            return
        try:
            self._worker = ray.get(self._ping)
        except RayError as error:
            self._replace(_reason(error), now)
            return
        self._answered = True
        if now - self._asked_at > 1.0:
            self._failures = 0 if now - self._not_before > LONGEST_BACKOFF_S else self._failures
            self._ask(now)

    def drain(self) -> Any:  # noqa: ANN401 - a Ray object reference
        """Ask the worker to stop taking work; returns what to wait for."""
        return None if self._actor is None else self._actor.drain.remote(DRAIN_S)

    def kill(self) -> None:
        """End the worker."""
        import ray

        if self._actor is not None:
            ray.kill(self._actor, no_restart=True)
            self._actor = None

    def lose(self) -> None:
        """Let others take over what the worker held: it died with its Ray."""
        self._hand_over()

    def _start(self, now: float) -> None:
        import ray

        from orchestration.warm.actor import make_actor

        try:
            # The pool itself was restarted: the worker lives on.
            self._actor = ray.get_actor(self.name, namespace=NAMESPACE)
        except ValueError:
            environment = {key: value for key, value in os.environ.items() if key.startswith(_PASSED_ON)}
            self._actor = make_actor(self.name, self.location, environment, str(os.getcwd()))  # noqa: PTH109
            log.info("worker starts", extra={"worker": self.name})
        self._answered = False
        self._not_before = now
        self._ask(now)

    def _ask(self, now: float) -> None:
        assert self._actor is not None
        self._ping = self._actor.ping.remote()
        self._asked_at = now

    def _replace(self, reason: str, now: float) -> None:
        import ray

        pause = min(0.25 * 2**self._failures, LONGEST_BACKOFF_S)
        self._failures += 1
        self._not_before = now + pause
        log.error("worker is gone", extra={"worker": self.name, "reason": reason, "again_in_s": pause})
        if self._actor is not None:
            ray.kill(self._actor, no_restart=True)
        self._actor = None
        self._hand_over()

    def _hand_over(self) -> None:
        """Let others take over at once what the dead worker held; without it, they wait for its leases to end."""
        if self._worker is None:
            return
        try:
            held = self._database.workers.lost(self._worker)
        except Unavailable as error:
            log.warning("what the worker held waits for its leases", extra={"error": str(error)})
        else:
            log.info("others take over", extra={"worker": self._worker, "held": held})
            self._worker = None


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return " … ".join(lines[:1] + lines[-3:])[:2_000] if lines else type(error).__name__


def keep(settings: Settings, stop: threading.Event) -> None:
    """Look after all workers until `stop`, then drain and end them."""
    import ray

    ray.init(
        address=os.environ.get("RAY_ADDRESS", "auto"),
        namespace=NAMESPACE,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    _on_signals(stop)
    raylet = Raylet()
    names = location_names(settings)
    database = open_database(settings, "runbell-pool")
    places = [Place(name, number, database) for name in names for number in range(settings.workers.count)]
    while not stop.is_set():
        for place in places:
            place.look_after()
        if raylet.is_gone():
            _end_with_ray(places)
        stop.wait(0.1)
    drains = [reference for place in places if (reference := place.drain()) is not None]
    ray.wait(drains, num_returns=len(drains), timeout=DRAIN_S + 8) if drains else None
    for place in places:
        place.kill()
    database.close()
    ray.shutdown()


def _end_with_ray(places: list[Place]) -> None:
    """End at once, to be started again and to meet the Ray that is there then."""
    log.error("Ray is gone, and its workers with it; this process ends to find the next one")
    for place in places:
        place.lose()
    os._exit(1)  # Ray's own farewell waits for the dead


def _on_signals(stop: threading.Event) -> None:
    """Let SIGTERM end the work in good order; after `ray.init`, which sets a handler of its own."""

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def main() -> None:
    """Run until SIGTERM."""
    settings = Settings()
    telemetry.setup("workers", log_level=settings.telemetry.log_level, otlp_endpoint=settings.telemetry.otlp_endpoint)
    try:
        keep(settings, threading.Event())
    except Misconfigured as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
