"""What the pool says of each code location's workers, in RUNBELL_HOME/run/workers.json, for `runbell status`."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from orchestration.supervise.home import read_json, write_private

FRESH_S = 30.0


@dataclass(frozen=True, slots=True)
class CrewState:
    """What `runbell status` shows of a location's workers."""

    location: str
    version: str
    wanted: int
    ready: int
    starting: int
    leaving: int
    busy: int
    threads: int
    waiting: int
    oldest_s: float
    problem: str

    @property
    def text(self) -> str:
        """The state in words."""
        parts = [f"{self.busy} of {self.threads} threads busy"]
        if self.ready != self.wanted:
            parts.append(f"{self.wanted} wanted")
        parts += [f"{n} {word}" for n, word in ((self.starting, "starting"), (self.leaving, "leaving")) if n]
        if self.waiting:
            parts.append(f"{self.waiting} waiting, the oldest for {self.oldest_s:.0f} s")
        return ", ".join(parts)


def write(path: Path, states: Iterable[CrewState], now: float) -> None:
    """Replace the file. Raises OSError."""
    write_private(path, json.dumps({"written_at": now, "locations": [asdict(state) for state in states]}))


def read(path: Path, now: float) -> tuple[CrewState, ...]:
    """Return what the pool wrote last; nothing where that is old."""
    found = read_json(path)
    written_at, locations = found.get("written_at"), found.get("locations")
    if not isinstance(written_at, float) or now - written_at > FRESH_S or not isinstance(locations, list):
        return ()
    try:
        rows = cast("list[Mapping[str, object]]", locations)
        return tuple(CrewState(**row) for row in rows)  # pyright: ignore[reportArgumentType] - written by `write`
    except TypeError:  # by another version
        return ()
