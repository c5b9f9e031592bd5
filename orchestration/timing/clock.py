"""The next and the missed instants of a cron expression in a time zone, and the names of time zones."""

import itertools
import re
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import available_timezones

from orchestration.warm.cron import instants

ZONE = re.compile(
    r"(?:^|\s)(?:in\s+)?[(（]?(?P<zone>[A-Za-z]+(?:/[A-Za-z0-9_+\-]+){1,2}|UTC|GMT)[)）]?$", re.IGNORECASE
)


def following(cron: str, zone: str, after: datetime, count: int) -> list[datetime]:
    """Return the next instants after one, in the time zone."""
    return list(itertools.islice(instants(cron, zone, after), count))


def between(cron: str, zone: str, after: datetime, until: datetime, most: int) -> list[datetime]:
    """Return the instants after one up to another, that included; the latest `most` of them."""
    window = timedelta(hours=1)
    while True:  # backwards, so that a year of minutes costs no more than it shows
        start = max(after, until - window)
        found = list(itertools.takewhile(lambda instant: instant <= until, instants(cron, zone, start)))
        if len(found) >= most or start == after:
            return found[-most:]
        window *= 8


def zone_named(name: str) -> str | None:
    """Return the IANA name of a time zone, however it is cased, or None."""
    return _zones().get(name.strip().casefold())


@cache
def _zones() -> dict[str, str]:
    return {name.casefold(): name for name in available_timezones()}
