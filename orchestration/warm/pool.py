"""Keep the warm workers alive: `python -m orchestration.warm.pool`.

Ray places and supervises them: per code location some detached, named actors. This process only looks after them; they
pull their work from the database, so its own death stops nothing. On SIGTERM it drains and ends them all.
"""

import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType

from integrations import telemetry
from integrations.database import Database, Demand
from integrations.errors import Misconfigured, Unavailable
from integrations.settings import Settings
from orchestration.supervise import crews
from orchestration.supervise.home import Home
from orchestration.supervise.locations import read_locations
from orchestration.warm import staffing
from orchestration.warm.actor import NAMESPACE
from orchestration.warm.assembly import open_database
from orchestration.warm.code_servers import CodeServers
from orchestration.warm.crew import Around, LocationCrew
from orchestration.warm.place import Place
from orchestration.warm.raylet import Raylet
from orchestration.warm.routing import CORE

log = logging.getLogger(__name__)

DRAIN_S = 10.0
LOOK_S = 0.1
ASK_S = 1.0
"""How often the database is asked what waits, and the file for `runbell status` is written."""


class Pool:
    """The crews of all code locations."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._path = Home(settings.state).workers
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        locations = read_locations(settings.dagster.workspace)
        self._pythons = {location.name: location.python for location in locations}
        names = list(self._pythons)
        self._servers = CodeServers(settings, names)
        self.crews = [LocationCrew(name, settings.workers, self._around(name)) for name in names]
        self._wanted = dict.fromkeys(names, settings.workers.least)
        self._ask_at = 0.0
        self._schedules: str | None = None

    def adopt(self) -> None:
        """Take over what an earlier pool started."""
        import ray.util

        now = time.monotonic()
        for name in ray.util.list_named_actors():
            kind, _, rest = name.partition("-")
            for crew in self.crews if kind == "worker" else []:
                if rest.rpartition("-")[0] == crew.location:
                    with suppress(ValueError):  # it has just ended
                        crew.adopt([Place.adopt(name, now)])

    def look_after(self) -> None:
        """Do what is to be done now."""
        now = time.monotonic()
        if now >= self._ask_at:
            self._ask_at = now + ASK_S
            self._ask(now)
        for crew in self.crews:
            if self._servers.was_reloaded(crew.location):
                crew.renew("its code server was reloaded")
            crew.look_after(now, self._wanted[crew.location])

    def end(self) -> None:
        """Drain all workers, and end them."""
        import ray

        places = [place for crew in self.crews for place in crew.places()]
        drains = [place.drain(DRAIN_S) for place in places]
        if drains:
            ray.wait(drains, num_returns=len(drains), timeout=DRAIN_S + 8)
        for place in places:
            place.kill()
        self._servers.close()
        self._path.unlink(missing_ok=True)

    def lose_all(self) -> None:
        """Let others take over what all the workers held: they died with their Ray."""
        for crew in self.crews:
            for place in crew.places():
                if place.report is not None:
                    self._hand_over(place.report.worker)

    def _around(self, location: str) -> Around:
        python = self._pythons[location]
        own = None if python == sys.executable else python
        return Around(
            start=lambda name, now: Place.start(name, location, now, own),
            lost=self._hand_over,
            loaded=lambda: self._servers.reload(location),
        )

    def _ask(self, now: float) -> None:
        """Find out what waits, and decide how many workers there should be."""
        try:
            demands = self._database.workers.demand()
            schedules = self._database.schedules.generation()
        except Unavailable as error:
            log.warning("nobody knows what waits", extra={"error": str(error)})
            self._schedules = None  # a code server that loads just now finds none
            return
        self._note_schedules(schedules)
        for crew in self.crews:
            crew.demand = demands.get(crew.location, Demand())
        workers = self._settings.workers
        wishes = {crew.location: crew.wish(now) for crew in self.crews}
        self._wanted = staffing.share(wishes, workers.least, workers.total)
        self._show()

    def _note_schedules(self, generation: str) -> None:
        """Let the core location's code server load the schedules anew that people have made or removed."""
        none_yet = self._schedules is None and generation.startswith("0/")
        if generation != self._schedules and not none_yet:
            self._servers.reload(CORE)
        self._schedules = generation

    def _show(self) -> None:
        try:
            crews.write(self._path, [crew.state() for crew in self.crews], time.time())
        except OSError as error:
            log.warning("the workers' state can't be written", extra={"error": error.strerror})

    def _hand_over(self, worker: str) -> None:
        """Let others take over at once what a dead worker held; without it, they wait for its leases to end."""
        try:
            held = self._database.workers.lost(worker)
        except Unavailable as error:
            log.warning("what the worker held waits for its leases", extra={"error": str(error)})
        else:
            log.info("others take over", extra={"worker": worker, "held": held})


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
    database = open_database(settings, "runbell-pool")
    pool = Pool(settings, database)
    pool.adopt()
    while not stop.is_set():
        pool.look_after()
        if raylet.is_gone():
            _end_with_ray(pool)
        stop.wait(LOOK_S)
    pool.end()
    database.close()
    ray.shutdown()


def _end_with_ray(pool: Pool) -> None:
    """End at once, to be started again and to meet the Ray that is there then."""
    log.error("Ray is gone, and its workers with it; this process ends to find the next one")
    pool.lose_all()
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
