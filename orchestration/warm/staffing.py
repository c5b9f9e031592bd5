"""How many workers a code location should have: plain decisions, without Ray and without a clock."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from integrations.database import Demand
from integrations.settings import Workers

SETTLED_S = 60.0
"""How old a worker must be before its memory counts: a limit below what it starts with must not replace for ever."""


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers of a location that take new work: how many, and how many of their threads are busy."""

    workers: int
    busy: int = 0
    quiet_s: float = 0.0
    """For how long one of them has been one too many."""


def wanted(settings: Workers, crew: Crew, demand: Demand) -> int:
    """Return how many workers there should be.

    They grow to what the work needs once something has waited too long, and go one by one.
    """
    need = math.ceil((crew.busy + demand.waiting) / settings.threads)
    if demand.waiting and demand.oldest_s >= settings.grow_after_s and need > crew.workers:
        return min(need, settings.most)
    if crew.quiet_s >= settings.shrink_after_s and crew.workers > settings.least:
        return crew.workers - 1
    return min(max(crew.workers, settings.least), settings.most)


def one_too_many(settings: Workers, crew: Crew, demand: Demand) -> bool:
    """Tell whether the work would fit into one worker less."""
    spare = (crew.workers - 1) * settings.threads
    return crew.workers > settings.least and crew.busy + demand.waiting <= spare


def share(wishes: Mapping[str, int], least: int, total: int) -> dict[str, int]:
    """Return how many workers each location gets: its least in any case, what is beyond in turns up to the total."""
    given = {location: min(wish, least) for location, wish in wishes.items()}
    while sum(given.values()) < total:
        open_wishes = [location for location, wish in wishes.items() if given[location] < wish]
        if not open_wishes:
            break
        given[min(open_wishes, key=lambda location: given[location])] += 1
    return given


def worn(settings: Workers, *, runs: int, megabytes: float, age_s: float) -> bool:
    """Tell whether a worker has done its share and should be replaced."""
    if 0 < settings.recycle_runs <= runs:
        return True
    return age_s >= SETTLED_S and runs > 0 and 0 < settings.recycle_megabytes <= megabytes
