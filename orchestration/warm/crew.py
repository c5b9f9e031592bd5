"""The workers of one code location: enough of them, all with the code as it is now, replaced without a gap.

A worker is replaced where the code changed, where it has done its share, and where it died. A replacement loads its
code first; only then the old one takes nothing new and goes on with what it has, and the new one begins. Code that
does not load leaves the old workers at work.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from integrations.database import Demand
from integrations.settings import Workers
from orchestration.supervise.crews import CrewState
from orchestration.warm import staffing
from orchestration.warm.place import Gone, Place
from orchestration.warm.sources import Sources

log = logging.getLogger(__name__)

LONGEST_BACKOFF_S = 30.0
SCAN_S = 1.0
MOST_LEAVING = 4
"""So many old workers may go on with their runs; of one more, other workers go on with the runs."""
HAND_BACK_S = 5.0


@dataclass(frozen=True, slots=True)
class Around:
    """What a crew asks of the pool."""

    start: Callable[[str, float], Place]
    """Starts a worker of the location under a name."""
    lost: Callable[[str], None]
    """Lets others take over what a worker held, which is given by its id."""
    loaded: Callable[[], None]
    """Is told when changed code has been loaded."""


class LocationCrew:
    """Looked after by one thread."""

    def __init__(self, location: str, settings: Workers, around: "Around") -> None:
        self.location = location
        self.demand = Demand()
        self.problem = ""
        self._settings = settings
        self._around = around
        self._places: list[Place] = []
        self._sources: Sources | None = None
        self._code = ""
        self._seen = ""
        self._scan_at = 0.0
        self._failures = 0
        self._not_before = 0.0
        self._fits_since: float | None = None
        self._changed = False
        self.wanted = settings.least

    def adopt(self, places: Iterable[Place]) -> None:
        """Take over the workers of an earlier pool."""
        self._places += places

    def renew(self, why: str) -> None:
        """Let all workers be replaced."""
        log.info("workers are replaced", extra={"location": self.location, "reason": why})
        for place in self._places:
            place.current = False
        self._failures, self._not_before, self.problem = 0, 0.0, ""

    def wish(self, now: float) -> int:
        """Return how many workers there should be, were it for this location alone."""
        crew = self._crew(now)
        return staffing.wanted(self._settings, crew, self.demand)

    def look_after(self, now: float, wanted: int) -> None:
        """Find out how the workers are, and do what is to be done. Blocks only while a worker is told something."""
        self.wanted = wanted
        for place in list(self._places):
            self._look(place, now)
        if self._settings.reload:
            self._scan(now)
        self._drop_outdated()
        self._hand_over(now)
        self._fill(now)
        self._bound(now)

    def places(self) -> list[Place]:
        """Return all workers, leaving ones too."""
        return list(self._places)

    def state(self) -> CrewState:
        """Return what is to be shown."""
        serving = [place for place in self._places if place.state == "ready" and not place.leaving]
        versions = {place.report.version for place in serving if place.report}
        return CrewState(
            location=self.location,
            version=", ".join(sorted(versions)),
            wanted=self.wanted,
            ready=len(serving),
            starting=sum(place.state in {"starting", "loaded"} for place in self._places),
            leaving=sum(place.leaving for place in self._places),
            busy=sum(place.report.busy for place in self._places if place.report),
            threads=len(serving) * self._settings.threads,
            waiting=self.demand.waiting,
            oldest_s=round(self.demand.oldest_s, 1),
            problem=self.problem,
        )

    def _crew(self, now: float) -> staffing.Crew:
        serving = self._current("ready")
        busy = sum(place.report.busy for place in serving if place.report)
        # What is starting counts already, or each look would start one more.
        count = len(serving) + len(self._current("starting", "loaded"))
        fits = staffing.one_too_many(self._settings, staffing.Crew(count, busy), self.demand)
        self._fits_since = None if not fits else self._fits_since if self._fits_since is not None else now
        quiet = 0.0 if self._fits_since is None else now - self._fits_since
        return staffing.Crew(count, busy, quiet)

    def _current(self, *states: str) -> list[Place]:
        return [place for place in self._places if place.current and not place.leaving and place.state in states]

    def _look(self, place: Place, now: float) -> None:
        try:
            first = place.look(now)
        except Gone as error:
            self._gone(place, str(error), now)
            return
        report = place.report
        if report is None:
            return
        if first and self._settings.reload:
            self._sources = Sources(map(Path, report.roots))
            self._code = self._seen = self._sources.fingerprint()
            place.current = place.current and report.fingerprint == self._code
        if first and place.current:
            self.problem = ""
            if self._changed:
                self._changed = False
                self._around.loaded()
        if now - place.since > LONGEST_BACKOFF_S:
            self._failures = 0
        if place.current and staffing.worn(
            self._settings, runs=report.runs, megabytes=report.megabytes, age_s=now - place.since
        ):
            log.info("a worker has done its share", extra={"worker": place.name, **asdict(report)})
            place.current = False

    def _gone(self, place: Place, reason: str, now: float) -> None:
        place.kill()
        self._places.remove(place)
        if place.leaving and "does not answer" not in reason:
            log.info("a worker has left", extra={"worker": place.name})
        else:
            pause = min(0.25 * 2**self._failures, LONGEST_BACKOFF_S)
            self._failures += 1
            self._not_before = now + pause
            log.error("worker is gone", extra={"worker": place.name, "reason": reason, "again_in_s": pause})
            if place.report is None:
                old = "; the old version goes on" if self._serving_old() else ""
                self.problem = f"the code of {self.location} does not load{old}: {reason}"
        if place.report is not None:
            self._around.lost(place.report.worker)

    def _serving_old(self) -> list[Place]:
        return [place for place in self._places if place.state == "ready" and not place.leaving and not place.current]

    def _scan(self, now: float) -> None:
        """Look whether files changed; what is still being written is looked at once more."""
        if self._sources is None or now < self._scan_at:
            return
        self._scan_at = now + SCAN_S
        found = self._sources.fingerprint()
        if found == self._seen != self._code:
            self._code = found
            self._changed = True
            self.renew("its code changed")
        self._seen = found

    def _drop_outdated(self) -> None:
        """End what is to be replaced before it has begun to work."""
        for place in [p for p in self._places if not p.current and p.state in {"starting", "loaded"}]:
            place.kill()
            self._places.remove(place)

    def _hand_over(self, now: float) -> None:
        """Once the replacements have loaded their code: the old ones take nothing new, and the new ones begin."""
        loaded = self._current("loaded")
        old = self._serving_old()
        if old and self._current("starting"):
            return
        for place in old if loaded else []:
            place.leave(now)
        for place in loaded:
            place.begin()

    def _fill(self, now: float) -> None:
        """Start what is missing; let go what is too much."""
        there = self._current("starting", "loaded", "ready")
        if now >= self._not_before:
            for _ in range(self.wanted - len(there)):
                self._places.append(self._around.start(self._free_name(), now))
        ready = self._current("ready")
        if len(there) > self.wanted and len(ready) > 1:
            least_busy = min(ready, key=lambda place: place.report.busy if place.report else 0)
            log.info("one worker less", extra={"worker": least_busy.name})
            least_busy.leave(now)
            self._fits_since = None

    def _free_name(self) -> str:
        taken = {place.name for place in self._places}
        number = next(n for n in range(len(taken) + 1) if f"worker-{self.location}-{n}" not in taken)
        return f"worker-{self.location}-{number}"

    def _bound(self, now: float) -> None:
        """Let go of the runs of the oldest where too many old workers go on."""
        leaving = sorted((place for place in self._places if place.left_at is not None), key=lambda p: p.left_at or now)
        for place in leaving[: max(0, len(leaving) - MOST_LEAVING)]:
            log.warning("too many old workers: others go on with its runs", extra={"worker": place.name})
            place.hand_back(HAND_BACK_S)
