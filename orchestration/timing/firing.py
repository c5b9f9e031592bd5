"""What is due of a schedule at a tick: pure, with all clocks as arguments."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from integrations.database import Schedule
from orchestration.timing.clock import between

LATE = timedelta(minutes=5)
"""A tick that is dealt with later than this was missed: the platform was down, or had no room."""
MOST_CAUGHT_UP = 24
"""Missed instants that `all` catches up with; earlier ones are left out."""


def due(schedule: Schedule, tick: datetime, on_since: datetime, now: datetime) -> Sequence[datetime] | str:
    """Return the instants to fire for, or why there are none.

    Dagster's daemon evaluates only the latest tick that it has missed; the others are found here, from the last
    one that was dealt with. What was missed while the schedule was off does not count.
    """
    after = max(schedule.fired_until, on_since)
    if tick <= after:
        return f"the instant {tick.isoformat()} is dealt with already"
    if schedule.what.missed == "all":
        return between(schedule.what.cron, schedule.what.timezone, after, tick, MOST_CAUGHT_UP)
    late = now - tick
    if schedule.what.missed == "skip" and late > LATE:
        return f"missed by {late - timedelta(microseconds=late.microseconds)}, and missed times are skipped"
    return [tick]
